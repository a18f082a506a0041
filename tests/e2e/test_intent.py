"""Intent against an oracle: pods are created on the real API server with every combination of labels, and what its webhooks and
the injectors did is compared with what the gate's own code says of the same objects (tests/conformance/intent_ask.c).

The pods stay unscheduled: all that is asked about is done when the API server answers the POST.
"""

import concurrent.futures
import copy
import itertools
import json
import os
import pathlib
import subprocess
import time

import pytest

import world  # noqa: F401  puts tests/bed on the path
import bed as bedlib
import build
import conftest
import istio as istios

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
REVS = [None, "old", "canary", "default", "prod", "nosuch"]
INJECTION = [None, "enabled", "disabled", "other"]
INJECT = [None, "true", "false", "other"]
SIDECAR = "sidecar.istio.io/inject"
THREADS = 12


@pytest.fixture(scope="module")
def mesh():
    """Kubernetes and two revisions with the tags `default` (old) and `prod` (canary); no workloads, no proxies."""
    bed = bedlib.Bed(nodes=1)
    made = istios.Istio(
        bed, binaries=conftest.binaries(), force_embedded=os.environ.get("MESHGATE_E2E_EMBEDDED") == "1"
    )
    conftest.RAN.add(made.describe())
    try:
        bed.up()
        made.up()
        put_tag(made, "canary", "prod")
        yield Oracle(made)
    finally:
        bed.down()


# --- webhooks


def put_tag(istio, revision, tag, by_default=False):
    """A revision tag as the chart renders it; by_default: with enableNamespacesByDefault."""
    if istio.real:
        chart = build.ISTIO / istio.versions[revision] / "manifests/charts/istio-control/istio-discovery"
        values = [f"revision={revision}", f"revisionTags={{{tag}}}", "telemetry.enabled=false"]
        values.append(f"sidecarInjectorWebhook.enableNamespacesByDefault={str(by_default).lower()}")
        more = [x for v in values for x in ("--set", v)]
        istio._apply_chart(f"istiod-{revision}", chart, [*more, "--show-only", "templates/revision-tags-mwc.yaml"])
    else:
        hooks = istios._injector(f"istio-revision-tag-{tag}", revision, tag, tag == "default")
        hooks["metadata"]["labels"]["istio.io/tag"] = tag
        if by_default:
            hooks["webhooks"].append(no_labels_at_all(revision))
        istio.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(hooks))
    istio.bed.wait(30, f"caBundle of tag {tag}", lambda: bundled(istio.bed, f"istio-revision-tag-{tag}"))


def no_labels_at_all(revision):
    absent = istios._absent
    system = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]
    return istios._hook(
        "auto.sidecar-injector.istio.io",
        revision,
        [
            absent("istio-injection"),
            absent("istio.io/rev"),
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": system},
        ],
        [absent(SIDECAR), absent("istio.io/rev")],
    )


def bundled(bed, name):
    return all(w["clientConfig"].get("caBundle") for w in bed.api("GET", f"{HOOKS}/{name}")["webhooks"])


# --- the oracle


