"""What meshgate says, asked as people and programs ask it: the plugin's JSON and the gate's HTTP port."""

import http.client
import json
import time
import urllib.parse

import kubelet

PORT = 8080
NOWHERE = (None, "", "-", "?", "several", "not installed")


class View:
    def __init__(self, cluster):
        self.cluster = cluster

    def get(self, path, **query):
        """Parsed JSON of the gate's port, None while it does not answer so."""
        asked = {k: v for k, v in query.items() if v is not None}
        c = http.client.HTTPConnection(kubelet.GATE_IP, PORT, timeout=10)
        try:
            c.request("GET", f"/api/v1/{path}" + ("?" + urllib.parse.urlencode(asked) if asked else ""))
            r = c.getresponse()
            text = r.read()
            return json.loads(text) if r.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            c.close()

    def proxies(self, namespace=None):
        """{"NS/POD": row} of the whole mesh, or of one namespace."""
        seen = self.get("proxies") or {"proxies": []}
        return {f"{x['namespace']}/{x['pod']}": plain(x) for x in seen["proxies"] if namespace in (None, x["namespace"])}

    def proxies_by_plugin(self):
        done = self.cluster.cli("proxies", "-o", "json")
        assert done.returncode == 0, f"kubectl meshgate proxies: {done.stderr}"
        return {f"{x['namespace']}/{x['pod']}": plain(x) for x in json.loads(done.stdout)["proxies"]}

    def explain(self, namespace, pod):
        return self.get("explain", namespace=namespace, pod=pod)

    def replicas(self):
        """{name: replica} of all revisions, each with its revision."""
        seen = self.get("revisions") or {"revisions": []}
        return {x["name"]: {**x, "revision": r["name"]} for r in seen["revisions"] for x in r["replicas"]}

    def metric(self, name):
        """Sum of the series of a metric of the gate."""
        c = http.client.HTTPConnection(kubelet.GATE_IP, PORT, timeout=10)
        try:
            c.request("GET", "/metrics")
            lines = c.getresponse().read().decode().splitlines()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            c.close()
        return sum(float(x.split()[-1]) for x in lines if x.split("{")[0].split(" ")[0] == name)


def plain(row):
    """No reason is the reason None, and what is not a revision is no place to hang on."""
    attached = row.get("attached")
    return {**row, "reason": row.get("reason") or "None", "attached": None if attached in NOWHERE else attached}


def states(rows):
    """How many rows are in each state and reason, as one line."""
    count = {}
    for x in rows.values():
        key = x["state"] if x["reason"] == "None" else f"{x['state']}/{x['reason']}"
        count[key] = count.get(key, 0) + 1
    return ", ".join(f"{n} {k}" for k, n in sorted(count.items(), key=lambda kv: -kv[1]))


def until(seconds, what, look, pause=0.5):
    """(value, seconds it took): polls look() until it is true."""
    began = time.monotonic()
    while True:
        value = look()
        took = time.monotonic() - began
        if value:
            return value, took
        assert took < seconds, f"{what}: not within {seconds} s"
        time.sleep(pause)
