"""Our table of the whole mesh against `istioctl proxy-status` of both revisions: per proxy, type by type, faults among them."""

import os
import time

import pytest

import istioctl
import view as views
from view import states, until

PODS = int(os.environ.get("MESHGATE_E2E_TABLE", "2000"))
NAMESPACES = 20
PERIOD_S = 10
NAMES = {"Synced": "SYNCED", "Pending": "STALE", "Error": "ERROR", "NotSent": "NOT SENT"}

# namespace: labels, pods, rule for its synthetic proxies
ODD = {
    "nacks": ({"istio.io/rev": "canary"}, 5, {"mode": "nack", "text": "virtualInbound: no such filter"}),
    "withholds": ({"istio-injection": "enabled"}, 5, {"mode": "withhold"}),
    "unsent": ({"istio.io/rev": "old"}, 5, {"mode": "unsent"}),
    "away": ({"istio.io/rev": "canary"}, 5, {"mode": "away"}),
    "astray": ({"istio.io/rev": "canary"}, 5, {"mode": "astray", "text": "old"}),
    "behind": ({"istio.io/rev": "old"}, 5, None),  # its label is changed to canary afterwards
    "late": ({}, 5, None),  # labelled after its pods were made
    "nosuch": ({"istio.io/rev": "nosuch"}, 5, None),
}
WANT = {
    "nacks": {("Nacking", "Nack")},
    "withholds": {("Stale", "AckOverdue")},
    "unsent": {("Settled", "None")},
    "away": {("Detached", "NoStream")},
    "astray": {("Misplaced", "WrongControlPlane")},
    "behind": {("RestartPending", "RestartNeeded")},
    "late": {("Uninjected", "NoSidecar")},
    "nosuch": {("Uninjected", "NotInstalled")},
}
ISTIOCTL_CANNOT = ["away", "astray", "behind", "late", "nosuch"]


def say(text):
    print(f"  {text}", flush=True)


