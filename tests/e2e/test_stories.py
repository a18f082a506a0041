"""The scenario files that say `runs e2e`, on a real API server; what they cannot see is looked at afterwards."""

import pathlib
import random
import time

import pytest

import lang
import world

SCENARIOS = pathlib.Path(__file__).resolve().parent.parent / "scenarios"


class Story:
    """Tells what happens as it happens."""

    def __init__(self, name):
        self.name, self.began, self.shown = name, time.monotonic(), (0.0, "")

    def log(self, text):
        print(f"  {self.name} {time.monotonic() - self.began:6.1f}s  {text}", flush=True)

    def progress(self, observer):
        at, text = self.shown
        now = observer.describe()
        if now != text and time.monotonic() > at + 5:
            self.log(f"     {now[:200]}")
            self.shown = (time.monotonic(), now)


def play(cluster, name, hook=None):
    statements = lang.parse(SCENARIOS / f"{name}.scn")
    assert lang.runs_in(statements, "e2e"), f"{name}.scn does not say: runs e2e"
    w, story = world.World(cluster, statements), Story(name)
    w.build()
    story.log(
        f"mesh of {len(cluster.proxies('GET', '/list'))} synthetic and "
        f"{world.REAL_REPLICAS * len(w.real_namespaces())} real proxies, istiod {cluster.istio.describe()}"
    )
    cluster.deploy()
    story.log("gate and agents are ready")

    def progress(observer):
        story.progress(observer)
        if hook:
            hook(w, observer, story.log)

    try:
        met = lang.run(w, statements, log=story.log, progress=progress, poll=0.5)
    except lang.ScenarioFailed:
        for args in (["status", w.upgrade], ["proxies", w.upgrade, "--stuck"]):
            done = cluster.cli(*args)
            print("$ kubectl meshgate " + " ".join(args), done.stdout + done.stderr, sep="\n")
        raise
    story.log(f"{met} expectations met")
    return w


def moved_namespaces(w):
    return [world.namespace_name(i) for i in range(w.mesh["namespaces"])]


def injected(pod):
    return pod["metadata"].get("annotations", {}).get("istio.io/rev")


class Killer:
    """SIGKILL to the gate at three random shares of moved proxies."""

    def __init__(self, seed):
        self.left = sorted(random.Random(seed).sample(range(5, 85), 3))

    def __call__(self, w, observer, log):
        ready = [c for c in w.cluster.containers("meshgate") if c.ready]
        if self.left and ready and observer.cr and observer.moved(self.left[0]):
            log(f"SIGKILL to the gate, {self.left.pop(0)} % have moved")
            w.do("kill gate")


@pytest.mark.replicas(2)
def test_healthy(cluster):
    seed = time.time_ns() % 1000000
    print(f"\n  seed of the kills: {seed}")
    killer = Killer(seed)
    w = play(cluster, "healthy", killer)
    assert w.gate_kills == 3, f"the gate was killed {w.gate_kills} times"
    names = moved_namespaces(w)
    for name in names:
        labels = w.get(f"/api/v1/namespaces/{name}")["metadata"]["labels"]
        assert labels.get("istio.io/rev") == "canary" and "istio-injection" not in labels, f"{name}: {labels}"
        for pod in w.get(f"/api/v1/namespaces/{name}/pods")["items"]:
            assert injected(pod) == "canary", f"{name}/{pod['metadata']['name']} was injected by {injected(pod)}"
    templates = {k: n for k, n in world.controller_revisions(w.bed).items() if k[0] in names}
    assert templates and set(templates.values()) == {
        2
    }, f"not restarted exactly once: {[k for k, n in templates.items() if n != 2]}"
    proxies = cluster.proxies("GET", "/list")
    assert all(p["Online"] and p["Revision"] == "canary" for p in proxies)
    events = [e for e in w.bed.list("/api/v1/events") if e["involvedObject"]["kind"] == "MeshUpgrade"]
    assert events, "no Event tells of the upgrade"


def test_nack(cluster):
    w = play(cluster, "nack")
    if cluster.real_sidecars:
        rejected = 0
        for name in w.real_namespaces():
            for pod in w.get(f"/api/v1/namespaces/{name}/pods")["items"]:
                if pod["spec"].get("nodeName") == "real-1" and injected(pod) == "canary":
                    rejected += (
                        world.stats(pod["status"]["podIP"]).get("envoy_listener_manager_lds_update_rejected", 0) > 0
                    )
        print(f"  {rejected} real Envoys have rejected the canary's listeners")
        assert rejected > 0, "no real Envoy rejected the canary's configuration"


def test_stuck(cluster):
    play(cluster, "stuck")
