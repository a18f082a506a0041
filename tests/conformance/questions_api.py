"""Questions to an API server. Each returns what must be the same everywhere, times and names normalised."""
import uuid

from ask import scrub, status_of

NS = "/api/v1/namespaces"
MERGE = "application/merge-patch+json"
UPGRADES = "/apis/meshgate.io/v1alpha1/meshupgrades"


class Room:
    """A namespace of its own for one run of the questions."""

    def __init__(self, target):
        self.t = target
        self.ns = "ask-" + uuid.uuid4().hex[:8]
        status, body = target.http("POST", NS, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.ns}})
        assert status == 201, body
        self.path = f"{NS}/{self.ns}"

    def close(self):
        self.t.http("DELETE", self.path)

    def plain(self, value):
        """The answer with the room's own name taken out."""
        return _replace(value, self.ns, "<ns>")

    def config(self, name, **data):
        return self.t.http("POST", f"{self.path}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap",
                                                                "metadata": {"name": name, "labels": {"n": name}}, "data": data})


def _replace(value, old, new):
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {_replace(k, old, new): _replace(v, old, new) for k, v in value.items()}
    return [_replace(v, old, new) for v in value] if isinstance(value, list) else value


def not_found(r):
    return status_of(r.t.http("GET", f"{NS}/no-such-namespace"))


def unknown_resource(r):
    return status_of(r.t.http("GET", "/apis/meshgate.io/v1alpha1/nonsense"))


def bad_token(r):
    return status_of(r.t.http("GET", NS, headers={"Authorization": "Bearer nonsense"}))


def no_credentials(r):
    """Anonymous requests are known to nobody: refused one way or the other."""
    code, body = r.t.http("GET", NS, headers={})
    return {"refused": code in (401, 403), "kind": body.get("kind")}


def created_twice(r):
    first = r.config("twice")[0]
    return {"first": first, "second": status_of(r.config("twice"))}


def body_not_json(r):
    code, body = r.t.http("POST", f"{r.path}/configmaps", "{nonsense")
    return {"http": code, "reason": body.get("reason") if isinstance(body, dict) else None}