class Oracle:
    def __init__(self, istio):
        self.istio, self.bed = istio, istio.bed
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS)

    def namespace(self, name, labels):
        given = {k: v for k, v in labels.items() if v is not None}
        self.bed.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": given}})

    def namespaces(self, wanted):
        list(self.pool.map(lambda x: self.namespace(*x), wanted.items()))
        for name in wanted:  # the admission of a pod wants the account, which a controller makes
            self.bed.wait(
                30, f"account of {name}", lambda n=name: self.bed.find(f"/api/v1/namespaces/{n}/serviceaccounts/default")
            )

    def create(self, pod):
        """What became of it: (pod as the API server has it, None) or (pod as it was sent, why it was refused)."""
        try:
            return self.bed.api("POST", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pod), None
        except bedlib.ApiError as e:
            sent = copy.deepcopy(pod)
            sent["metadata"]["uid"] = f"refused-{pod['metadata']['namespace']}-{pod['metadata']['name']}"
            return sent, str(e)

    def make(self, pods):
        return list(self.pool.map(self.create, pods))

    def ask(self, made, **more):
        """The gate's answer for each pod, by namespace and name."""
        system = "istio-system"
        objects = {
            "namespaces": self.bed.list("/api/v1/namespaces"),
            "webhooks": self.bed.list(HOOKS),
            "configmaps": self.bed.list(f"/api/v1/namespaces/{system}/configmaps?labelSelector=istio.io/rev"),
            "services": self.bed.list(f"/api/v1/namespaces/{system}/services"),
            "slices": self.bed.list(f"/apis/discovery.k8s.io/v1/namespaces/{system}/endpointslices"),
            "validators": self.bed.list(HOOKS.replace("mutating", "validating")),
            "pods": self.bed.list(f"/api/v1/namespaces/{system}/pods") + [p for p, _ in made],
            **more,
        }
        tool = pathlib.Path(conftest.binaries()) / "intent-ask"
        done = subprocess.run([tool], input=json.dumps(objects), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return {(a["namespace"], a["pod"]): a for a in answers}

    def compare(self, what, pods, made=None):
        """Create the pods and hold both answers against each other; prints and returns the differences."""
        began = time.monotonic()
        made = made or self.make(pods)
        answers, differences = self.ask(made), []
        for pod, refused in made:
            m = pod["metadata"]
            says = answers[m["namespace"], m["name"]]
            did = "refused" if refused else injected_by(pod)
            if predicted(says) != did:
                differences.append(f"{m['namespace']}/{m['name']}: done: {did} ({refused}); the gate: {says}")
        by = {d: 0 for d in sorted({"refused" if r else injected_by(p) or "nobody" for p, r in made})}
        for p, r in made:
            by["refused" if r else injected_by(p) or "nobody"] += 1
        counts = ", ".join(f"{n} {d}" for d, n in by.items())
        print(
            f"\nintent: {what}: {len(made)} combinations ({counts}), {len(differences)} differences, "
            f"{time.monotonic() - began:.1f} s"
        )
        print("\n".join(f"  {d}" for d in differences), end="\n" if differences else "")
        return differences


def injected_by(pod):
    """The revision whose sidecar the pod has, None without one. istiod itself wrote it."""
    spec = pod["spec"]
    names = [c["name"] for c in spec.get("initContainers", []) + spec["containers"]]
    return pod["metadata"]["annotations"]["istio.io/rev"] if "istio-proxy" in names else None


def predicted(says):
    if says["intent"] == "unknown":
        return "refused" if "so that the pod is refused" in says["why"] else f"unknown: {says['why']}"
    if says["intent"] == "several":
        return "several"
    return says["revision"] if says["intent"] == "one" and not says["opt_out"] else None


def pod(namespace, name, labels=None, annotations=None, **spec):
    def given(x):
        return {k: v for k, v in (x or {}).items() if v is not None}

    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": given(labels),
            "annotations": given(annotations),
        },
        "spec": {
            "schedulerName": "nobody",
            "automountServiceAccountToken": False,
            "containers": [{"name": "web", "image": "registry.local/web:1"}],
            **spec,
        },
    }


# --- the combinations of labels


def name_of(*values):
    return "-".join("none" if v is None else v.lower() or "empty" for v in values)


NAMESPACES = {
    name_of("ns", injection, rev): {"istio-injection": injection, "istio.io/rev": rev}
    for injection, rev in itertools.product(INJECTION, REVS)
}


def label_combinations(suffix):
    return [
        pod(ns, name_of(suffix, inject, rev), {SIDECAR: inject, "istio.io/rev": rev})
        for ns in NAMESPACES
        for inject, rev in itertools.product(INJECT, REVS)
    ]


def opt_out_combinations():
    """What only the injector sees: the annotation behind each combination of labels, and hostNetwork."""
    annotated = [
        pod(ns, name_of("a", inject, rev, value), {SIDECAR: inject, "istio.io/rev": rev}, {SIDECAR: value})
        for ns in NAMESPACES
        for inject, rev, value in itertools.product(INJECT, REVS, ["true", "false"])
    ]
    odd = [
        pod(ns, name_of("o", inject, value), {SIDECAR: inject}, {SIDECAR: value})
        for ns in NAMESPACES
        for inject, value in [("", None), ("", "true"), ("", "false"), (None, "other"), (None, ""), ("False", None)]
    ]
    host = [
        pod(ns, name_of("h", inject, rev), {SIDECAR: inject, "istio.io/rev": rev}, hostNetwork=True)
        for ns in NAMESPACES
        for inject, rev in itertools.product(INJECT, REVS)
    ]
    system = [pod("kube-system", name_of("s", inject), {SIDECAR: inject, "istio.io/rev": "old"}) for inject in INJECT]
    return annotated + odd + host + system


