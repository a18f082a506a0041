"""The scenario language on a real API server: the mesh of its `mesh` line, and what its actions do there."""

import fnmatch
import os
import re
import signal
import sys
import urllib.parse

sys.path[:0] = [
    os.path.join(os.path.dirname(__file__), "..", "bed"),
    os.path.join(os.path.dirname(__file__), "..", "scenarios"),
]
import bed as bedlib  # noqa: E402
import lang  # noqa: E402

ALPN = {"PILOT_ENABLE_ALPN_FILTER": "true"}
NACK_TEXT = (
    "Error adding/updating listener(s) virtualInbound: Didn't find a registered implementation for 'istio.alpn' with type URL: "
    "'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig'\n"
)
PODS = int(os.environ.get("MESHGATE_E2E_PODS", "120"))
NODES = int(os.environ.get("MESHGATE_E2E_NODES", "6"))
REAL_REPLICAS = 2
ENVOY_FILTERS = "/apis/networking.istio.io/v1alpha3/namespaces/{}/envoyfilters"
FILTER = "unknown-filter"


def unknown_filter(name):
    """An EnvoyFilter that only the canary follows: an HTTP filter of a type that no Envoy was built with."""
    value = {
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/bed.test.NoSuchFilter",
            "value": {},
        },
    }
    match = {
        "context": "SIDECAR_INBOUND",
        "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": FILTER, "labels": {"istio.io/rev": "canary"}},
        "spec": {
            "configPatches": [
                {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "INSERT_BEFORE", "value": value}}
            ]
        },
    }


def namespace_name(i):
    return f"app-{i:02}"


