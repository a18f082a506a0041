"""A small kubelet: pods as real processes, from what their Pod objects say: command, args, env, volumes, projected tokens,
security context, probes. It runs the pods of meshgate (whichever node they are bound to) and every pod of its own node.

A container has a root of its own (podroot), its pod a network namespace behind the bed's bridge. hostPID pods see the machine's
/proc on the real node and the node's made-up tree elsewhere.
"""
import base64
import datetime
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import traceback

import bed as bedlib
import build

NODE = "real-1"
PODROOT = build.HERE / "podroot"
RESOURCES = {"limits.cpu": "2", "limits.memory": "1073741824", "requests.cpu": "1", "requests.memory": "134217728"}


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Kubelet:
    """images: function of an image reference -> (folder to be /usr/local/bin, {path in the root: file}, extra env)."""

    def __init__(self, bed, images, node=False):
        self.bed, self.images, self.own_node = bed, images, node
        self.lock, self.pods, self.numbers = threading.Lock(), {}, set()
        self.hosts = {}
        self.stop_event = threading.Event()
        self.out = open(bed.log("kubelet"), "a", buffering=1)

    def start(self):
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

    def log(self, *words):
        print(datetime.datetime.now().strftime("%H:%M:%S.%f")[:-3], *words, file=self.out)

    def find(self, namespace, prefix):
        """Running pods of a namespace whose name begins so."""
        return [p for p in list(self.pods.values()) if p.ns == namespace and p.name.startswith(prefix) and not p.stopped.is_set()]

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
                self.bed.create(leases, {"metadata": {"name": NODE}, "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40}})
                self.bed.api("PATCH", f"{leases}/{NODE}", {"spec": {"renewTime": now}})
                self.bed.api("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": {"conditions": [
                    {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": stamp()}]}},
                    "application/strategic-merge-patch+json")
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
            self.bed.api("DELETE", f"/api/v1/namespaces/{m['namespace']}/pods/{m['name']}",
                         {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": m["uid"]}})
        except (OSError, bedlib.ApiError, http.client.HTTPException):
            pass


class Pod:
    def __init__(self, kubelet, obj):
        self.k, self.bed, self.obj = kubelet, kubelet.bed, obj
        m = obj["metadata"]
        self.ns, self.name, self.uid, self.node = m["namespace"], m["name"], m["uid"], obj["spec"]["nodeName"]
        with kubelet.lock:
            self.number = next(i for i in range(10, 250) if i not in kubelet.numbers)
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
        for args in ["link set lo up", f"addr add {self.ip}/16 dev eth0", "link set eth0 up", "route add default via 10.246.0.1"]:
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

    def _fill(self, folder, source):
        if "serviceAccountToken" in source:
            s = source["serviceAccountToken"]
            account = self.obj["spec"].get("serviceAccountName", "default")
            self._write(folder, s["path"], self.bed.account_token(self.ns, account, s.get("audience"), self.obj["metadata"],
                                                                  max(600, s.get("expirationSeconds", 3600))))
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
            obj = self.bed.wait(60, f"{kind} {self.ns}/{name}", lambda: self.bed.find(path), 0.5)
        data = {k: v.encode() if kind == "configMap" else base64.b64decode(v) for k, v in ((obj or {}).get("data") or {}).items()}
        keys = {i["key"]: i["path"] for i in s["items"]} if s.get("items") else {k: k for k in data}
        for key, file in keys.items():
            if key in data:
                self._write(folder, file, data[key])

    def field(self, path, many=False):
        m, spec = self.obj["metadata"], self.obj["spec"]
        one = re.match(r"metadata\.(annotations|labels)\['(.*)'\]", path)
        if one:
            return m.get(one.group(1), {}).get(one.group(2), "")
        if many and path in ("metadata.labels", "metadata.annotations"):
            return "\n".join(f"{k}={json.dumps(v)}" for k, v in sorted(m.get(path.split(".")[1], {}).items()))
        return {"metadata.name": self.name, "metadata.namespace": self.ns, "metadata.uid": self.uid, "status.podIP": self.ip,
                "status.hostIP": bedlib.API_IP, "spec.nodeName": self.node,
                "spec.serviceAccountName": spec.get("serviceAccountName", "default")}.get(path, "")

    def _init(self, spec):
        """An init container that runs to its end as root in the pod's network namespace (istio-init)."""
        folder, _, _ = self.k.images(spec["image"])
        done = subprocess.run(["ip", "netns", "exec", self.netns, f"{folder}/pilot-agent", *spec["args"]], capture_output=True, text=True)
        (self.dir / f"{spec['name']}.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise RuntimeError(f"{spec['name']}: {done.stderr[-800:]}")

    # --- status and end

    def status(self):
        ready = all(c.ready for c in self.containers)
        started = all(c.started for c in self.containers)
        spec, now = self.obj["spec"], stamp()
        by_name = {c.spec["name"]: c for c in self.containers}
        init = [by_name[c["name"]].status() if c["name"] in by_name else
                {"name": c["name"], "image": c["image"], "imageID": c["image"], "ready": True, "restartCount": 0,
                 "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": self.began, "finishedAt": now}}}
                for c in spec.get("initContainers", [])]
        conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        body = {"phase": "Running" if started else "Pending", "hostIP": bedlib.API_IP, "podIP": self.ip, "podIPs": [{"ip": self.ip}],
                "startTime": self.began, "containerStatuses": [by_name[c["name"]].status() for c in spec["containers"]],
                "conditions": [{"type": t, "status": "True" if v else "False", "lastTransitionTime": now,
                                **({} if v else {"reason": "ContainersNotReady"})} for t, v in conditions.items()]}
        if init:
            body["initContainerStatuses"] = init
        try:
            self.bed.api("PATCH", f"/api/v1/namespaces/{self.ns}/pods/{self.name}/status", {"status": body},
                         "application/strategic-merge-patch+json")
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


class Container:
    def __init__(self, pod, spec):
        self.pod, self.spec, self.bed = pod, spec, pod.bed
        self.ready = self.started = False
        self.restarts, self.process, self.pid = 0, None, None
        self.last, self.next_probe, self.failures = {}, 0, 0
        self.root = pod.dir / spec["name"] / "root"
        self.folder, self.files, self.more_env = pod.k.images(spec["image"])

    # --- the process

    def run(self):
        self._make_root()
        back = 1
        while not self.pod.stopped.is_set():
            began = time.monotonic()
            self._launch()
            while self.process.poll() is None and not self.pod.stopped.is_set():
                time.sleep(0.05)
            if self.pod.stopped.is_set():
                return
            self.ready = self.started = False
            self.restarts += 1
            self.last = {"terminated": {"exitCode": self.process.returncode & 255, "reason": "Error", "finishedAt": stamp()}}
            self.pod.k.log(self.pod.name, self.spec["name"], "ended with", self.process.returncode)
            back = 1 if time.monotonic() - began > 10 else min(back * 2, 10)
            self.pod.stopped.wait(back)

    def _make_root(self):
        r = self.root
        shutil.rmtree(r, ignore_errors=True)
        for d in ("usr", "dev", "proc", "tmp", "run", "var", "etc", *(os.path.dirname(f).strip("/") for f in self.files)):
            (r / d).mkdir(parents=True, exist_ok=True)
        (r / "tmp").chmod(0o1777)
        for link in ("bin", "sbin", "lib", "lib64"):
            (r / link).symlink_to("usr/" + link)
        (r / "var/run").symlink_to("../run")
        hosts = {"localhost": "127.0.0.1", self.pod.name: self.pod.ip, **self.pod.k.hosts}
        (r / "etc/hosts").write_text("".join(f"{ip} {name}\n" for name, ip in hosts.items()))
        (r / "etc/nsswitch.conf").write_text("hosts: files\n")
        (r / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (r / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        for path, file in self.files.items():
            shutil.copy(file, r / path.lstrip("/"))
        self._write_mounts()

    def _write_mounts(self):
        mounts = {m["mountPath"].replace("/var/run/", "/run/").rstrip("/"): self.pod.dir / "volumes" / m["name"]
                  for m in self.spec.get("volumeMounts", [])}
        for path in sorted(mounts):
            above = [p for p in mounts if path.startswith(p + "/")]
            # a mount inside another one: its folder must be in that volume
            inside = mounts[max(above)] / path[len(max(above)) + 1:] if above else self.root / path.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
        lines = [f"{self.folder} /usr/local/bin"] + [f"{mounts[path]} {path}" for path in sorted(mounts)]
        (self.root.parent / "mounts").write_text("\n".join(lines) + "\n")

    def env(self):
        e = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": self.pod.name, "HOME": "/",
             "KUBERNETES_SERVICE_HOST": bedlib.API_IP, "KUBERNETES_SERVICE_PORT": "6443", **self.more_env}
        for v in self.spec.get("env", []):
            source = v.get("valueFrom", {})
            if "fieldRef" in source:
                e[v["name"]] = self.pod.field(source["fieldRef"]["fieldPath"])
            elif "resourceFieldRef" in source:
                e[v["name"]] = RESOURCES.get(source["resourceFieldRef"]["resource"], "")
            else:
                e[v["name"]] = re.sub(r"\$\((\w+)\)", lambda m: e.get(m.group(1), m.group(0)), v.get("value", ""))
        return e

    def _launch(self):
        spec, env = self.pod.obj["spec"], self.env()
        command = self.spec.get("command") or self._entrypoint()
        argv = [re.sub(r"\$\((\w+)\)", lambda m: env.get(m.group(1), m.group(0)), a) for a in command + self.spec.get("args", [])]
        context = {**spec.get("securityContext", {}), **self.spec.get("securityContext", {})}
        host = spec.get("hostPID", False)
        proc = "own" if not host else "host" if self.pod.node == NODE else str(self.pod.k.proc_tree(self.pod.node))
        kind = ["--mount", "--cgroup"] + ([] if host else ["--pid", "--fork", "--kill-child=KILL"])
        with open(self.root.parent / "log", "ab") as out:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.pod.netns}", "unshare", *kind, PODROOT, self.root, proc,
                 str(context.get("runAsUser", 1000)), "ro" if context.get("readOnlyRootFilesystem") else "rw", *argv],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True,
                preexec_fn=lambda: self._prepare(self._cgroup()))
        self.pid = self.process.pid if host else self._child()
        self.started = not self.spec.get("startupProbe") and not self.spec.get("readinessProbe")
        self.ready = self.started

    def _entrypoint(self):
        return ["/usr/local/bin/pilot-agent"] if self.spec["name"] == "istio-proxy" else ["/usr/local/bin/app"]

    def _id(self):
        return hashlib.sha256(f"{self.pod.uid}{self.spec['name']}{self.restarts}".encode()).hexdigest()

    def _cgroup(self):
        base = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
        return (f"{base}/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{self.pod.uid.replace('-', '_')}.slice/"
                f"cri-containerd-{self._id()}.scope")

    @staticmethod
    def _prepare(cgroup):
        bedlib.die_with_parent()
        try:
            os.makedirs(cgroup, exist_ok=True)
            with open(cgroup + "/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))
        except OSError:
            pass

    def _child(self):
        """Pid of the container's first process as the machine sees it."""
        for _ in range(100):
            try:
                with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
                    found = f.read().split()
                if found:
                    return int(found[0])
            except OSError:
                return None
            time.sleep(0.02)
        return None

    def kill(self, number=signal.SIGKILL):
        for pid in [self.pid, self.process and self.process.pid]:
            if pid:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def end(self, grace):
        if self.process is None:
            return
        if self.process.poll() is None and self.pid:
            try:
                os.kill(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            end = time.monotonic() + min(grace, 8)
            while self.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
        self.kill()
        self.process.wait()
        slice_ = os.path.dirname(self._cgroup())
        for folder, _, _ in os.walk(slice_, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass

    # --- probes and status

    def probe(self):
        p = self.spec.get("readinessProbe")
        if not p or self.process is None or self.process.poll() is not None or time.monotonic() < self.next_probe:
            return
        get = p["httpGet"]
        port = next((x["containerPort"] for x in self.spec.get("ports", []) if x.get("name") == get["port"]), get["port"])
        try:
            ok = bedlib._http(self.pod.ip, port, get["path"], p.get("timeoutSeconds", 1)) == 200
        except (OSError, http.client.HTTPException):
            ok = False
        self.failures = 0 if ok else self.failures + 1
        if ok:
            self.ready = self.started = True
        elif self.failures >= p.get("failureThreshold", 3):
            self.ready = False
        self.next_probe = time.monotonic() + (min(p.get("periodSeconds", 10), 5) if self.ready else 0.4)

    def status(self):
        running = self.process is not None and self.process.poll() is None
        return {"name": self.spec["name"], "image": self.spec["image"], "imageID": self.spec["image"],
                "containerID": f"containerd://{self._id()}", "ready": self.ready, "started": self.started, "restartCount": self.restarts,
                "state": {"running": {"startedAt": self.pod.began}} if running else {"waiting": {"reason": "ContainerCreating"}},
                "lastState": self.last}
