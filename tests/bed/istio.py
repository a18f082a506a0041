"""Two revisions of istiod in a bed: the real ones where their files are found, else the embedded one in their place."""

import json
import os
import pathlib
import signal

import bed as bedlib
import build

NS = "istio-system"
PODS = f"/api/v1/namespaces/{NS}/pods"


class Istiod:
    """One replica: a pod of kwok's and the process that stands behind its address."""

    def __init__(self, revision, number):
        self.revision, self.number = revision, number
        self.name = f"istiod-{revision}-{number}"
        self.pod = None


class Istio:
    """revisions: names from the oldest on; the first has the tag `default`."""

    def __init__(self, bed, replicas=1, revisions=("old", "canary"), binaries=None, force_embedded=False):
        self.bed, self.replicas, self.revisions = bed, replicas, list(revisions)
        self.versions = dict(zip(self.revisions, [build.OLD_VERSION, build.NEW_VERSION]))
        self.real = not force_embedded and all(build.real_istio(v) for v in self.versions.values())
        self.sim = pathlib.Path(binaries) / "meshgate-sim" if binaries else None
        self.istiods = {(r, n): Istiod(r, n) for r in self.revisions for n in range(replicas)}

    def describe(self):
        return "real " + ", ".join(self.versions.values()) if self.real else "embedded"

    def address(self, revision, number):
        return f"10.245.{self.revisions.index(revision)}.{number + 1}"

    def up(self):
        self.bed.create("/api/v1/namespaces", {"metadata": {"name": NS}})
        if self.real:
            charts = build.ISTIO / build.NEW_VERSION / "manifests/charts"
            self._apply_chart("base", charts / "base", ["--set", f"defaultRevision={self.revisions[0]}"])
            self.bed.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for revision in self.revisions:
            self._revision(revision)
        for istiod in self.istiods.values():
            self.start(istiod.revision, istiod.number)
        for revision in self.revisions:
            self.bed.wait(60, f"addresses of istiod-{revision}", lambda: self._addresses(revision) >= self.replicas)
            self.bed.wait(60, f"caBundle of {revision}'s injector", lambda: self._bundled(revision))
        self.bed.wait(
            60, "root of trust", lambda: self.bed.find(f"/api/v1/namespaces/{NS}/configmaps/istio-ca-root-cert")
        )

    # --- objects

    def _apply_chart(self, name, path, more):
        text = bedlib.run(
            build.BIN / "helm", "template", name, path, "-n", NS, "--kube-version", build.KUBE_VERSION, *more
        )
        self.bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)

    def _revision(self, revision):
        version = self.versions[revision]
        tags = ["--set", "revisionTags={default}"] if revision == self.revisions[0] else []
        if self.real:
            path = build.ISTIO / version / "manifests/charts/istio-control/istio-discovery"
            self._apply_chart(
                f"istiod-{revision}",
                path,
                [
                    "--set",
                    f"revision={revision}",
                    "--set",
                    "global.hub=registry.local/istio",
                    "--set",
                    f"global.tag={version}",
                    "--set",
                    "autoscaleEnabled=false",
                    "--set",
                    f"replicaCount={self.replicas}",
                    "--set",
                    "telemetry.enabled=false",
                    "--set-string",
                    r"podAnnotations.bed\.test/hold=start",
                    *tags,
                ],
            )
        else:
            self.bed.kubectl(
                "apply", "-f", "-", input=_as_list(embedded_objects(revision, version, self.replicas, bool(tags)))
            )

    def _addresses(self, revision):
        slices = self.bed.list(
            f"/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices"
            f"?labelSelector=kubernetes.io/service-name=istiod-{revision}"
        )
        return sum(e["conditions"].get("ready", False) for s in slices for e in s.get("endpoints") or [])

    def _bundled(self, revision):
        hooks = self.bed.list(
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
            f"?labelSelector=istio.io/rev={revision}"
        )
        return hooks and all(w["clientConfig"].get("caBundle") for h in hooks for w in h["webhooks"])

    # --- processes

    def _pod_for(self, istiod):
        """The pod that has this replica's address, or one that has none yet."""
        pods = [
            p
            for p in self.bed.list(f"{PODS}?labelSelector=app=istiod,istio.io/rev={istiod.revision}")
            if "deletionTimestamp" not in p["metadata"] and p["spec"].get("nodeName")
        ]
        address = self.address(istiod.revision, istiod.number)
        have = {p["metadata"]["annotations"].get("bed.test/pod-ip"): p["metadata"]["name"] for p in pods}
        return have.get(address) or have.get(None)

    def start(self, revision, number, env=None):
        """Start the process of a replica; its pod turns Ready when it answers."""
        istiod, address = self.istiods[revision, number], self.address(revision, number)
        pod = self.bed.wait(30, f"pod for {istiod.name}", lambda: self._pod_for(istiod))
        istiod.pod = pod
        self.bed.api("PATCH", f"{PODS}/{pod}", {"metadata": {"annotations": {"bed.test/pod-ip": address}}})
        token = self.bed.account_token(NS, f"istiod-{revision}")
        config = self.bed.pki.kubeconfig(istiod.name, f"token: '{token}'")
        if self.real:
            self._start_real(istiod, address, config, env or {})
            self.bed.wait(60, istiod.name, lambda: bedlib._http(address, 8080, "/ready") == 200)
        else:
            self.bed.start(
                istiod.name,
                [
                    self.sim,
                    "istiod",
                    "--revision",
                    revision,
                    "--version",
                    self.versions[revision],
                    "--address",
                    address,
                    "--kubeconfig",
                    config,
                    "--pod",
                    pod,
                ],
            )
            self.bed.wait(60, istiod.name, lambda: bedlib._http(address, 15014, "/metrics") == 200)
        self.bed.api("PATCH", f"{PODS}/{pod}", {"metadata": {"annotations": {"bed.test/hold": None}}})

    def _start_real(self, istiod, ip, config, env):
        folder = self.bed.dir / istiod.name
        folder.mkdir(exist_ok=True)
        index = list(self.istiods).index((istiod.revision, istiod.number))
        self.bed.start(
            istiod.name,
            [
                build.ISTIO / self.versions[istiod.revision] / "pilot-discovery",
                "discovery",
                "--httpAddr",
                f"{ip}:8080",
                "--httpsAddr",
                f"{ip}:15017",
                "--grpcAddr",
                f"{ip}:15010",
                "--secureGRPCAddr",
                f"{ip}:15012",
                "--monitoringAddr",
                f"{ip}:15014",
                "--ctrlz_port",
                str(9876 + index),
                "--domain",
                "cluster.local",
                "--keepaliveMaxServerConnectionAge",
                "30m",
            ],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "POD_NAME": istiod.pod,
                "POD_NAMESPACE": NS,
                "SERVICE_ACCOUNT": f"istiod-{istiod.revision}",
                "REVISION": istiod.revision,
                "CLUSTER_ID": "Kubernetes",
                "PILOT_CERT_PROVIDER": "istiod",
                "KUBECONFIG": config,
                "PILOT_MAX_REQUESTS_PER_SECOND": "500",
                # upstream Envoy was built without these; a canary that has them is one that it rejects
                "PILOT_ENABLE_ALPN_FILTER": "false",
                "PILOT_ENABLE_METADATA_EXCHANGE": "false",
                **env,
            },
        )

    def kill(self, revision, number):
        self.bed.signal(self.istiods[revision, number].name, signal.SIGKILL)
        self.bed.stop(self.istiods[revision, number].name)

    def freeze(self, revision, number):
        self.bed.signal(self.istiods[revision, number].name, signal.SIGSTOP)

    def thaw(self, revision, number):
        self.bed.signal(self.istiods[revision, number].name, signal.SIGCONT)

    def restart(self, revision, env=None):
        """All replicas of a revision end in order and start again, with this environment added."""
        for n in range(self.replicas):
            self.bed.stop(self.istiods[revision, n].name, 10)
            self.start(revision, n, env)