def name_missing(r):
    code, body = r.t.http("POST", f"{r.path}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})
    return {"http": code, "reason": body.get("reason")}


def list_in_pages(r):
    for i in range(5):
        r.config(f"page-{i}", k="v")
    seen, pages, token = [], 0, ""
    while pages < 10:
        query = "?limit=2&labelSelector=n%20in%20(page-0,page-1,page-2,page-3,page-4)" + (f"&continue={token}" if token else "")
        code, body = r.t.http("GET", f"{r.path}/configmaps{query}")
        seen += [o["metadata"]["name"] for o in body["items"]]
        pages += 1
        token = body["metadata"].get("continue")
        if not token:
            break
    return {"http": code, "kind": body["kind"], "names": seen, "pages": pages, "has_version": bool(body["metadata"]["resourceVersion"])}


def bad_continue(r):
    code, body = r.t.http("GET", f"{r.path}/configmaps?limit=2&continue=nonsense")
    return {"http": code, "reason": body.get("reason")}


def selectors(r):
    r.config("sel-a", k="v")
    found = {}
    for name, query in (("equals", "labelSelector=n%3Dsel-a"), ("not", "labelSelector=n!%3Dsel-a,n%3Dsel-a"), ("exists", "labelSelector=n,n%3Dsel-a"),
                        ("field", "fieldSelector=metadata.name%3Dsel-a")):
        code, body = r.t.http("GET", f"{r.path}/configmaps?{query}")
        found[name] = [code, [o["metadata"]["name"] for o in body.get("items", [])]]
    found["broken"] = r.t.http("GET", f"{r.path}/configmaps?labelSelector=a%3D%3D%3Db")[0]
    return found


def patch_merges(r):
    r.config("merge", a="1", b="2")
    code, body = r.t.http("PATCH", f"{r.path}/configmaps/merge", {"data": {"a": None, "c": "3"}}, MERGE)
    return {"http": code, "data": body["data"]}


def patch_conflict(r):
    r.config("conflict", a="1")
    old = r.t.http("GET", f"{r.path}/configmaps/conflict")[1]["metadata"]["resourceVersion"]
    r.t.http("PATCH", f"{r.path}/configmaps/conflict", {"data": {"a": "2"}}, MERGE)
    late = r.t.http("PATCH", f"{r.path}/configmaps/conflict", {"metadata": {"resourceVersion": old}, "data": {"a": "3"}}, MERGE)
    now = r.t.http("GET", f"{r.path}/configmaps/conflict")[1]
    fresh = r.t.http("PATCH", f"{r.path}/configmaps/conflict",
                     {"metadata": {"resourceVersion": now["metadata"]["resourceVersion"]}, "data": {"a": "4"}}, MERGE)
    return {"late": status_of(late), "unchanged": now["data"], "fresh": fresh[0]}


def patch_without_change(r):
    r.config("same", a="1")
    before = r.t.http("GET", f"{r.path}/configmaps/same")[1]["metadata"]["resourceVersion"]
    after = r.t.http("PATCH", f"{r.path}/configmaps/same", {"data": {"a": "1"}}, MERGE)[1]["metadata"]["resourceVersion"]
    return {"same_version": before == after}


def patch_of_nobody(r):
    return status_of(r.t.http("PATCH", f"{r.path}/configmaps/nobody", {"data": {}}, MERGE))


def patch_type_unknown(r):
    r.config("typed", a="1")
    code, body = r.t.http("PATCH", f"{r.path}/configmaps/typed", {"data": {}}, "text/plain")
    return {"http": code, "reason": body.get("reason") if isinstance(body, dict) else None}


def put_stale(r):
    r.config("put", a="1")
    old = r.t.http("GET", f"{r.path}/configmaps/put")[1]
    r.t.http("PATCH", f"{r.path}/configmaps/put", {"data": {"a": "2"}}, MERGE)
    old["data"]["a"] = "3"
    return status_of(r.t.http("PUT", f"{r.path}/configmaps/put", old))


def watch_tells(r):
    start = r.t.http("GET", f"{r.path}/configmaps")[1]["metadata"]["resourceVersion"]
    r.config("seen", a="1")
    r.t.http("PATCH", f"{r.path}/configmaps/seen", {"data": {"a": "2"}}, MERGE)
    r.t.http("DELETE", f"{r.path}/configmaps/seen")
    query = f"watch=1&resourceVersion={start}&fieldSelector=metadata.name%3Dseen&timeoutSeconds=5"
    code, events = r.t.http("GET", f"{r.path}/configmaps?{query}", lines=3)
    return {"http": code, "events": [[e["type"], e["object"].get("data")] for e in events]}


def expired(r):
    """The rest of a paged list and a watch, from a version that the server has forgotten. The last question: it costs a restart."""
    for i in range(3):
        r.config(f"old-{i}", k="v")
    page = r.t.http("GET", f"{r.path}/configmaps?limit=1&labelSelector=n%20in%20(old-0,old-1,old-2)")[1]["metadata"]
    r.config("newer", k="v")
    r.t.forget()
    code, body = r.t.http("GET", f"{r.path}/configmaps?limit=1&continue={page['continue']}")
    start, first = r.t.http("GET", f"{r.path}/configmaps?watch=1&resourceVersion={page['resourceVersion']}&timeoutSeconds=3", lines=1)
    if start == 200:
        first = first[0]["object"] if first[0]["type"] == "ERROR" else first[0]
    return {"page": [code, body.get("reason")], "watch": [first.get("code"), first.get("reason")]}


def watch_bad_version(r):
    code, body = r.t.http("GET", f"{r.path}/configmaps?watch=1&resourceVersion=nonsense&timeoutSeconds=2")
    return {"http": code, "reason": body.get("reason") if isinstance(body, dict) else None}


def watch_future_version(r):
    """A version that does not exist yet must not look like a quiet collection for ever."""
    code, _ = r.t.http("GET", f"{r.path}/configmaps?limit=1&resourceVersion=nonsense")
    return {"list": code}


def watch_from_long_ago(r):
    """A version from before anything that the server still remembers."""
    code, events = r.t.http("GET", f"{NS}?watch=1&resourceVersion=1&timeoutSeconds=3", lines=1)
    if code != 200:
        return {"http": code, "reason": events.get("reason")}
    o = events[0]["object"]
    return {"http": code, "type": events[0]["type"], "code": o.get("code"), "reason": o.get("reason")}


def generation(r):
    spec = {"from": {"revision": "a"}, "to": {"revision": "b"}, "waves": [{"name": "w"}]}
    name = "gen-" + r.ns
    obj = {"apiVersion": "meshgate.io/v1alpha1", "kind": "MeshUpgrade", "metadata": {"name": name}, "spec": spec, "status": {"phase": "Moving"}}
    created = r.t.http("POST", UPGRADES, obj)
    path = f"{UPGRADES}/{name}"
    first = r.t.http("GET", path)[1]
    label = r.t.http("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, MERGE)[1]
    status = r.t.http("PATCH", path + "/status", {"status": {"phase": "Hold"}, "spec": {"paused": True}}, MERGE)[1]
    spec2 = r.t.http("PATCH", path, {"spec": {"paused": True}, "status": {"phase": "Paused"}}, MERGE)[1]
    gone = r.t.http("DELETE", path)[0]
    return {"created": created[0], "status_ignored": "status" not in first, "first": first["metadata"]["generation"],
            "after_label": label["metadata"]["generation"], "after_status": status["metadata"]["generation"],
            "status": status["status"]["phase"], "spec_untouched_by_status": not status["spec"].get("paused"),
            "after_spec": spec2["metadata"]["generation"], "status_untouched_by_spec": spec2["status"]["phase"], "gone": gone}


def _refused(r, **change):
    spec = {"from": {"revision": "a"}, "to": {"revision": "b"}, "waves": [{"name": "w"}], **change}
    obj = {"apiVersion": "meshgate.io/v1alpha1", "kind": "MeshUpgrade", "metadata": {"name": "bad-" + r.ns},
           "spec": {k: v for k, v in spec.items() if v is not None}}
    code, body = r.t.http("POST", UPGRADES + "?dryRun=All", obj)
    return {"http": code, "reason": body.get("reason"), "message": scrub(body.get("message", "")) if code != 201 else ""}


def upgrade_same_revision(r):
    return _refused(r, to={"revision": "a"})


def upgrade_without_waves(r):
    answer = _refused(r, waves=None)
    return {"http": answer["http"], "reason": answer["reason"], "names_the_field": "spec.waves: Required value" in answer["message"]}


def upgrade_twice_a_wave(r):
    return _refused(r, waves=[{"name": "w", "namespaces": {"names": ["a"]}}, {"name": "w"}])


def upgrade_bad_soak(r):
    return {k: v for k, v in _refused(r, waves=[{"name": "w", "soak": "a while"}]).items() if k != "message"}


def upgrade_bad_approval(r):
    return {k: v for k, v in _refused(r, waves=[{"name": "w", "approval": "Perhaps"}]).items() if k != "message"}


def upgrade_approves_nobody(r):
    return _refused(r, approvedWaves=["other"])


def evict(r):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evictee", "annotations": {"sidecar.istio.io/inject": "false"}},
           "spec": {"containers": [{"name": "c", "image": "registry.local/x:1"}], "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": False}}
    r.t.http("POST", f"{r.path}/pods", pod)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evictee", "namespace": r.ns}}
    done = r.t.http("POST", f"{r.path}/pods/evictee/eviction", body)
    body["metadata"]["name"] = "nobody"
    return {"evicted": [done[0], done[1].get("kind"), done[1].get("status")],
            "nobody": status_of(r.t.http("POST", f"{r.path}/pods/nobody/eviction", body))}


def evict_against_a_budget(r):
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all-of-them"},
              "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}}
    made = r.t.http("POST", f"/apis/policy/v1/namespaces/{r.ns}/poddisruptionbudgets", budget)[0]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guarded", "labels": {"app": "guarded"}},
           "spec": {"containers": [{"name": "c", "image": "registry.local/x:1"}], "terminationGracePeriodSeconds": 0}}
    r.t.http("POST", f"{r.path}/pods", pod)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    r.t.http("PATCH", f"{r.path}/pods/guarded/status", ready, MERGE)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "guarded", "namespace": r.ns}}
    code, answer = r.t.http("POST", f"{r.path}/pods/guarded/eviction", body)
    still = r.t.http("GET", f"{r.path}/pods/guarded")[0]
    return {"budget": made, "http": code, "reason": answer.get("reason"), "pod": still}


