"""Objects for test_cli.py, as the gate and the API server give them."""

UPGRADES = "/apis/meshgate.io/v1alpha1/meshupgrades"
PROXIES = "/api/v1/namespaces/{ns}/services/http:meshgate:8080/proxy/api/v1/proxies?upgrade={name}"


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
    return {"namespace": namespace, "pod": pod, "node": "node-03", "owner": "Deployment/web", "state": state, "reason": reason,
            "since_ms": 125000, "expected": "canary", "injected": "old", "attached": "old", "replica": "istiod-old-0",
            "sync": "Synced", "version": "Matches", "error": "", "dials": "old", "accepted_cds": 3, "acked_cds": 3,
            "sentence": "", "remedy": "", **more}


def proxies(name="to-1-30"):
    bare = {"sentence": "a bare pod: nothing re-creates it", "remedy": "delete and create it again yourself"}
    nack = {"sentence": "rejects its configuration", "remedy": "read istiod's error text", "error": "Error adding listener"}
    return {"upgrade": name, "proxies": [
        proxy("shop", "web-1", "Moved", attached="canary", injected="canary"),
        proxy("shop", "lonely", "RestartPending", "BarePod", **bare),
        proxy("bank", "lonely", "RestartPending", "BarePod", **bare),
        proxy("app-07", "web-2", "Nacking", "Nack", **nack),
        proxy("rest", "web-3", "NotStarted", replica=None),
    ]}
