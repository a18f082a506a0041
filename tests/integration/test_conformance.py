"""The embedded API server and istiods answer as real ones were recorded to (tests/conformance)."""
import base64
import json
import os
import sys

import pytest

from mesh import Mesh

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "conformance"))

import conformance  # noqa: E402
from ask import Target, env_tool  # noqa: E402


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    with Mesh(folder, nodes=2, namespaces=2, pods=4, replicas=1) as mesh:
        ca = folder / "api-ca.pem"
        ca.write_bytes(base64.b64decode(mesh.ca_data))
        target = Target(mesh.server, str(ca), headers={"Authorization": f"Bearer {mesh.admin_token}"},
                     istiods={"old": "127.45.0.1", "canary": "127.45.1.1"}, root_file=str(folder / "istio-root.pem"),
                     xds_ask=env_tool("xds-ask"))
        target.forget = lambda: mesh.say("compact")
        yield target


def check(name, answers):
    found = list(conformance.differences(name, answers))
    for question, want, got in found:
        print(f"{question}\n  real     {json.dumps(want, sort_keys=True)}\n  embedded {json.dumps(got, sort_keys=True)}")
    assert not found, f"{len(found)} of {len(answers)} answers differ from {name}: {', '.join(q for q, _, _ in found)}"


def test_api_server(target):
    check("api", conformance.ask_api(target))


@pytest.mark.parametrize("revision,version", [("old", "1.29.6"), ("canary", "1.30.3")])
def test_istiod(target, revision, version):
    check(f"istiod-{version}", conformance.ask_xds(target, revision))