def test_every_combination_of_labels(mesh):
    mesh.namespaces(NAMESPACES)
    mesh.namespaces({"kube-system": {}})
    wrong = mesh.compare("labels of namespace and pod", label_combinations("p"))
    wrong += mesh.compare("annotation, hostNetwork, system namespace", opt_out_combinations())
    put_tag(mesh.istio, "old", "default", by_default=True)
    mesh.bed.wait(20, "webhook auto.", lambda: injected_by(mesh.create(probe("ns-none-none"))[0]) == "old")
    wrong += mesh.compare("the same with enableNamespacesByDefault", label_combinations("d"))
    mesh.bed.api("DELETE", f"{HOOKS}/istio-revision-tag-default")
    mesh.bed.wait(20, "no default tag", lambda: injected_by(mesh.create(probe("ns-enabled-none"))[0]) is None)
    wrong += mesh.compare("the same without a default tag", label_combinations("n"))
    put_tag(mesh.istio, "old", "default")
    assert not wrong, f"{len(wrong)} differences"


def probe(namespace, **labels):
    return pod(namespace, f"probe-{time.monotonic_ns()}", labels)


# --- matchConditions: the API server's own CEL is the oracle

EVALUATED = [
    "true",
    "!(false || !true)",
    "request.operation == 'CREATE' && request.kind.kind == 'Pod'",
    "request.kind.group == '' && request.kind.version == \"v1\" && request.resource.resource in ['pods', 'x']",
    "request.namespace == object.metadata.namespace",
    "request.namespace.startsWith('cond-') && !request.namespace.endsWith('x') && request.namespace.contains('ond')",
    "!(request.namespace in ['kube-system', 'cond-none'])",
    "object.kind == 'Pod' && object.apiVersion == 'v1'",
    "!has(object.metadata.labels) || !('skip' in object.metadata.labels)",
    "!(has(object.metadata.labels) && 'skip' in object.metadata.labels && object.metadata.labels['skip'] == 'true')",
    "has(object.metadata.labels) && has(object.metadata.labels.app)",
    "has(object.metadata.labels.app)",
    "object.metadata.labels['app'] == 'web'",
    "object.metadata.labels.app != 'web'",
    "object.metadata.labels['app'] == 'web' || true",
    "false && object.metadata.labels['app'] == 'web'",
    "object.metadata.labels['app'] == 'web' && request.operation == 'DELETE'",
    "'app' in object.metadata.labels",
    "has(object.metadata.labels)",
    "object.metadata.labels['app'] in ['web', 'db']",
    "object.metadata.labels['app'].startsWith('w')",
    "!has(object.metadata.annotations) || !('istio.io/skip' in object.metadata.annotations)",
    "!has(object.metadata.annotations) || !has(object.metadata.annotations.x)"
    " || object.metadata.annotations['istio.io/skip'] != 'true' || true",
    "!(has(object.metadata.annotations) && 'istio.io/skip' in object.metadata.annotations"
    " && object.metadata.annotations['istio.io/skip'] == 'true')",
    "!has(object.spec.hostNetwork) || !object.spec.hostNetwork",
    "has(object.spec.hostNetwork) && object.spec.hostNetwork",
]
UNKNOWN = [
    "request.userInfo.username != 'system:serviceaccount:ci:runner'",
    "object.metadata.?labels['app'].orValue('') == 'web'",
    "object.spec.containers.all(c, c.image != 'x')",
    "size(object.metadata.name) > 2",
    "has(object.metadata.annotations) && 'example.com/a' in object.metadata.annotations",
]
SEVERAL = [
    ["true", "request.operation == 'CREATE'"],
    ["true", "false"],
    ["object.metadata.labels['app'] == 'web'", "has(object.metadata.labels)"],
]
MIXED = ["size(object.metadata.name) > 2", "has(object.metadata.labels) && 'skip' in object.metadata.labels"]
VARIANTS = {
    "plain": {},
    "app": {"labels": {"app": "web"}},
    "skip": {"labels": {"skip": "true"}},
    "both": {"labels": {"skip": "false", "app": "db"}, "annotations": {"istio.io/skip": "true"}},
    "noted": {"annotations": {"istio.io/skip": "false"}},
    "foreign": {"annotations": {"example.com/a": "b"}},
    "host": {"labels": {"app": "web"}, "hostNetwork": True},
}
PER_CONFIGURATION = 20