def lease(r):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{r.ns}/leases"
    obj = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    first = r.t.http("POST", path, obj)
    second = r.t.http("POST", path, obj)
    held = first[1]
    held["spec"]["holderIdentity"] = "b"
    taken = r.t.http("PUT", f"{path}/leader", held)
    late = r.t.http("PUT", f"{path}/leader", held)
    return {"first": first[0], "second": second[0], "taken": [taken[0], taken[1]["spec"]["holderIdentity"]], "late": late[0]}


def _review(r, token, audiences):
    spec = {"token": token}
    if audiences:
        spec["audiences"] = audiences
    code, body = r.t.http("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                          {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec})
    status = body.get("status", {})
    user = status.get("user", {})
    return {"http": code, "authenticated": status.get("authenticated", False), "audiences": status.get("audiences"),
            "user": user.get("username"), "extra": sorted(k for k in user.get("extra", {}) if not k.endswith("credential-id")),
            "error": bool(status.get("error"))}


def review_good(r):
    return _review(r, r.t.token("istio-system", "default", "meshgate"), ["meshgate"])


def review_other_audience(r):
    return _review(r, r.t.token("istio-system", "default", "istio-ca"), ["meshgate"])


def review_nonsense(r):
    return _review(r, "nonsense", ["meshgate"])


def _pod(r, name, labels=None, annotations=None, host_network=False):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
           "spec": {"containers": [{"name": "web", "image": "registry.local/web:1"}], "hostNetwork": host_network}}
    code, body = r.t.http("POST", f"{r.path}/pods", pod)
    if code != 201:
        return status_of((code, body))
    found, labels = body["metadata"].get("annotations", {}), body["metadata"].get("labels", {})
    spec = body["spec"]
    names = [c["name"] for c in spec["containers"] + spec.get("initContainers", [])]
    r.t.http("DELETE", f"{r.path}/pods/{name}?gracePeriodSeconds=0")
    return {"rev": found.get("istio.io/rev"), "sidecar": "istio-proxy" in names, "status": "sidecar.istio.io/status" in found,
            "tls": labels.get("security.istio.io/tlsMode"), "label": labels.get("istio.io/rev")}


