"""Real Envoys under pilot-agent: each situation of theirs is shown as its own state with its cause, within two reading periods.

Where no real istiods and sidecars are found this is not run, and the suite says so.
"""

import subprocess
import time

import pytest

import view as views
import world
import bed as bedlib
from view import states, until

PERIOD_S = 10
LOOK_S = 2 * PERIOD_S + 3  # two periods, and what a report and a decision take
TTL_S = 60  # of the short-lived certificate


def say(text):
    print(f"  {text}", flush=True)


class Stage:
    """The pods, and what may be expected of them."""

    def __init__(self, cluster):
        self.cluster, self.bed, self.istio, self.view = cluster, cluster.bed, cluster.istio, views.View(cluster)

    def workload(self, namespace, name, replicas=1, annotations=None):
        self.cluster.workload("Deployment", namespace, name, replicas, real=True, annotations=annotations)

    def pods(self, namespace, name=None):
        selector = f"?labelSelector=app%3D{name}" if name else ""
        found = self.bed.list(f"/api/v1/namespaces/{namespace}/pods{selector}")
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def kubelet_pod(self, namespace, name):
        """The bed's side of the one pod of a workload."""
        uid = self.pods(namespace, name)[0]["metadata"]["uid"]
        return self.cluster.kubelet.pods[uid]

    def rows(self, namespace, name=None):
        mine = {f"{namespace}/{p['metadata']['name']}" for p in self.pods(namespace, name)}
        return {k: x for k, x in self.view.proxies(namespace).items() if k in mine}

    def becomes(self, namespace, name, allowed, seconds=LOOK_S, count=None):
        """Every proxy of the workload is in one of these (state, reason)s; {key: row}. None as a reason: any."""

        def right():
            rows = self.rows(namespace, name)
            fits = rows and all((x["state"], x["reason"]) in allowed or (x["state"], None) in allowed for x in rows.values())
            return rows if fits and count in (None, len(rows)) else None

        try:
            rows, took = until(seconds, f"{namespace}/{name}", right, 0.3)
        except AssertionError:
            seen = self.rows(namespace, name)
            detail = "\n".join(f"    {k}: {x}" for k, x in seen.items())
            raise AssertionError(f"{namespace}/{name} is {states(seen)} after {seconds} s, want {allowed}\n{detail}") from None
        say(f"{namespace}/{name}: {states(rows)} after {took:.1f} s")
        return rows

    def stays_out(self, namespace, name, forbidden, seconds):
        """No proxy of the workload is in one of these states at any look."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = {x["state"] for x in self.rows(namespace, name).values()}
            assert not seen & forbidden, f"{namespace}/{name} is {seen}"
            time.sleep(0.5)

    def sockets(self, namespace, name):
        """Established connections to port 15012 in the pod's own network namespace."""
        pod = self.kubelet_pod(namespace, name)
        return subprocess.run(
            ["ip", "netns", "exec", pod.netns, "ss", "-Htn", "state", "established", "( dport = :15012 )"],
            capture_output=True,
            text=True,
        ).stdout.split("\n")[:-1]


