"""What the real API server refuses, and with which words."""

import json
import subprocess

import pytest

import build
import cluster as clusters

FROM_TO = {"from": {"revision": "old"}, "to": {"revision": "canary"}}


def spec(**more):
    return {**FROM_TO, "waves": [{"name": "first", "namespaces": {"names": ["shop"]}}, {"name": "rest"}], **more}


def waves(*list_):
    return spec(waves=list(list_))


REFUSED = [
    ("same revision", spec(to={"revision": "old"}), "from and to are the same revision"),
    ("twin waves", waves({"name": "a", "namespaces": {"percent": 10}}, {"name": "a"}), "two waves have the same name"),
    (
        "rest before the end",
        waves({"name": "a"}, {"name": "b", "namespaces": {"percent": 10}}),
        "can only be the last one",
    ),
    (
        "several choices",
        waves({"name": "a", "namespaces": {"percent": 10, "names": ["x"]}}),
        "give one of names, selector, percent",
    ),
    ("empty selector", waves({"name": "a", "namespaces": {"selector": {}}}), "an empty selector takes every namespace"),
    (
        "In without values",
        waves({"name": "a", "namespaces": {"selector": {"matchExpressions": [{"key": "k", "operator": "In"}]}}}),
        "operators In and NotIn need values",
    ),
    ("percent 0", waves({"name": "a", "namespaces": {"percent": 0}}), "greater than or equal to 1"),
    ("percent 101", waves({"name": "a", "namespaces": {"percent": 101}}), "less than or equal to 100"),
    ("approval of no wave", spec(approvedWaves=["frist"]), "approvedWaves names a wave that is not in spec.waves"),
    ("no waves", waves(), "at least 1 item"),
    ("soak without unit", waves({"name": "a", "soak": "15"}), "should match"),
    ("unknown move", spec(move="Teleport"), "supported values"),
    ("unknown approval", waves({"name": "a", "approval": "Maybe"}), "supported values"),
    ("name of a wave", waves({"name": "Not A Name"}), "should match"),
    ("no from", {k: v for k, v in spec().items() if k != "from"}, "Required value"),
    ("misspelt field", spec(polcy={}), "unknown field"),
    ("negative bad proxies", spec(policy={"maxBadProxies": -1}), "greater than or equal to 0"),
]


@pytest.fixture(scope="module")
def crd(shared_cluster):
    shared_cluster.bed.kubectl("apply", "--server-side", "-k", clusters.ROOT / "deploy/base")
    shared_cluster.bed.kubectl("wait", "--for=condition=Established", "crd/meshupgrades.meshgate.io", "--timeout=30s")
    return shared_cluster


def apply(cluster, body):
    text = json.dumps(
        {"apiVersion": "meshgate.io/v1alpha1", "kind": "MeshUpgrade", "metadata": {"name": "t"}, "spec": body}
    )
    validate = ["--validate=strict"] if (build.BIN / "kubectl").exists() else []
    return cluster.bed.kubectl("apply", "--dry-run=server", *validate, "-o", "json", "-f", "-", input=text, check=False)


@pytest.mark.parametrize("what,body,says", REFUSED, ids=[r[0].replace(" ", "-") for r in REFUSED])
def test_refused_with_a_sentence(crd, what, body, says):
    done = apply(crd, body)
    assert done.returncode != 0, f"{what}: accepted"
    assert says in done.stderr, done.stderr


def test_good_spec_gets_safe_defaults(crd):
    done = apply(crd, spec())
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)["spec"]
    assert got["paused"] is False and got["move"] == "NamespaceLabel"
    assert (
        got["policy"]["nodeWitness"] == "Required"
        and got["policy"]["coveragePercent"] == 100
        and got["policy"]["maxBadProxies"] == 0
    )
    assert all(w["approval"] == "Auto" and w["soak"] == "5m" for w in got["waves"])


