import json
import os
import pathlib

import pytest

import world  # noqa: F401  puts tests/bed and tests/scenarios on the path
import cluster as clusters

COUNT = {"passed": 0, "failed": 0}
RAN = set()


def binaries():
    return pathlib.Path(os.environ["MESHGATE_BINARIES"])


@pytest.fixture
def cluster(request):
    """A cluster of its own for each story; `replicas` istiods a revision and `nodes` by markers."""

    def marked(name, default):
        marker = request.node.get_closest_marker(name)
        return marker.args[0] if marker else default

    made = clusters.Cluster(
        binaries(),
        nodes=marked("nodes", world.NODES),
        replicas=marked("replicas", 1),
        force_embedded=os.environ.get("MESHGATE_E2E_EMBEDDED") == "1",
    )
    RAN.add(made.istio.describe())
    with made as c:
        yield c
        if getattr(request.node, "failed", False):
            print(c.logs(25))


@pytest.fixture(scope="module")
def shared_cluster():
    """A cluster without workloads, for questions to the API server."""
    made = clusters.Cluster(binaries(), nodes=2, force_embedded=os.environ.get("MESHGATE_E2E_EMBEDDED") == "1")
    RAN.add(made.istio.describe())
    with made as c:
        yield c


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed
    if report.when == "call" and report.passed:
        COUNT["passed"] += 1
    elif report.failed:
        COUNT["failed"] += 1


def pytest_configure(config):
    config.addinivalue_line("markers", "replicas(n): istiods of each revision")
    config.addinivalue_line("markers", "nodes(n): nodes of kwok's")


def pytest_sessionfinish():
    where = os.environ.get("MESHGATE_E2E_RESULT")
    if where:
        pathlib.Path(where).write_text(json.dumps({**COUNT, "istiod": sorted(RAN)}))