def conditional_hook(number, expressions, ca_bundle):
    hook = istios._hook(f"c{number}.condition.istio.io", "canary", [], [])
    hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": f"cond-{number:02}"}}
    hook["clientConfig"]["caBundle"] = ca_bundle
    hook["matchConditions"] = [{"name": f"condition-{i}", "expression": e} for i, e in enumerate(expressions)]
    return hook


def test_match_conditions(mesh):
    """Each list of conditions has a namespace of its own, and a webhook that looks at no other. One that the gate does not
    evaluate makes it say so, unless another one is false."""
    lists = [[e] for e in EVALUATED] + SEVERAL + [[e] for e in UNKNOWN] + [MIXED]
    hooks = mesh.bed.api("GET", f"{HOOKS}/istio-sidecar-injector-canary")["webhooks"]
    made = [conditional_hook(i, e, hooks[0]["clientConfig"]["caBundle"]) for i, e in enumerate(lists)]
    mesh.namespaces({f"cond-{i:02}": {} for i in range(len(lists))})
    for first in range(0, len(made), PER_CONFIGURATION):
        labels = {"istio.io/rev": "canary"}
        body = {"metadata": {"name": f"istio-conditions-{first}", "labels": labels}}
        mesh.bed.api("POST", HOOKS, {**body, "webhooks": made[first : first + PER_CONFIGURATION]})
    mesh.bed.wait(20, "webhook of a condition", lambda: injected_by(mesh.create(probe("cond-00"))[0]) == "canary")
    time.sleep(1)  # the API server's caches of the other configurations
    pods = [
        pod(f"cond-{i:02}", variant, more.get("labels"), more.get("annotations"), **spec_of(more))
        for i in range(len(lists))
        for variant, more in VARIANTS.items()
    ]
    made_pods = mesh.make(pods)
    answers = mesh.ask(made_pods)
    not_evaluated = len(EVALUATED) + len(SEVERAL)
    unknown = [
        (p, r)
        for p, r in made_pods
        if answers[p["metadata"]["namespace"], p["metadata"]["name"]]["intent"] == "unknown"
        and int(p["metadata"]["namespace"][5:]) >= not_evaluated
    ]
    rest = [x for x in made_pods if x not in unknown]
    wrong = mesh.compare("matchConditions", None, made=rest)
    print(f"intent: matchConditions: {len(unknown)} more are unknown to the gate, as they should be")
    for first in range(0, len(made), PER_CONFIGURATION):
        mesh.bed.api("DELETE", f"{HOOKS}/istio-conditions-{first}")
    assert not wrong, f"{len(wrong)} differences"
    assert len(unknown) == len(UNKNOWN) * len(VARIANTS) + 2


def spec_of(variant):
    return {"hostNetwork": True} if variant.get("hostNetwork") else {}


# --- the injector's ConfigMap


