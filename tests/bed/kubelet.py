"""A small kubelet: pods as real processes, from what their Pod objects say: command, args, env, volumes, projected tokens,
security context, probes. It runs the pods of meshgate (whichever node they are bound to) and every pod of its own node.

A container has a root of its own (podroot), its pod a network namespace behind the bed's bridge. hostPID pods see the
machine's /proc on the real node and the node's made-up tree elsewhere.

Annotations that make a pod's credentials wrong: bed.test/token=garbage, bed.test/audience=OTHER, bed.test/root=FILE of the bed's PKI.
"""

import base64
import datetime
import http.client
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time
import traceback

import bed as bedlib
from container import NODE, RESOURCES, Container, remove_cgroups, stamp

GATE_NUMBER = 5
GATE_IP = f"10.246.1.{GATE_NUMBER}"


class Kubelet:
    """images: function of an image reference -> (folder to be /usr/local/bin, {path in the root: file}, extra env)."""

    def __init__(self, bed, images, node=False):
        self.bed, self.images, self.own_node = bed, images, node
        self.lock, self.pods, self.numbers = threading.Lock(), {}, set()
        self.hosts = {}
        self.stop_event = threading.Event()
        self.out = None

    def start(self):
        self.out = open(self.bed.log("kubelet"), "a", buffering=1)
        if self.own_node:
            body = self.bed.node(NODE, "real", 0)
            body["spec"] = {"taints": [{"key": "bed.test/real", "value": "true", "effect": "NoSchedule"}]}
            self.bed.create("/api/v1/nodes", body)
            threading.Thread(target=self._heartbeat, daemon=True).start()
        for name in ("proc", "pods"):
            (self.bed.dir / name).mkdir(exist_ok=True)
        threading.Thread(target=self._loop, daemon=True).start()

    def stop(self):
        self.stop_event.set()
        for pod in list(self.pods.values()):
            pod.end(1)
        end = time.monotonic() + 8
        while self.pods and time.monotonic() < end:
            time.sleep(0.1)
        if self.pods:
            self.log("still there at the end:", *(f"{p.ns}/{p.name}" for p in self.pods.values()))
        remove_cgroups()

    def log(self, *words):
        print(datetime.datetime.now().strftime("%H:%M:%S.%f")[:-3], *words, file=self.out)

    def named(self, name, node=None):
        """The containers' pods with this label app.kubernetes.io/name, on one node or on all."""
        return [
            p
            for p in list(self.pods.values())
            if p.labels.get("app.kubernetes.io/name") == name and node in (None, p.node) and not p.stopped.is_set()
        ]

    def proc_tree(self, node):
        """What stands in for /proc on a node of kwok's: the proxies' tree, and what any node has."""
        tree = self.bed.dir / "proc" / node
        for pid, comm in [("1", "systemd"), ("412", "kubelet")]:
            if not (tree / pid).exists():
                (tree / pid / "net").mkdir(parents=True)
                (tree / pid / "comm").write_text(comm + "\n")
                (tree / pid / "cmdline").write_text(f"/usr/bin/{comm}\0")
                (tree / pid / "status").write_text(f"Name:\t{comm}\nUid:\t0\t0\t0\t0\n")
                (tree / pid / "cgroup").write_text("0::/init.scope\n")
                (tree / pid / "net/tcp").write_text("")
                (tree / pid / "net/tcp6").write_text("")
        (tree / "self").mkdir(exist_ok=True)
        return tree

    def _heartbeat(self):
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while not self.stop_event.is_set():
            try:
                now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                self.bed.create(
                    leases, {"metadata": {"name": NODE}, "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40}}
                )
                self.bed.api("PATCH", f"{leases}/{NODE}", {"spec": {"renewTime": now}})
                self.bed.api(
                    "PATCH",
                    f"/api/v1/nodes/{NODE}/status",
                    {
                        "status": {
                            "conditions": [
                                {
                                    "type": "Ready",
                                    "status": "True",
                                    "reason": "KubeletReady",
                                    "message": "",
                                    "lastHeartbeatTime": stamp(),
                                }
                            ]
                        }
                    },
                    "application/strategic-merge-patch+json",
                )
            except (OSError, bedlib.ApiError, http.client.HTTPException) as e:
                self.log("node", e)
            self.stop_event.wait(10)

    def _mine(self):
        found = self.bed.list("/api/v1/namespaces/istio-system/pods?labelSelector=app.kubernetes.io/part-of%3Dmeshgate")
        if self.own_node:
            found += self.bed.list(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}")
        return {p["metadata"]["uid"]: p for p in found if p["spec"].get("nodeName")}

    def _loop(self):
        while not self.stop_event.is_set():
            try:
                mine = self._mine()
                for uid, obj in mine.items():
                    leaving = "deletionTimestamp" in obj["metadata"]
                    if uid in self.pods:
                        if leaving:
                            self.pods[uid].end(obj["metadata"].get("deletionGracePeriodSeconds", 30))
                    elif leaving:
                        self.delete(obj)
                    else:
                        self.pods[uid] = Pod(self, obj)
                for uid, pod in list(self.pods.items()):
                    if uid not in mine:
                        pod.end(2)
            except (OSError, bedlib.ApiError, http.client.HTTPException) as e:
                self.log("loop", e)
            self.stop_event.wait(0.3)

    def delete(self, obj):
        m = obj["metadata"]
        try:
            self.bed.api(
                "DELETE",
                f"/api/v1/namespaces/{m['namespace']}/pods/{m['name']}",
                {
                    "kind": "DeleteOptions",
                    "apiVersion": "v1",
                    "gracePeriodSeconds": 0,
                    "preconditions": {"uid": m["uid"]},
                },
            )
        except (OSError, bedlib.ApiError, http.client.HTTPException):
            pass


class PodEnded(Exception):
    """The pod was taken away before its containers could start."""


class Pod:
    def __init__(self, kubelet, obj):
        self.k, self.bed, self.obj = kubelet, kubelet.bed, obj
        m = obj["metadata"]
        self.ns, self.name, self.uid, self.node = m["namespace"], m["name"], m["uid"], obj["spec"]["nodeName"]
        self.labels = m.get("labels") or {}
        with kubelet.lock:
            # the gate's address does not change: agents have it in their hosts file
            fixed = [GATE_NUMBER] if self.labels.get("app.kubernetes.io/name") == "meshgate" else []
            self.number = next(i for i in [*fixed, *range(10, 250)] if i not in kubelet.numbers)
            kubelet.numbers.add(self.number)
        self.ip = f"10.246.1.{self.number}"
        self.netns = f"{self.bed.ns}-{self.number}"
        self.dir = self.bed.dir / "pods" / f"{self.ns}_{self.name}"
        self.stopped, self.grace, self.began = threading.Event(), 30, stamp()
        self.containers = []
        threading.Thread(target=self._run, daemon=True).start()

    def end(self, grace):
        self.grace = grace
        self.stopped.set()

    def _run(self):
        try:
            self._network()
            self._volumes()
            for spec in self.obj["spec"].get("initContainers", []):
                if spec.get("restartPolicy") != "Always":
                    self._init(spec)
            always = [c for c in self.obj["spec"].get("initContainers", []) if c.get("restartPolicy") == "Always"]
            self.containers = [Container(self, c) for c in always + self.obj["spec"]["containers"]]
            self.status()
            for c in self.containers:
                threading.Thread(target=c.run, daemon=True).start()
            self._watch()
        except PodEnded as e:
            self.k.log(self.ns, self.name, e)
        except Exception:
            self.k.log(self.ns, self.name, traceback.format_exc())
            self.stopped.wait()
        self._clean()

    def _watch(self):
        seen = None
        while not self.stopped.wait(0.2):
            for c in self.containers:
                c.probe()
            now = [(c.started, c.ready, c.restarts) for c in self.containers]
            if now != seen:
                self.k.log(self.ns, self.name, self.ip, now)
                self.status()
                seen = now

    def _network(self):
        bedlib.run("ip", "netns", "add", self.netns)
        link = f"v{self.number}"
        bedlib.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        bedlib.run("ip", "link", "set", link, "master", "cni0", "up")
        for args in [
            "link set lo up",
            f"addr add {self.ip}/16 dev eth0",
            "link set eth0 up",
            "route add default via 10.246.0.1",
        ]:
            bedlib.run("ip", "-n", self.netns, *args.split())

    # --- volumes

    def _volumes(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        for volume in self.obj["spec"].get("volumes", []):
            folder = self.dir / "volumes" / volume["name"]
            folder.mkdir(parents=True)
            folder.chmod(0o777 if "emptyDir" in volume else 0o755)
            for source in volume.get("projected", {}).get("sources", [volume]):
                self._fill(folder, source)

    def _write(self, folder, name, text):
        new = folder / f".{name}.new"
        new.write_bytes(text if isinstance(text, bytes) else text.encode())
        new.chmod(0o644)
        new.rename(folder / name)

    def spoil(self, volume, path, text):
        """Another content for a file of a mounted volume, as if the node or somebody else had written it."""
        self._write(self.dir / "volumes" / volume, path, text)

    def _ill(self, what):
        """How the annotation bed.test/WHAT wants this to be wrong."""
        return (self.obj["metadata"].get("annotations") or {}).get(f"bed.test/{what}")

    def _fill(self, folder, source):
        if "serviceAccountToken" in source:
            s = source["serviceAccountToken"]
            account = self.obj["spec"].get("serviceAccountName", "default")
            if self._ill("token") == "garbage":
                self._write(folder, s["path"], "garbage")
                return
            self._write(
                folder,
                s["path"],
                self.bed.account_token(
                    self.ns,
                    account,
                    self._ill("audience") or s.get("audience"),
                    self.obj["metadata"],
                    max(600, s.get("expirationSeconds", 3600)),
                ),
            )
        elif "downwardAPI" in source:
            for item in source["downwardAPI"]["items"]:
                if "fieldRef" in item:
                    self._write(folder, item["path"], self.field(item["fieldRef"]["fieldPath"], many=True))
                else:
                    self._write(folder, item["path"], RESOURCES.get(item["resourceFieldRef"]["resource"], "0"))
        elif "configMap" in source or "secret" in source:
            self._fill_from_object(folder, "configMap" if "configMap" in source else "secret", source)

    def _fill_from_object(self, folder, kind, source):
        s = source[kind]
        name = s.get("name") or s.get("secretName")
        path = f"/api/v1/namespaces/{self.ns}/{kind.lower()}s/{name}"
        obj = self.bed.find(path)
        if obj is None and not s.get("optional"):
            self.k.log(self.ns, self.name, f"waits for {kind} {name}")
            obj = self._await(f"{kind} {self.ns}/{name}", path)
        data = {
            k: v.encode() if kind == "configMap" else base64.b64decode(v)
            for k, v in ((obj or {}).get("data") or {}).items()
        }
        if name == "istio-ca-root-cert" and self._ill("root"):
            data = {k: pathlib.Path(self.bed.pki.path(self._ill("root"))).read_bytes() for k in data}
        keys = {i["key"]: i["path"] for i in s["items"]} if s.get("items") else {k: k for k in data}
        for key, file in keys.items():
            if key in data:
                self._write(folder, file, data[key])

    def _await(self, what, path):
        """A kubelet waits for a volume's source as long as the pod is wanted."""
        while not self.stopped.wait(0.5):
            try:
                obj = self.bed.find(path)
            except (OSError, bedlib.ApiError, http.client.HTTPException) as e:
                self.k.log(self.ns, self.name, what, e)
                continue
            if obj is not None:
                return obj
        raise PodEnded(f"ended while it waited for {what}")

    def field(self, path, many=False):
        m, spec = self.obj["metadata"], self.obj["spec"]
        one = re.match(r"metadata\.(annotations|labels)\['(.*)'\]", path)
        if one:
            return m.get(one.group(1), {}).get(one.group(2), "")
        if many and path in ("metadata.labels", "metadata.annotations"):
            return "\n".join(f"{k}={json.dumps(v)}" for k, v in sorted(m.get(path.split(".")[1], {}).items()))
        return {
            "metadata.name": self.name,
            "metadata.namespace": self.ns,
            "metadata.uid": self.uid,
            "status.podIP": self.ip,
            "status.hostIP": bedlib.API_IP,
            "spec.nodeName": self.node,
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        }.get(path, "")

    def _init(self, spec):
        """An init container that runs to its end as root in the pod's network namespace (istio-init)."""
        folder, _, _ = self.k.images(spec["image"])
        done = subprocess.run(
            ["ip", "netns", "exec", self.netns, f"{folder}/pilot-agent", *spec["args"]], capture_output=True, text=True
        )
        (self.dir / f"{spec['name']}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise RuntimeError(f"{spec['name']}: {done.stderr[-800:]}")

    # --- status and end

    def status(self):
        ready = all(c.ready for c in self.containers)
        started = all(c.started for c in self.containers)
        spec, now = self.obj["spec"], stamp()
        by_name = {c.spec["name"]: c for c in self.containers}
        init = [
            (
                by_name[c["name"]].status()
                if c["name"] in by_name
                else {
                    "name": c["name"],
                    "image": c["image"],
                    "imageID": c["image"],
                    "ready": True,
                    "restartCount": 0,
                    "state": {
                        "terminated": {"exitCode": 0, "reason": "Completed", "startedAt": self.began, "finishedAt": now}
                    },
                }
            )
            for c in spec.get("initContainers", [])
        ]
        conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        body = {
            "phase": "Running" if started else "Pending",
            "hostIP": bedlib.API_IP,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "startTime": self.began,
            "containerStatuses": [by_name[c["name"]].status() for c in spec["containers"]],
            "conditions": [
                {
                    "type": t,
                    "status": "True" if v else "False",
                    "lastTransitionTime": now,
                    **({} if v else {"reason": "ContainersNotReady"}),
                }
                for t, v in conditions.items()
            ],
        }
        if init:
            body["initContainerStatuses"] = init
        try:
            self.bed.api(
                "PATCH",
                f"/api/v1/namespaces/{self.ns}/pods/{self.name}/status",
                {"status": body},
                "application/strategic-merge-patch+json",
            )
        except bedlib.ApiError as e:
            self.k.log("status", self.ns, self.name, e)

    def _clean(self):
        for c in self.containers:
            c.end(self.grace)
        bedlib.run("ip", "link", "del", f"v{self.number}", check=False)
        bedlib.run("ip", "netns", "del", self.netns, check=False)
        self.k.delete(self.obj)
        self.k.log(self.ns, self.name, "gone")
        with self.k.lock:
            self.k.numbers.discard(self.number)
            self.k.pods.pop(self.uid, None)