def build(stage):
    for name, revision in [("old-ns", "old"), ("can-ns", "canary"), ("nack-ns", "canary"), ("ill-ns", "canary")]:
        stage.bed.api("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"istio.io/rev": revision}}})
    stage.workload("old-ns", "web", 2)
    stage.workload("can-ns", "web", 2)
    stage.workload("nack-ns", "web", 1)
    meta = f"proxyMetadata:\n  SECRET_TTL: {TTL_S}s\n"
    stage.workload("ill-ns", "short", annotations={"proxy.istio.io/config": meta})
    stage.workload("ill-ns", "token", annotations={"bed.test/token": "garbage"})
    stage.workload("ill-ns", "audience", annotations={"bed.test/audience": "somebody-else"})
    stage.workload("ill-ns", "root", annotations={"bed.test/root": "fp-ca.crt"})
    for namespace in ("old-ns", "can-ns", "nack-ns"):
        stage.bed.wait(90, f"real pods of {namespace}", lambda n=namespace: stage.cluster.settled(n), 0.5)
    stage.bed.wait(60, "the short-lived certificate's pod", lambda: ready(stage, "ill-ns", "short"), 0.5)


def ready(stage, namespace, name):
    pods = stage.pods(namespace, name)
    return bool(pods) and all(map(bedlib._ready, pods))


def end_of_certificate(stage):
    """From now on the CA refuses this pod; the stream that it has goes on, until the certificate has run out."""
    stage.kubelet_pod("ill-ns", "short").spoil("istio-token", "istio-token", "garbage")
    return time.monotonic()


@pytest.mark.nodes(2)
def test_each_situation_has_its_own_state(cluster):
    if not cluster.real_sidecars:
        pytest.skip("NOT RUN: no real istiods and pilot-agents were found; see tests/bed/README.md")
    stage = Stage(cluster)
    build(stage)
    spoilt = end_of_certificate(stage)
    cluster.deploy(gate_args=[f"--reading-period={PERIOD_S}s", f"--idle-period={PERIOD_S}s"])
    three_agree(stage)
    refused(stage)
    rejected(stage)
    expired(stage, spoilt)
    frozen(stage)
    killed(stage)


def three_agree(stage):
    for namespace in ("old-ns", "can-ns"):
        for key, x in stage.becomes(namespace, "web", {("Settled", "None")}, 60, 2).items():
            told = stage.view.explain(*key.split("/"))
            assert told and set(told["witnesses"]) == {"intent", "control_plane", "node"}, told
            late = {w: v["age_ms"] for w, v in told["witnesses"].items() if v["age_ms"] is None or v["age_ms"] > 4000 * PERIOD_S}
            assert not late, f"{key}: a witness is silent or late: {late}"
            assert x["attached"] == x["injected"] == x["expected"], x
            assert x["accepted_lds"] and x["accepted_lds"] == x["acked_lds"], f"the two ends differ: {x}"


def refused(stage):
    """Wrong token, audience and root: an open connection is no stream."""
    for name in ("token", "audience", "root"):
        for key, x in stage.becomes("ill-ns", name, {("Detached", "CredentialsRefused")}, 40, 1).items():
            assert not x["attached"], x
    assert not ready(stage, "ill-ns", "token")
    held = {name: len(stage.sockets("ill-ns", name)) for name in ("token", "audience")}
    say(f"established connections to port 15012 of proxies that no istiod lists: {held}")
    stage.stays_out("ill-ns", "token", {"Settled", "Moved"}, PERIOD_S)


def rejected(stage):
    """An update that the running Envoy rejects, and then one that starts with it and never gets ready."""
    path = world.ENVOY_FILTERS.format("nack-ns")
    stage.bed.api("POST", path, world.unknown_filter("no-such-filter"))
    for key, x in stage.becomes("nack-ns", "web", {("Nacking", "Nack")}, LOOK_S + 2, 1).items():
        assert x["error_type"] == "LDS" and "NoSuchFilter" in x["error"] + x["sentence"], x
        assert (x["types"]["LDS"], x["types"]["CDS"]) == ("Error", "Synced"), x["types"]
    assert ready(stage, "nack-ns", "web"), "the old pod keeps what it had"
    stage.workload("nack-ns", "fresh")
    until(60, "the fresh pod runs", lambda: stage.pods("nack-ns", "fresh") and stage.rows("nack-ns", "fresh"))
    stage.becomes("nack-ns", "fresh", {("Nacking", "Nack")}, LOOK_S + 10, 1)
    assert not ready(stage, "nack-ns", "fresh"), "a pod that never had listeners is ready"
    stage.bed.api("DELETE", f"{path}/{world.FILTER}")
    stage.bed.wait(60, "the fresh pod has its listeners", lambda: ready(stage, "nack-ns", "fresh"), 0.5)


def expired(stage, spoilt):
    left = max(0, TTL_S + 2 - (time.monotonic() - spoilt))
    rows = stage.becomes("ill-ns", "short", {("Conflict", "CertExpired")}, left + LOOK_S, 1)
    assert ready(stage, "ill-ns", "short"), "the pod is not ready: then anybody would see it"
    assert all(x["attached"] == "canary" for x in rows.values()), "its stream outlives the certificate"


def frozen(stage):
    """The connections stay established for 40 s and more; that is not attached."""
    stage.istio.freeze("canary", 0)
    try:
        stage.becomes("can-ns", "web", {("Unknown", "CpStale"), ("Unknown", "ReplicaSilent")}, LOOK_S + 12, 2)
        held = stage.sockets("can-ns", "web")
        assert held, "the connection to the frozen istiod is gone: nothing is shown here"
        say(f"meanwhile {len(held)} of its connections to port 15012 stand established")
        stage.becomes("old-ns", "web", {("Settled", "None")}, 1, 2)
    finally:
        stage.istio.thaw("canary", 0)
    stage.becomes("can-ns", "web", {("Settled", "None")}, LOOK_S + 35, 2)


def killed(stage):
    stage.istio.kill("old", 0)
    lost = {("Syncing", "ControlPlaneLost"), ("Detached", "ControlPlaneDown")}
    stage.becomes("old-ns", "web", lost, LOOK_S, 2)
    stage.becomes("old-ns", "web", {("Detached", "ControlPlaneDown")}, 90, 2)
    stage.becomes("can-ns", "web", {("Settled", "None")}, 1, 2)
    stage.istio.start("old", 0)
    stage.becomes("old-ns", "web", {("Settled", "None")}, LOOK_S + 45, 2)