def _label(r, labels):
    wanted = {"istio-injection": None, "istio.io/rev": None, **labels}
    assert r.t.http("PATCH", r.path, {"metadata": {"labels": wanted}}, MERGE)[0] == 200


def injection(r):
    """The table of which labels give which revision, as the API server and the injectors do it."""
    cases = [({}, {}), ({"istio-injection": "enabled"}, {}), ({"istio-injection": "enabled", "istio.io/rev": "canary"}, {}),
             ({"istio.io/rev": "canary"}, {}), ({"istio.io/rev": "default"}, {}), ({"istio.io/rev": "nosuch"}, {}),
             ({"istio-injection": "disabled", "istio.io/rev": "canary"}, {}), ({}, {"istio.io/rev": "canary"}),
             ({}, {"sidecar.istio.io/inject": "true"}), ({"istio.io/rev": "canary"}, {"sidecar.istio.io/inject": "false"}),
             ({"istio.io/rev": "old"}, {"istio.io/rev": "canary"})]
    seen = {}
    for i, (ns_labels, pod_labels) in enumerate(cases):
        _label(r, ns_labels)
        seen[f"{ns_labels} / {pod_labels}"] = _pod(r, f"case-{i}", pod_labels)
    _label(r, {"istio.io/rev": "canary"})
    seen["hostNetwork"] = _pod(r, "host", host_network=True)
    seen["annotation false"] = _pod(r, "annotated", annotations={"sidecar.istio.io/inject": "false"})
    _label(r, {})
    return seen


QUESTIONS = [not_found, unknown_resource, bad_token, no_credentials, created_twice, body_not_json, name_missing, list_in_pages, bad_continue, selectors,
             patch_merges, patch_conflict, patch_without_change, patch_of_nobody, patch_type_unknown, put_stale, watch_tells,
             watch_bad_version, watch_future_version, watch_from_long_ago, generation, upgrade_same_revision, upgrade_without_waves, upgrade_twice_a_wave,
             upgrade_bad_soak, upgrade_bad_approval, upgrade_approves_nobody, evict, evict_against_a_budget, lease, review_good, review_other_audience,
             review_nonsense, injection, expired]