# --- what the chart would make, for the embedded istiod


def _as_list(objects):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def _hook(name, revision, namespace, pod):
    return {
        "name": name,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
        "clientConfig": {"service": {"name": f"istiod-{revision}", "namespace": NS, "path": "/inject", "port": 443}},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}
        ],
        "namespaceSelector": {"matchExpressions": namespace},
        "objectSelector": {"matchExpressions": pod},
    }


def _is(key, *values):
    return {"key": key, "operator": "In", "values": list(values)}


def _absent(key):
    return {"key": key, "operator": "DoesNotExist"}


def _injector(name, revision, answers_to, default):
    suffix = "sidecar-injector.istio.io"
    wanted = {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}
    hooks = [
        _hook(
            f"rev.namespace.{suffix}", revision, [_is("istio.io/rev", answers_to), _absent("istio-injection")], [wanted]
        ),
        _hook(
            f"rev.object.{suffix}",
            revision,
            [_absent("istio.io/rev"), _absent("istio-injection")],
            [wanted, _is("istio.io/rev", answers_to)],
        ),
    ]
    labels = {"istio.io/rev": revision, "app": "sidecar-injector"}
    if default:
        labels["istio.io/tag"] = "default"
        hooks += [
            _hook(f"namespace.{suffix}", revision, [_is("istio-injection", "enabled")], [wanted]),
            _hook(
                f"object.{suffix}",
                revision,
                [_absent("istio-injection"), _absent("istio.io/rev")],
                [_is("sidecar.istio.io/inject", "true"), _absent("istio.io/rev")],
            ),
        ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": hooks,
    }


def embedded_objects(revision, version, replicas, default):
    name, labels = f"istiod-{revision}", {"app": "istiod", "istio.io/rev": revision}
    meta = {"name": name, "namespace": NS, "labels": {**labels, "istio": "pilot"}}
    ports = [
        ("grpc-xds", 15010, 15010),
        ("https-dns", 15012, 15012),
        ("https-webhook", 443, 15017),
        ("http-monitoring", 15014, 15014),
    ]
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NS}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {
                "selector": labels,
                "ports": [{"name": n, "port": p, "targetPort": t, "protocol": "TCP"} for n, p, t in ports],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {
                        "labels": {**labels, "istio": "istiod", "sidecar.istio.io/inject": "false"},
                        "annotations": {"bed.test/hold": "start"},
                    },
                    "spec": {
                        "serviceAccountName": name,
                        "containers": [
                            {
                                "name": "discovery",
                                "image": f"registry.local/istio/pilot:{version}",
                                "ports": [{"containerPort": p} for p in (8080, 15010, 15012, 15014, 15017)],
                            }
                        ],
                    },
                },
            },
        },
        _injector(f"istio-sidecar-injector-{revision}", revision, revision, False),
    ]
    if default:
        objects.append(_injector("istio-revision-tag-default", revision, "default", True))
    return objects
