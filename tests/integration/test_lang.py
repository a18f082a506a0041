"""The scenario language in real time, on a world of tables."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios"))
import lang  # noqa: E402

UPGRADE = 'upgrade u {\n"from": {"revision": "old"}, "to": {"revision": "new"},\n"waves": [{"name": "a", "namespaces": {"names": ["x"]}}, {"name": "rest"}]\n}\n'


class Table(lang.World):
    """Time passes only in sleep(); at(seconds, change) says what happens when."""

    def __init__(self):
        self.clock, self.script, self.done, self.created = 0.0, [], [], []
        self.status = {}
        self.namespaces = {"x": {"istio.io/rev": "old"}, "y": {"istio-injection": "enabled"}}
        self.templates = {"x": 1, "y": 1}
        self.refusal = None

    def at(self, when, fn):
        self.script.append((when, fn))

    def now(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds
        for item in [i for i in self.script if i[0] <= self.clock]:
            self.script.remove(item)
            item[1]()

    def do(self, action):
        self.done.append((round(self.clock), action))

    def create(self, path, obj):
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.created.append(obj)

    def get(self, path):
        if path.startswith(lang.UPGRADES):
            return {"status": self.status}
        if path == "/api/v1/namespaces":
            return {"items": [{"metadata": {"name": n, "labels": v}} for n, v in self.namespaces.items()]}
        if path.startswith("/api/v1/namespaces/"):
            return {"metadata": {"labels": self.namespaces[path.rsplit("/", 1)[1]]}}
        if path.endswith("/deployments"):
            return {"items": [{"metadata": {"namespace": n, "name": "web"}, "spec": {"template": {"v": v}}}
                              for n, v in self.templates.items()]}
        return {"items": []}


def run(world, text):
    return lang.run(world, lang.parse_text(text), log=lambda text: None)


@pytest.mark.parametrize("text,says", [
    ("expect phase Dancing", "Dancing is none of"), ("expect within soon phase Hold", "no duration"), ("dance", "no statement"),
    ("expect moved 5", "moved N%"), ("mesh nodes=x", "mesh nodes=N"), ("upgrade u {\n1", "does not end"), ("upgrade u", "upgrade NAME {"),
    ("expect untouched", "takes 1 words"), ("expect", "no statement"), ("on phase Hold", "no statement"), ("expect all phase Hold and", "missing"),
])
def test_faults_are_named_with_their_line(text, says):
    with pytest.raises(lang.ScenarioError, match=r"scenario:\d+: .*" + says.replace("{", r"\{")):
        lang.parse_text(text)


def test_waits_and_rules():
    w = Table()
    w.at(3, lambda: w.status.update(phase="Moving"))
    w.at(6, lambda: w.status.update(phase="Paused", reasons=[{"reason": "Nack", "remedy": "read it", "objects": [
        {"name": "x/web-1", "message": "no such filter"}]}]))
    met = run(w, UPGRADE + 'on phase Moving do kill gate\nexpect within 5s phase Moving\nexpect within 5s all phase Paused and reason Nack about x/\n'
              'expect all text "such filter" and text "read it" and noreason Silent and untouched rest\nexpect for 2s phase Paused\ndo resume\n')
    assert met == 4
    assert [a for _, a in w.done] == ["kill gate", "resume"] and w.done[0][0] == 3
    assert w.created[0]["spec"]["waves"][1] == {"name": "rest"}


@pytest.mark.parametrize("text,says", [
    ("expect within 2s phase Moving", "did not become true within 2s"), ("expect verdict Pass", "is not true"),
    ("expect for 9s phase Hold", "did not stay true"), ("on phase Paused do resume\nwait 1s", "never became true"),
])
def test_failures_say_what(text, says):
    w = Table()
    w.status["phase"] = "Hold"
    w.at(4, lambda: w.status.update(phase="Moving" if "9s" in text else "Hold"))
    with pytest.raises(lang.ScenarioFailed, match=says):
        run(w, UPGRADE + text + "\n")


def test_refused():
    w = Table()
    refused = UPGRADE.replace("upgrade u", 'refused u "same revision"')
    with pytest.raises(lang.ScenarioFailed, match="took it"):
        run(w, refused)
    w.refusal = "422 two waves"
    with pytest.raises(lang.ScenarioFailed, match="does not contain"):
        run(w, refused)
    w.refusal = "422 from and to are the same revision"
    assert run(w, refused) == 1


def test_restarts_and_labels():
    w = Table()

    def moved():
        w.namespaces["x"] = {"istio.io/rev": "new"}
        w.templates["x"] = 2
    w.at(2, moved)
    run(w, UPGRADE + "wait 3s\nexpect all restarted-once and label x istio.io/rev=new and nolabel x istio-injection and untouched rest\n")
    with pytest.raises(lang.ScenarioFailed, match="untouched a"):
        w2 = Table()
        w2.at(2, lambda: w2.namespaces.update(x={"istio.io/rev": "new"}))
        run(w2, UPGRADE + "wait 3s\nexpect untouched a\n")
    for who, times in (("x", 2), ("y", 1)):
        # Twice where it had to be once; once where nothing had to move.
        w3 = Table()
        w3.namespaces["x"] = {"istio.io/rev": "new"}
        for i in range(times):
            w3.at(2 + 3 * i, lambda: w3.templates.update({who: w3.templates[who] + 1}))
        with pytest.raises(lang.ScenarioFailed, match="restarted-once"):
            run(w3, UPGRADE + "wait 9s\nexpect restarted-once\n")