def test_explained_field_by_field(crd):
    text = crd.bed.kubectl("explain", "meshupgrades.spec.waves.namespaces")
    assert "one of names, selector, percent" in " ".join(text.split())


@pytest.mark.parametrize(
    "verb,resource,allowed",
    [
        ("patch", "namespaces", True),
        ("patch", "deployments.apps", True),
        ("patch", "meshupgrades.meshgate.io/status", True),
        ("create", "tokenreviews.authentication.k8s.io", True),
        ("get", "secrets", False),
        ("delete", "pods", False),
        ("patch", "meshupgrades.meshgate.io", False),
        ("update", "namespaces", False),
        ("create", "pods", False),
    ],
)
def test_rights_of_the_gate(crd, verb, resource, allowed):
    resource, _, sub = resource.partition("/")
    done = crd.bed.kubectl(
        "auth",
        "can-i",
        verb,
        resource,
        f"--subresource={sub}",
        "--as=system:serviceaccount:istio-system:meshgate",
        check=False,
    )
    assert (done.stdout.strip() == "yes") == allowed, done.stdout


@pytest.mark.parametrize(
    "verb,resource",
    [("get", "pods"), ("list", "namespaces"), ("get", "meshupgrades.meshgate.io"), ("get", "configmaps")],
)
def test_agent_has_no_rights(crd, verb, resource):
    done = crd.bed.kubectl(
        "-n",
        "istio-system",
        "auth",
        "can-i",
        verb,
        resource,
        "--as=system:serviceaccount:istio-system:meshgate-agent",
        check=False,
    )
    assert done.stdout.strip() == "no", done.stdout


# --- the gate with settings that cannot work


def gate(cluster, config, seconds=20):
    """Run the gate with a kubeconfig until it says something about it; its exit status (None: still trying) and its words."""
    log = cluster.bed.dir / "gate-bad.log"
    key, crt = cluster.bed.pki.path("apiserver.key"), cluster.bed.pki.path("apiserver.crt")
    with open(log, "wb") as out:
        p = subprocess.Popen(
            [
                cluster.binaries / "meshgate",
                "--kubeconfig",
                config,
                "--agents-address=127.0.0.1:15443",
                "--admin-address=127.0.0.1:8081",
                f"--tls-cert={crt}",
                f"--tls-key={key}",
            ],
            stdout=out,
            stderr=out,
        )
    try:
        try:
            code = p.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        return code, log.read_text()
    finally:
        p.kill()
        p.wait()


def test_unreadable_kubeconfig(shared_cluster):
    code, text = gate(shared_cluster, "/nonexistent/kubeconfig")
    assert code and code > 0, f"exit {code}: {text}"
    assert "/nonexistent/kubeconfig" in text


def test_garbled_kubeconfig(shared_cluster, tmp_path):
    (tmp_path / "config").write_text("{ this: is: no: yaml")
    code, text = gate(shared_cluster, str(tmp_path / "config"))
    assert code and code > 0, f"exit {code}: {text}"
    assert str(tmp_path / "config") in text


@pytest.mark.parametrize("what", ["expired token", "wrong CA"])
def test_credentials_that_fail(shared_cluster, what):
    """The gate does not crash, does not call itself ready, and says what is wrong."""
    pki = shared_cluster.bed.pki
    if what == "expired token":
        config = pki.kubeconfig("expired", f"token: '{pki.token('istio-system', 'meshgate', -3600)}'")
    else:
        config = pki.kubeconfig(
            "wrong-ca", f"token: '{shared_cluster.bed.account_token('istio-system', 'default')}'", ca="fp-ca"
        )
    code, text = gate(shared_cluster, config, 8)
    assert code is None or code > 0, f"ended by signal {code}: {text}"
    says = ["401", "Unauthorized"] if what == "expired token" else ["certificate"]
    assert any(s in text for s in says), text
    assert "panic" not in text and "AddressSanitizer" not in text
