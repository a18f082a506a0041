"""What kubectl-meshgate shows of a real gate and agents on the embedded mesh, without any MeshUpgrade."""
import json
import os
import subprocess

import pytest

from cli_bench import HELD, HERE, PROGRAM
from mesh import Mesh, until
from programs import Agent, Gate

NODES = ["node-01", "node-02"]


class Seen:
    def __init__(self, folder, mesh):
        self.folder, self.mesh = folder, mesh
        self.gate = Gate(folder, mesh).ready()
        self.agents = {n: Agent(folder, mesh, self.gate, n).ready() for n in NODES}

    def run(self, *args):
        env = dict(os.environ, FAKE_KUBECTL_DIR=str(self.folder), FAKE_KUBECTL_GATE=str(self.gate.admin_port),
                   MESHGATE_KUBECTL=os.path.join(HERE, "fake_kubectl.py"), LC_ALL="C")
        return subprocess.run([PROGRAM, *args], env=env, capture_output=True, text=True, timeout=60, check=False)

    def proxies(self, *flags):
        return json.loads(self.run("proxies", "-o", "json", *flags).stdout)["proxies"]

    def well(self):
        return self.run("check").returncode == 0


@pytest.fixture(scope="module", name="seen")
def make_seen(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("mesh"), nodes=2, namespaces=2, pods=8, replicas=1) as mesh:
        seen = Seen(tmp_path_factory.mktemp("programs"), mesh)
        until("the mesh is well", seen.well, 60, 0.5)
        yield seen
        assert [p.stop() for p in (*seen.agents.values(), seen.gate)] == [0, 0, 0]


def test_a_mesh_that_is_well(seen):
    rows = seen.proxies()
    assert len(rows) >= 8 and {(p["state"], p["attached"], p["sync"]) for p in rows} == {("Settled", "old", "Synced")}
    assert all(p["accepted_cds"] == p["acked_cds"] and p["image"] and p["owner_kind"] for p in rows)
    assert "the istiods of every revision show a certificate of the mesh's root" in seen.run("check").stdout
    assert seen.run("proxies", "--stuck").stdout.startswith("No proxy is stuck. There are ")
    assert seen.proxies("--revision", "canary") == [] and seen.proxies("--node", "node-01", "--type", "sidecar")
    covered = json.loads(seen.run("coverage", "-o", "json").stdout)["cluster"]
    assert covered["expected"] == covered["heard"] == len(rows)
    mesh = {r["name"]: r for r in json.loads(seen.run("istiods", "-o", "json").stdout)["revisions"]}
    assert sum(x["proxies"] for x in mesh["old"]["replicas"]) == len(rows)
    assert sum(x["proxies"] for x in mesh["canary"]["replicas"]) == 0 and mesh["old"]["tags"] == ["default"]


def test_every_proxy_is_explained(seen):
    for p in seen.proxies():
        o = json.loads(seen.run("explain", f"{p['namespace']}/{p['pod']}", "-o", "json").stdout)
        assert o["decided_by"] == "all" and o["rule"].startswith("nothing contradicts: expected on and injected by old; istiod-old")
        assert (o["state"], o["owner"], o["type"]) == (p["state"], p["owner"], p["type"])
        assert all(w["age_ms"] is not None and w["says"] for w in o["witnesses"].values())
    assert "the gate knows no proxy app-00/nosuch" in seen.run("explain", "app-00/nosuch").stderr


def test_a_label_that_names_nothing(seen):
    seen.mesh.do("label app-01 istio.io/rev=nosuch")
    try:
        until("it is found", lambda: seen.proxies("--reason", "NotInstalled"), 30, 0.5)
        assert {(p["namespace"], p["whose"]) for p in seen.proxies("--stuck")} == {("app-01", "namespace")}
        done = seen.run("check")
        assert done.returncode == HELD and "app-01 (istio.io/rev=nosuch)" in " ".join(done.stdout.split())
        pod = seen.proxies("-n", "app-01")[0]["pod"]
        assert "the API server's word decides: the labels name a revision or tag that is not installed" in \
            " ".join(seen.run("explain", f"app-01/{pod}").stdout.split())
    finally:
        seen.mesh.do("label app-01 istio.io/rev=old")
    until("the mesh is well again", seen.well, 60, 0.5)


def test_a_node_without_an_agent(seen):
    assert seen.agents["node-02"].stop() == 0
    until("it is missed", lambda: not seen.well(), 30, 0.5)
    assert "[?]    no agent is heard from: node-02" in seen.run("check").stdout
    seen.agents["node-02"] = Agent(seen.folder, seen.mesh, seen.gate, "node-02").ready()
    until("the mesh is well again", seen.well, 60, 0.5)