class Mesh:
    def __init__(self, cluster):
        self.cluster, self.bed, self.view = cluster, cluster.bed, views.View(cluster)
        self.names = [f"tb-{i:02}" for i in range(NAMESPACES)]

    def build(self):
        for i, name in enumerate(self.names):
            self.namespace(name, {"istio.io/rev": "canary"} if i % 2 else {"istio-injection": "enabled"})
        for name, (labels, _, rule) in ODD.items():
            self.namespace(name, labels)
            if rule and rule["mode"] != "withhold":
                self.rule(name, rule)
        self.bed.api("POST", "/api/v1/namespaces/tb-00/services", service(80))
        plain = PODS - sum(n for _, n, _ in ODD.values())
        for i, name in enumerate(self.names):
            self.cluster.workload("Deployment", name, "web", plain // NAMESPACES + (i < plain % NAMESPACES))
        for name, (_, count, _) in ODD.items():
            self.cluster.workload("Deployment", name, "web", count)
        self.finished_job()
        self.bed.wait(400, "the workloads", lambda: all(map(self.cluster.settled, [*self.names, *ODD])), 1)
        self.bed.wait(120, "the proxies' streams", self.attached, 1)
        self.label("behind", "canary")
        self.label("late", "canary")

    def namespace(self, name, labels):
        self.bed.api("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})

    def label(self, namespace, revision):
        self.bed.api("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"istio.io/rev": revision}}})

    def finished_job(self):
        pod = {"containers": [{"name": "web", "image": "registry.local/web:1"}], "restartPolicy": "Never"}
        job = {"metadata": {"name": "once"}, "spec": {"completions": 2, "parallelism": 2, "template": {"spec": pod}}}
        self.bed.api("POST", "/apis/batch/v1/namespaces/tb-01/jobs", job)

    def rule(self, name, rule):
        self.cluster.proxies("POST", "/rule", {"match": name + "/", **rule})

    def unrule(self, name):
        self.cluster.proxies("POST", "/unrule", {"match": name + "/"})

    def attached(self):
        return all(p["Online"] or p["Namespace"] == "away" for p in self.cluster.proxies("GET", "/list"))

    def push(self, port):
        """One full push to everybody."""
        self.bed.api("PATCH", "/api/v1/namespaces/tb-00/services/push", {"spec": service(port)["spec"]})
        self.quiet()

    def quiet(self):
        """No proxy has accepted anything for a while: the pushes have reached everybody."""

        def accepted():
            return sorted((p["Namespace"], p["Pod"], str(p["Accepted"])) for p in self.cluster.proxies("GET", "/list"))

        def stands():
            before = accepted()
            time.sleep(6)
            return accepted() == before

        time.sleep(2)
        until(120, "a quiet mesh", stands, 0)

    def read_anew(self):
        """Deploying was a push of its own: once that is over, all readers begin again and find a quiet mesh."""
        self.quiet()
        for c in self.cluster.containers("meshgate-agent"):
            c.kill()
        time.sleep(5)

    def oracle(self):
        """{"NS/POD": (revision, {type: state})} as istioctl shows it. One call a revision, and the mesh is quiet."""
        table = {}
        for revision in self.cluster.istio.revisions:
            for name, types in istioctl.proxy_status(self.bed, self.cluster.istio, revision).items():
                pod, _, namespace = name.rpartition(".")
                assert f"{namespace}/{pod}" not in table, f"istioctl lists {name} twice"
                table[f"{namespace}/{pod}"] = (revision, types)
        return table


def service(port):
    return {"metadata": {"name": "push"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": port, "name": "http"}]}}


def ours(rows):
    """The rows that an istiod holds a stream of, in istioctl's words."""
    return {
        key: (x["attached"], {t: NAMES.get(s, s) for t, s in (x.get("types") or {}).items()})
        for key, x in rows.items()
        if x.get("attached") and x.get("types")
    }


def differences(oracle, rows):
    """[(proxy, type or what, istioctl, meshgate)] and how many cells were compared."""
    mine, found, cells = ours(rows), [], 0
    for key in sorted(set(oracle) | set(mine)):
        a, b = oracle.get(key), mine.get(key)
        if a is None or b is None:
            found.append((key, "listed", a and a[0], b and b[0]))
            continue
        if a[0] != b[0]:
            found.append((key, "revision", a[0], b[0]))
        for t in sorted(set(a[1]) | set(b[1])):
            cells += 1
            if a[1].get(t) != b[1].get(t):
                found.append((key, t, a[1].get(t), b[1].get(t)))
    return found, cells


def compare(mesh, what, seconds):
    """Waits until nothing differs from one snapshot of istioctl's, and prints the line that is to be shown."""
    oracle, last = mesh.oracle(), [None, 0, {}]

    def equal():
        rows = mesh.view.proxies()
        last[:] = [*differences(oracle, rows), rows]
        return last[0] == []

    try:
        _, took = until(seconds, what, equal, 2)
    except AssertionError:
        found, cells, rows = last
        say(f"{what}: {len(oracle)} proxies, {cells} types compared, {len(found)} differences; we say: {states(rows)}")
        for key, t, a, b in found[:25]:
            say(f"  {key} {t}: istioctl {a}, meshgate {b}")
        raise
    found, cells, rows = last
    say(f"{what}: {len(oracle)} proxies × types = {cells} cells compared, {len(found)} differences ({took:.0f} s)")
    assert mesh.oracle() == oracle, "the mesh was not quiet: istioctl itself says something else now"
    return oracle, rows


def named(mesh, name, seconds):
    """All rows of the namespace have the state and reason that they should; what is seen otherwise fails."""

    def right():
        rows = mesh.view.proxies(name)
        return rows if rows and {(x["state"], x["reason"]) for x in rows.values()} <= WANT[name] else None

    try:
        rows, _ = until(seconds, name, right, 1)
    except AssertionError:
        raise AssertionError(f"{name}: {states(mesh.view.proxies(name))}, want {WANT[name]}") from None
    assert len(rows) == ODD[name][1], f"{name}: {len(rows)} rows"
    return rows


@pytest.mark.nodes(20)
def test_equals_istioctl_and_names_what_it_cannot(cluster):
    if not istioctl.available(cluster.istio):
        pytest.skip("NOT RUN: no real istiods with istioctl were found; see tests/bed/README.md")
    mesh, began = Mesh(cluster), time.monotonic()
    mesh.build()
    mesh.push(81)
    mesh.rule("withholds", ODD["withholds"][2])
    mesh.push(82)
    say(f"mesh of {PODS} pods on real {', '.join(cluster.istio.versions.values())} after {time.monotonic() - began:.0f} s")
    cluster.deploy(gate_args=[f"--reading-period={PERIOD_S}s", f"--idle-period={PERIOD_S}s"])
    mesh.read_anew()
    oracle, rows = compare(mesh, "cold start of the readers", 120)
    assert len(oracle) >= PODS - 3 * 5
    show(mesh, oracle)
    unlike_before(mesh)
    compare(mesh, "after changes", 3 * PERIOD_S + 15)
    for name in ("unsent", "withholds", "astray"):
        assert {x["state"] for x in mesh.view.proxies(name).values()} == {"Settled"}, states(mesh.view.proxies(name))
    unfinished = [k for k in mesh.view.proxies("tb-01") if k.startswith("tb-01/once")]
    assert not unfinished, f"finished pods are in the table: {unfinished}"
    by_plugin = mesh.view.proxies_by_plugin()
    assert set(by_plugin) == set(mesh.view.proxies()), "the plugin shows other proxies than the gate"


def show(mesh, oracle):
    """What each odd namespace is called, beside what istioctl shows of it."""
    for name in WANT:
        rows = named(mesh, name, 200)  # the ones that are kept away count as starting for three minutes
        theirs = {oracle[k] and " ".join(sorted(set(oracle[k][1].values()))) + f" on {oracle[k][0]}" for k in rows if k in oracle}
        one = next(iter(rows.values()))
        say(f"{name:10} {len(rows)} × {one['state']}/{one['reason']}; istioctl: {', '.join(theirs) or 'not listed'}")
        if name in ISTIOCTL_CANNOT:
            assert theirs <= {"SYNCED on old"}, f"{name}: istioctl says {theirs}"


def unlike_before(mesh):
    """Other proxies are in trouble now, and some are well again."""
    for name in ("withholds", "astray", "unsent"):
        mesh.unrule(name)
    mesh.rule("tb-03", {"mode": "nack", "text": "virtualOutbound: no such listener"})
    time.sleep(6)  # the longest back-off of the ones that come back
    mesh.push(83)