class World(lang.World):
    patience = 3  # real controllers and a busy machine take longer than the embedded mesh

    def __init__(self, cluster, statements):
        self.cluster, self.bed, self.istio = cluster, cluster.bed, cluster.istio
        self.mesh = lang.mesh_of(statements)
        self.spec = next((s.spec for s in statements if s.kind == "upgrade"), {})
        self.upgrade = next((s.name for s in statements if s.kind == "upgrade"), None)
        self.gate_kills = 0

    # --- the mesh

    def build(self):
        """Fewer nodes and pods than the file says, all of its namespaces."""
        n, pods = self.mesh["namespaces"], min(self.mesh["pods"], PODS)
        for i in range(n):
            labels = {"istio-injection": "enabled"} if i % 2 == 0 else {"istio.io/rev": "old"}
            self.bed.api("POST", "/api/v1/namespaces", {"metadata": {"name": namespace_name(i), "labels": labels}})
        for i in range(n):
            self._fill(namespace_name(i), i, pods // n + (i < pods % n))
        for name in self.real_namespaces():
            self.cluster.workload("Deployment", name, "real", REAL_REPLICAS, real=True)
        self.bed.wait(180, "the mesh's workloads", self.settled, 0.5)
        self.bed.wait(60, "the proxies' streams", self.attached, 0.5)

    def _fill(self, name, i, pods):
        in_set = max(1, pods // 2) if i % 5 == 0 else 0
        if in_set:
            self.cluster.workload("StatefulSet", name, "db", in_set)
        self.cluster.workload("Deployment", name, "web", max(1, pods - in_set))
        if i % 8 == 0:
            nodes = [f"node-{(i + k) % self.bed.nodes + 1:02}" for k in range(2)]
            self.cluster.workload("DaemonSet", name, "log", pod=self.cluster.on_nodes(*nodes))

    def real_namespaces(self):
        """Where real Envoys run: the second namespace of each of the first two waves that give names."""
        if not self.cluster.real_sidecars:
            return []
        named = [
            w["namespaces"]["names"][1]
            for w in self.spec.get("waves", [])
            if len(w.get("namespaces", {}).get("names", [])) > 1
        ]
        return list(dict.fromkeys([*named, namespace_name(0), namespace_name(1)]))[:2]

    def settled(self):
        return all(self.cluster.settled(namespace_name(i)) for i in range(self.mesh["namespaces"]))

    def attached(self):
        return all(p["Online"] for p in self.cluster.proxies("GET", "/list"))

    # --- what the language needs

    def get(self, path):
        return self.bed.find(path)

    def create(self, path, obj):
        self.bed.api("POST", path, obj)

    def do(self, action):
        words = lang.words(action)
        try:
            for pattern, method in self.ACTIONS:
                match = re.fullmatch(pattern, action)
                if match:
                    return method(self, *match.groups())
        except (bedlib.ApiError, RuntimeError, TimeoutError) as e:
            raise lang.ScenarioFailed(f"{action}: {e}") from e
        raise lang.ScenarioFailed(f"{words[0]}: this action is not known on a real API server")

    def _nack(self, namespace, text):
        """The synthetic proxies of the namespace reject with this text. A real canary sends that namespace a filter which no
        Envoy has, so that the real ones reject it of their own accord; the text is the filter's name."""
        text = (text or NACK_TEXT).strip('"')
        self.cluster.proxies("POST", "/rule", {"match": namespace + "/", "rev": "canary", "mode": "nack", "text": text})
        if self.istio.real:
            self.bed.create(f"{ENVOY_FILTERS.format(namespace)}", unknown_filter(text.rpartition("listener(s) ")[2]))

    def _ack(self, namespace):
        if self.istio.real and self.bed.find(f"{ENVOY_FILTERS.format(namespace)}/{FILTER}"):
            self.bed.api("DELETE", f"{ENVOY_FILTERS.format(namespace)}/{FILTER}")
        self.cluster.proxies("POST", "/unrule", {"match": namespace + "/"})

    def _nack_canary(self):
        if self.istio.real:
            self.istio.restart("canary", ALPN)
        else:
            self.cluster.proxies("POST", "/rule", {"match": "", "rev": "canary", "mode": "nack", "text": NACK_TEXT})

    def _ack_canary(self):
        if self.istio.real:
            self.istio.restart("canary")
        else:
            self.cluster.proxies("POST", "/unrule", {"match": ""})

    def _withhold(self, match):
        self.cluster.proxies("POST", "/rule", {"match": match, "mode": "withhold"})

    def _release(self, match):
        self.cluster.proxies("POST", "/unrule", {"match": match})

    def _istiod(self, revision, number, what):
        {"freeze": self.istio.freeze, "thaw": self.istio.thaw, "kill": self.istio.kill, "start": self.istio.start}[
            what
        ](revision, int(number))

    def _node(self, node, what):
        for c in self.cluster.containers("meshgate-agent", node):
            c.kill(signal.SIGSTOP if what == "dark" else signal.SIGCONT)

    def _label(self, namespace, key, value):
        self.bed.api("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {key: value}}})

    def _unlabel(self, namespace, key):
        self._label(namespace, key, None)

    def _bare(self, namespace, name):
        self.bed.api(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods",
            {
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "registry.local/web:1"}]},
            },
        )
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.bed.wait(60, f"pod {namespace}/{name}", lambda: bedlib._ready(self.bed.api("GET", path)))

    def _deployment_paused(self, namespace, name):
        self.cluster.workload("Deployment", namespace, name, 2)
        self.bed.wait(60, f"{namespace}/{name}", lambda: self.cluster.settled(namespace))
        self._pause_rollout(namespace, name)

    def _daemonset_ondelete(self, namespace, name):
        self.cluster.workload(
            "DaemonSet",
            namespace,
            name,
            pod=self.cluster.on_nodes("node-01", "node-02"),
            updateStrategy={"type": "OnDelete"},
        )
        self.bed.wait(60, f"{namespace}/{name}", lambda: self.cluster.settled(namespace))

    def _delete_pod(self, namespace, name):
        pods = [p["metadata"]["name"] for p in self.bed.list(f"/api/v1/namespaces/{namespace}/pods")]
        chosen = [p for p in pods if fnmatch.fnmatchcase(p, name)]
        if not chosen:
            raise RuntimeError(f"no pod in {namespace} is called {name}; there are {', '.join(pods)}")
        for pod in chosen:
            self.bed.api("DELETE", f"/api/v1/namespaces/{namespace}/pods/{pod}")

    def _pause_rollout(self, namespace, name, paused=True):
        self.bed.api("PATCH", f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", {"spec": {"paused": paused}})

    def _resume_rollout(self, namespace, name):
        self._pause_rollout(namespace, name, False)

    def _cli(self, *args):
        done = self.cluster.cli(*args)
        if done.returncode:
            raise RuntimeError(f"kubectl meshgate {' '.join(args)}: exit {done.returncode}: {done.stdout}{done.stderr}")

    def _kill_gate(self):
        self.gate_kills += 1
        self.cluster.kill_gate()

    NAMED = r"([^/ ]+)/(\S+)"
    ACTIONS = [
        (r"nack-canary", _nack_canary),
        (r"ack-canary", _ack_canary),
        (r"nack (\S+)(?: (.+))?", _nack),
        (r"ack (\S+)", _ack),
        (r"withhold (\S+)", _withhold),
        (r"release (\S+)", _release),
        (r"istiod (\w+)/(\d+) (freeze|thaw|kill|start)", _istiod),
        (r"node (\S+) (dark|back)", _node),
        (r"label (\S+) ([^= ]+)=(\S*)", _label),
        (r"unlabel (\S+) (\S+)", _unlabel),
        (rf"create bare {NAMED}", _bare),
        (rf"create deployment {NAMED} paused", _deployment_paused),
        (rf"create daemonset {NAMED} ondelete", _daemonset_ondelete),
        (rf"delete pod {NAMED}", _delete_pod),
        (rf"pause-rollout {NAMED}", _pause_rollout),
        (rf"resume-rollout {NAMED}", _resume_rollout),
        (r"pause", lambda self: self._cli("pause", self.upgrade)),
        (r"resume", lambda self: self._cli("resume", self.upgrade)),
        (r"approve (\S+)", lambda self, wave: self._cli("approve", self.upgrade, wave)),
        (r"kill gate", _kill_gate),
    ]


def controller_revisions(bed):
    """How many pod templates each workload has had: ReplicaSets of Deployments, ControllerRevisions of the others."""
    count = {}
    for path in ("/apis/apps/v1/replicasets", "/apis/apps/v1/controllerrevisions"):
        for o in bed.list(path):
            for owner in o["metadata"].get("ownerReferences") or []:
                key = (o["metadata"]["namespace"], owner["kind"], owner["name"])
                count[key] = count.get(key, 0) + 1
    return count


def stats(ip):
    """What a sidecar says of itself, as {line without value: value}."""
    filter_ = urllib.parse.quote("version_text|update_rejected")
    c = bedlib.http.client.HTTPConnection(ip, 15020, timeout=5)
    c.request("GET", f"/stats/prometheus?text_readouts&filter={filter_}", headers={"Accept": "text/plain"})
    text = c.getresponse().read().decode()
    c.close()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("envoy_")]
    return {name.replace("{}", ""): float(value) for name, value in lines}
