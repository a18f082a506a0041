"""One container of a pod that the bed's kubelet runs: its root, environment, process, probe and status."""

import datetime
import hashlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import time

import bed as bedlib
import build

NODE = "real-1"
PODROOT = build.HERE / "podroot"
RESOURCES = {"limits.cpu": "2", "limits.memory": "1073741824", "requests.cpu": "1", "requests.memory": "134217728"}


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def cgroup_base():
    mixed = "/sys/fs/cgroup/unified"
    return f"{mixed if os.path.isdir(mixed) else '/sys/fs/cgroup'}/kubepods.slice"


def remove_cgroups():
    """The folders that no process is in any more."""
    for folder, _, _ in os.walk(cgroup_base(), topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            pass


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
            self.last = {
                "terminated": {"exitCode": self.process.returncode & 255, "reason": "Error", "finishedAt": stamp()}
            }
            self.pod.k.log(self.pod.name, self.spec["name"], "ended with", self.process.returncode)
            back = 1 if time.monotonic() - began > 10 else min(back * 2, 10)
            self.pod.stopped.wait(back)

    def _make_root(self):
        r = self.root
        shutil.rmtree(r, ignore_errors=True)
        for d in (
            "usr",
            "dev",
            "proc",
            "tmp",
            "run",
            "var",
            "etc",
            *(os.path.dirname(f).strip("/") for f in self.files),
        ):
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
        mounts = {
            m["mountPath"].replace("/var/run/", "/run/").rstrip("/"): self.pod.dir / "volumes" / m["name"]
            for m in self.spec.get("volumeMounts", [])
        }
        for path in sorted(mounts):
            above = [p for p in mounts if path.startswith(p + "/")]
            # a mount inside another one: its folder must be in that volume
            inside = mounts[max(above)] / path[len(max(above)) + 1 :] if above else self.root / path.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
        lines = [f"{self.folder} /usr/local/bin"] + [f"{mounts[path]} {path}" for path in sorted(mounts)]
        (self.root.parent / "mounts").write_text("\n".join(lines) + "\n")

    def env(self):
        e = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOSTNAME": self.pod.name,
            "HOME": "/",
            "KUBERNETES_SERVICE_HOST": bedlib.API_IP,
            "KUBERNETES_SERVICE_PORT": "6443",
            **self.more_env,
        }
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
        argv = [
            re.sub(r"\$\((\w+)\)", lambda m: env.get(m.group(1), m.group(0)), a)
            for a in command + self.spec.get("args", [])
        ]
        context = {**spec.get("securityContext", {}), **self.spec.get("securityContext", {})}
        host = spec.get("hostPID", False)
        proc = "own" if not host else "host" if self.pod.node == NODE else str(self.pod.k.proc_tree(self.pod.node))
        kind = ["--mount", "--cgroup"] + ([] if host else ["--pid", "--fork", "--kill-child=KILL"])
        with open(self.root.parent / "log", "ab") as out:
            self.process = subprocess.Popen(
                [
                    "nsenter",
                    f"--net=/run/netns/{self.pod.netns}",
                    "unshare",
                    *kind,
                    PODROOT,
                    self.root,
                    proc,
                    str(context.get("runAsUser", 1000)),
                    "ro" if context.get("readOnlyRootFilesystem") else "rw",
                    *argv,
                ],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
                preexec_fn=lambda: self._prepare(self._cgroup()),
            )
        self.pid = self.process.pid if host else self._child()
        self.started = not self.spec.get("startupProbe")
        self.ready = not self.spec.get("readinessProbe")

    def _entrypoint(self):
        return ["/usr/local/bin/pilot-agent"] if self.spec["name"] == "istio-proxy" else ["/usr/local/bin/app"]

    def _id(self):
        return hashlib.sha256(f"{self.pod.uid}{self.spec['name']}{self.restarts}".encode()).hexdigest()

    def _cgroup(self):
        return (
            f"{cgroup_base()}/kubepods-burstable.slice/kubepods-burstable-pod{self.pod.uid.replace('-', '_')}.slice/"
            f"cri-containerd-{self._id()}.scope"
        )

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
        port = next(
            (x["containerPort"] for x in self.spec.get("ports", []) if x.get("name") == get["port"]), get["port"]
        )
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
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": self.spec["image"],
            "containerID": f"containerd://{self._id()}",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": (
                {"running": {"startedAt": self.pod.began}} if running else {"waiting": {"reason": "ContainerCreating"}}
            ),
            "lastState": self.last,
        }
