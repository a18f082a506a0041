"""Objects for test_cli.py, as the gate and the API server give them."""

UPGRADES = "/apis/meshgate.io/v1alpha1/meshupgrades"


def gate_path(what, ns="istio-system"):
    return f"/api/v1/namespaces/{ns}/services/http:meshgate:8080/proxy/api/v1/{what}"


def wave(name, state, namespaces, moved, expected, **more):
    return {"name": name, "state": state, "namespaces": namespaces, "relabelled": namespaces if moved else 0,
            "expected": expected, "heard": expected, "moved": moved, **more}


def upgrade(name="to-1-30", phase="Moving", verdict="Wait", **status):
    return {
        "apiVersion": "meshgate.io/v1alpha1", "kind": "MeshUpgrade",
        "metadata": {"name": name, "generation": 2, "resourceVersion": "100"},
        "spec": {
            "from": {"revision": "old"}, "to": {"revision": "canary"}, "move": "NamespaceLabel", "paused": False,
            "approvedWaves": [],
            "waves": [{"name": "canary", "namespaces": {"names": ["app-00"]}, "soak": "15m"},
                      {"name": "east", "namespaces": {"percent": 40}},
                      {"name": "rest", "namespaces": {"percent": 100}, "approval": "Manual"}],
        },
        "status": {
            "observedGeneration": 2, "phase": phase, "verdict": verdict, "message": "2 proxies are not there yet",
            "currentWave": "east", "startedAt": "2026-11-23T07:00:00Z",
            "summary": {"namespaces": 40, "relabelled": 14, "expected": 400, "heard": 398, "moved": 140,
                        "byState": {"Moved": 140, "NotStarted": 240, "Syncing": 18, "Nacking": 2, "Detached": 0}},
            "waves": [wave("canary", "Done", 4, 40, 40, startedAt="2026-11-23T07:00:00Z", completedAt="2026-11-23T07:16:40Z"),
                      wave("east", "Moving", 14, 100, 140, startedAt="2026-11-23T07:17:00Z"),
                      wave("rest", "Pending", 22, 0, 220)],
            "reasons": [
                {"reason": "Nack", "severity": "Fail", "count": 7, "sentence": "rejects its configuration",
                 "remedy": "read istiod's error text; compare the revisions' EnvoyFilters and extensions",
                 "objects": [{"name": f"app-07/web-{i}", "message": "Error adding listener: \x1b[31mbad\nfilter"}
                             for i in range(6)]},
                {"reason": "Soaking", "severity": "Wait", "count": 1, "sentence": "soaks", "remedy": "",
                 "objects": [{"name": "east"}]}],
            "conditions": [{"type": "Healthy", "status": "False", "reason": "Nack", "message": "2 proxies reject",
                            "lastTransitionTime": "2026-11-23T07:20:00Z"}],
            **status,
        },
    }


def proxy(namespace, pod, state, reason="", **more):
    return {"namespace": namespace, "pod": pod, "node": "node-03", "type": "sidecar", "owner": "web", "owner_kind": "Deployment",
            "state": state, "reason": reason or None, "since_ms": 125000, "expected": "canary", "injected": "old",
            "attached": "old", "replica": "istiod-old-0", "sync": "Synced", "types": {"CDS": "Synced", "LDS": "Synced"},
            "version": "Matches", "error": None, "error_type": None, "dials": "old", "accepted_cds": "V/3", "acked_cds": "V/3",
            "istio_version": "1.29.6", "whose": "nobody", "sentence": "", "remedy": "", **more}


def proxies(name=None):
    bare = {"sentence": "a bare pod: nothing re-creates it", "remedy": "delete and create it again yourself", "whose": "owner",
            "owner_kind": "Pod", "owner": "lonely"}
    nack = {"sentence": "rejects its configuration", "remedy": "read istiod's error text", "error": "Error adding \x1b[31mlistener",
            "whose": "platform", "types": {"CDS": "Synced", "LDS": "Error"}}
    return {"upgrade": name, "proxies": [
        proxy("shop", "web-1", "Moved", attached="canary", injected="canary"),
        proxy("shop", "lonely", "RestartPending", "BarePod", **bare),
        proxy("bank", "lonely", "RestartPending", "BarePod", **bare),
        proxy("app-07", "web-2", "Nacking", "Nack", node="node-07", **nack),
        proxy("rest", "web-3", "NotStarted", "WaveNotBegun", replica=None),
        proxy("rest", "job-1", "Uninjected", "OptedOut", attached="-", owner="job", owner_kind="CronJob", type="gateway"),
    ]}


def explained():
    return {
        "namespace": "app-07", "pod": "web-2", "uid": "u-2", "type": "sidecar", "owner": "web", "owner_kind": "Deployment",
        "whose": "platform", "state": "Nacking", "meaning": "attached, but rejects a configuration", "since_ms": 125000,
        "reason": "Nack", "severity": "Fail", "sentence": "rejects its configuration", "remedy": "read istiod's error text",
        "decided_by": "control_plane", "rule": "expected on and injected by canary; the control plane's word decides: "
        "istiod-canary-0 of canary lists it (read 3s ago), but it rejected LDS: Error adding \x1b[31mlistener",
        "witnesses": {
            "intent": {"says": "expected on and injected by canary", "age_ms": 0, "expected": "canary", "ready": True},
            "control_plane": {"says": "istiod-canary-0 of canary lists it (read 3s ago), but it rejected LDS: Error adding "
                              "\x1b[31mlistener", "age_ms": 3000, "types": {"CDS": "Synced", "LDS": "Error"}},
            "node": {"says": "no agent is heard from node-07", "age_ms": None, "node": "node-07", "agent": False}}}


def replica(name, **more):
    return {"name": name, "address": "10.0.0.1", "node": "node-01", "zone": None, "version": "1.29.6", "ready": True,
            "reader": "node-02", "standby": "node-04", "connections": "Ok", "syncz": "Ok", "error": None,
            "connections_age_ms": 3000, "syncz_age_ms": 61000, "rejects": 0.0, "bytes_read": 1234567, "questions": 99,
            "clients": 41, "proxies": 40, "blocked": [], "streams": 41.0, "expired_nonces": 0.0, "status_only": False, **more}


def revisions():
    blocked = [{"namespace": "shop", "proxy": "web-1.shop", "for_ms": 30000}]
    return {"revisions": [
        {"name": "old", "version": "1.29.6", "injector": True, "tags": ["default"], "other_version": 3,
         "replicas": [replica("istiod-old-b", blocked=blocked), replica("istiod-old-a", connections="Timeout", error="no \x07word")]},
        {"name": "canary", "version": "1.30.3", "injector": True, "tags": [], "other_version": 0,
         "replicas": [replica("istiod-canary-a", reader=None, standby=None, connections_age_ms=None)]}]}


def check_of(*results):
    return {"sections": [{"name": "agents", "checks": [
        {"name": f"c{i}", "result": r, "text": f"line {i} \x1b[2J", "hint": "" if r == "ok" else f"hint {i}"}
        for i, r in enumerate(results)]}]}


def coverage_row(name, expected, heard):
    return {"name": name, "expected": expected, "heard": heard, "control_plane": expected, "sync": expected, "node": heard,
            "oldest_ms": 4000 if heard else None}


def coverage():
    return {"cluster": coverage_row("Kubernetes", 30, 28), "revisions": [coverage_row("old", 30, 28)],
            "waves": [coverage_row("first", 10, 10)],
            "namespaces": [coverage_row("shop", 20, 20), coverage_row("bank", 10, 8), coverage_row("rest", 0, 0)]}
