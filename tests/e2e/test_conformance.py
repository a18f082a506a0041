"""The answers that the embedded mesh is held against are still those of the real servers."""

import json
import pathlib
import sys

import pytest

import cluster as clusters
from conftest import binaries

CONFORMANCE = pathlib.Path(__file__).resolve().parents[1] / "conformance"
sys.path.insert(0, str(CONFORMANCE))

import conformance  # noqa: E402
import real  # noqa: E402


@pytest.fixture(scope="module")
def target(shared_cluster):
    shared_cluster.bed.kubectl("apply", "--server-side", "-k", clusters.ROOT / "deploy/crd")
    shared_cluster.bed.kubectl("wait", "--for=condition=Established", "crd/meshupgrades.meshgate.io", "--timeout=30s")
    target = real.target_of(shared_cluster.bed, shared_cluster.istio)
    target.xds_ask = str(binaries() / "xds-ask")
    return target


def check(name, answers):
    found = [d for d in conformance.differences(name, answers) if d[0] not in conformance.listed(name)]
    for question, want, got in found:
        print(f"{question}\n  recorded {json.dumps(want, sort_keys=True)}\n  now      {json.dumps(got, sort_keys=True)}")
    assert not found, f"{len(found)} of {len(answers)} answers differ from what {name} was recorded to say"


@pytest.mark.parametrize("revision", ["old", "canary"])
def test_istiod(target, shared_cluster, revision):
    check(f"istiod-{shared_cluster.istio.versions[revision]}", conformance.ask_xds(target, revision))


def test_api_server(target):
    """Last: its last question restarts the API server."""
    check("api", conformance.ask_api(target))