def test_policy_and_selectors_of_the_injector(mesh):
    if not mesh.istio.real:
        pytest.skip("the embedded istiod has no injector ConfigMap")
    path = "/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector-canary"
    config = mesh.bed.api("GET", path)["data"]["config"]
    assert "policy: enabled" in config and "neverInjectSelector:\n  []" in config
    never = config.replace(
        "neverInjectSelector:\n  []",
        "neverInjectSelector:\n  - {}\n  - matchExpressions:\n    - {key: skip, operator: In, values: ['true', 'yes']}",
    )
    always = never.replace(
        "alwaysInjectSelector:\n  []", "alwaysInjectSelector:\n  - matchLabels:\n      app: web"
    ).replace("policy: enabled", "policy: disabled")
    illegal = config.replace("policy: enabled", "policy: sometimes")
    mesh.namespaces({"policy": {"istio.io/rev": "canary"}})
    wrong = []
    for name, text, settled in [
        ("neverInjectSelector", never, ({"skip": "true"}, None)),
        ("policy disabled, both selectors", always, ({}, None)),
        ("an illegal policy", illegal, ({SIDECAR: "true"}, None)),
        ("as the chart has it", config, ({}, "canary")),
    ]:
        mesh.bed.api("PATCH", path, {"data": {"config": text}})
        labels, result = settled
        mesh.bed.wait(
            30, f"istiod follows: {name}", lambda: injected_by(mesh.create(probe("policy", **labels))[0]) == result
        )
        pods = [
            pod("policy", f"p{len(wrong)}-{time.monotonic_ns()}", {SIDECAR: inject, "skip": skip, "app": app}, {SIDECAR: note})
            for inject, skip, app, note in itertools.product(
                INJECT, [None, "true", "yes", "no"], [None, "web"], [None, "true", "false"]
            )
        ]
        wrong += mesh.compare(f"injector ConfigMap: {name}", pods)
    assert not wrong, f"{len(wrong)} differences"


# --- gateways that istiods make of the Gateway API

GROUP = "gateway.networking.k8s.io"


def definition(plural, kind, namespaced):
    """As much of the Gateway API's CustomResourceDefinition as istiod needs."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": v, "served": True, "storage": v == "v1", "schema": schema, "subresources": {"status": {}}}
        for v in ("v1", "v1beta1")
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {
                f"{GROUP}/bundle-version": "v1.5.0",
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": versions,
        },
    }


def gateway(namespace, rev):
    labels = {"istio.io/rev": rev} if rev is not None else {}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": name_of("g", rev), "namespace": namespace, "labels": labels},
        "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }


def test_managed_gateways(mesh):
    if not mesh.istio.real:
        pytest.skip("the embedded istiod makes no gateways")
    crds = [definition("gatewayclasses", "GatewayClass", False), definition("gateways", "Gateway", True)]
    mesh.bed.kubectl("apply", "--server-side", "-f", "-", input=istios._as_list(crds))
    mesh.bed.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    spaces = {name_of("gw", rev): {"istio.io/rev": rev} for rev in REVS}
    mesh.namespaces({**spaces, "gw-injection": {"istio-injection": "enabled", "istio.io/rev": "canary"}})
    wanted = [gateway(ns, rev) for ns in [*spaces, "gw-injection"] for rev in REVS]
    for g in wanted:
        mesh.bed.api("POST", f"/apis/{GROUP}/v1/namespaces/{g['metadata']['namespace']}/gateways", g)
    gateways = mesh.bed.list(f"/apis/{GROUP}/v1/gateways")

    def pods():
        return mesh.bed.list(f"/api/v1/pods?labelSelector={GROUP}/gateway-name")

    nobodys = len(spaces) + 2  # labelled nosuch: one in each namespace, and the one without a label in the namespace nosuch
    mesh.bed.wait(90, "pods of the Gateways", lambda: len(pods()) >= len(wanted) - nobodys, 0.5)
    time.sleep(2)
    made = [(p, None) for p in pods()]
    apps = {kind: mesh.bed.list(f"/apis/apps/v1/{kind}") for kind in ("deployments", "replicasets")}
    answers, wrong = mesh.ask(made, gateways=gateways, **apps), []
    for p, _ in made:
        says, did = answers[p["metadata"]["namespace"], p["metadata"]["name"]], injected_by(p)
        owner = f"Gateway/{p['metadata']['labels'][f'{GROUP}/gateway-name']}"
        told = [says[k] for k in ("intent", "revision", "opt_out", "type", "owner")]
        if told != ["one", did, "", "gateway", owner]:
            wrong.append(f"{p['metadata']['namespace']}/{p['metadata']['name']}: made by {did}; the gate: {says}")
    print(f"\nintent: {len(wanted)} Gateways, {len(made)} with a pod, {len(wrong)} differences")
    print("\n".join(f"  {d}" for d in wrong), end="\n" if wrong else "")
    assert not wrong, f"{len(wrong)} differences"
    assert len(made) == len(wanted) - nobodys
