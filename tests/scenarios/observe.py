"""What the conditions of the scenario language mean, read from the objects of the API server alone."""

import json

UPGRADES = "/apis/meshgate.io/v1alpha1/meshupgrades"
_WORKLOADS = (("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets"))


class ScenarioFailed(Exception):
    """An expectation was not met, or an action was refused."""


def _matches(selector, labels):
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for e in selector.get("matchExpressions") or []:
        have, values = labels.get(e["key"]), e.get("values") or []
        ok = {"In": have in values, "NotIn": have not in values, "Exists": have is not None,
              "DoesNotExist": have is None}[e["operator"]]
        if not ok:
            return False
    return True


class Observer:
    """Reads the cluster and answers conditions. Remembers how it was before the upgrade."""

    def __init__(self, world):
        self.world = world
        self.name, self.spec = None, {}
        self.cr = None
        self.namespaces_before, self.templates = {}, {}

    def begin(self, name, spec):
        self.name, self.spec = name, spec
        self.namespaces_before = self.namespaces()
        self.watch_templates()

    def refresh(self):
        if self.name:
            self.cr = self.world.get(UPGRADES + "/" + self.name)

    def status(self):
        return (self.cr or {}).get("status") or {}

    def namespaces(self):
        items = (self.world.get("/api/v1/namespaces") or {}).get("items") or []
        return {o["metadata"]["name"]: o["metadata"].get("labels") or {} for o in items}

    def watch_templates(self):
        """Note every pod template that a workload has; ReplicaSets tell of those that came and went between two looks."""
        for kind, plural in _WORKLOADS:
            for o in (self.world.get("/apis/apps/v1/" + plural) or {}).get("items") or []:
                key = (o["metadata"]["namespace"], kind, o["metadata"]["name"])
                text = json.dumps(o["spec"].get("template"), sort_keys=True)
                seen = self.templates.setdefault(key, [])
                if text not in seen:
                    seen.append(text)

    def replicasets(self):
        count = {}
        for o in (self.world.get("/apis/apps/v1/replicasets") or {}).get("items") or []:
            for owner in o["metadata"].get("ownerReferences") or []:
                if owner.get("kind") == "Deployment":
                    key = (o["metadata"]["namespace"], "Deployment", owner["name"])
                    count[key] = count.get(key, 0) + 1
        return count

    def wave_namespaces(self, wave):
        """Names in a wave, None when only the gate can say (percent)."""
        taken = set()
        for w in self.spec.get("waves", []):
            choice = w.get("namespaces") or {}
            if "names" in choice:
                members = set(choice["names"])
            elif "selector" in choice:
                members = {n for n, labels in self.namespaces_before.items() if _matches(choice["selector"], labels)}
            elif "percent" in choice:
                members = None
            else:
                members = None if taken is None else {
                    n for n, labels in self.namespaces_before.items()
                    if "istio.io/rev" in labels or labels.get("istio-injection") == "enabled"}
            if members is not None and taken is not None:
                members -= taken
            if w["name"] == wave:
                return members
            taken = None if members is None or taken is None else taken | members
        raise ScenarioFailed("the upgrade has no wave %s" % wave)

    def untouched(self, wave):
        members = self.wave_namespaces(wave)
        if members is None:
            for w in self.status().get("waves") or []:
                if w.get("name") == wave:
                    return w.get("relabelled", 0) == 0 and w.get("state") in ("Pending", "AwaitingApproval")
            return False
        self.watch_templates()
        now = self.namespaces()
        for n in members & set(self.namespaces_before):
            before, after = self.namespaces_before[n], now.get(n, {})
            if any(before.get(k) != after.get(k) for k in ("istio.io/rev", "istio-injection")):
                return False
        return not any(len(seen) > 1 for (ns, _, _), seen in self.templates.items() if ns in members)

    def restarted_once(self):
        self.watch_templates()
        sets, labels = self.replicasets(), self.namespaces()
        target = ((self.spec.get("to") or {}).get("revision"))
        for key, seen in self.templates.items():
            moved = labels.get(key[0], {}).get("istio.io/rev") == target
            most = max(len(seen), sets.get(key, 0))
            if most > (2 if moved else 1):
                return False
        return True

    def reason(self, name, about):
        for r in self.status().get("reasons") or []:
            if r.get("reason") == name:
                if about is None or any(o.get("name", "").startswith(about) for o in r.get("objects") or []):
                    return True
        return False

    def text(self, part):
        for r in self.status().get("reasons") or []:
            texts = [r.get("sentence", ""), r.get("remedy", "")] + [o.get("message", "") for o in r.get("objects") or []]
            if any(part in t for t in texts):
                return True
        return False

    def moved(self, percent):
        summary = self.status().get("summary") or {}
        expected = summary.get("expected", 0)
        return expected > 0 and summary.get("moved", 0) * 100 >= percent * expected

    def label(self, ns):
        o = self.world.get("/api/v1/namespaces/" + ns) or {}
        return (o.get("metadata") or {}).get("labels") or {}

    def holds(self, term):
        name, args = term[0], term[1:]
        if name == "phase":
            return self.status().get("phase") == args[0]
        if name == "verdict":
            return self.status().get("verdict") == args[0]
        if name == "wave":
            return any(w.get("name") == args[0] and w.get("state") == args[1] for w in self.status().get("waves") or [])
        if name == "reason":
            return self.reason(*args)
        if name == "noreason":
            return not self.reason(args[0], None)
        if name == "text":
            return self.text(args[0])
        if name == "moved":
            return self.moved(args[0])
        if name == "untouched":
            return self.untouched(args[0])
        if name == "restarted-once":
            return self.restarted_once()
        if name == "label":
            key, _, value = args[1].partition("=")
            return self.label(args[0]).get(key) == value
        return args[1] not in self.label(args[0])

    def all_hold(self, terms):
        return all(self.holds(t) for t in terms)

    def describe(self):
        s = self.status()
        if not s:
            return "no upgrade yet" if self.cr is None else "the gate has written no status yet"
        why = "; ".join("%s %s" % (r.get("reason"), ",".join(o.get("name", "") for o in (r.get("objects") or [])[:3]))
                        for r in (s.get("reasons") or [])[:4])
        n = s.get("summary") or {}
        waves = " ".join("%s=%s" % (w.get("name"), w.get("state")) for w in s.get("waves") or [])
        return "phase %s, verdict %s, moved %s/%s, waves %s%s" % (
            s.get("phase"), s.get("verdict"), n.get("moved", 0), n.get("expected", 0), waves, ("; " + why) if why else "")
