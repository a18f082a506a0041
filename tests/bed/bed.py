"""A real Kubernetes on this machine without containers: etcd, kube-apiserver, controller-manager, scheduler, kwok's nodes.

Everything runs in one network namespace which up() makes, enters and down() removes. With local routes any address of
10.244/16 (pods), 10.245/16 (istiods) and 10.96/16 (Services) can be bound; pods that are real processes have namespaces of
their own behind the bridge 10.246.0.1 (kubelet.py).
"""

import ctypes
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time

import build
from pki import Pki

API_IP = "10.10.0.1"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def run(*args, check=True, **kw):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(str(a) for a in args)}: {done.stdout.strip()}")
    return done.stdout


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ApiError(Exception):
    def __init__(self, status, body, what):
        super().__init__(f"{what}: {status} {body.get('message') if isinstance(body, dict) else body}")
        self.status = status


class Bed:
    made = itertools.count(1)

    def __init__(self, nodes=6, kubelet_version=f"v{build.KUBE_VERSION}"):
        self.nodes, self.kubelet_version = nodes, kubelet_version
        # never the name of an earlier bed of this process: what of that one still ends must not hit this one
        name = f"{os.getpid()}.{next(Bed.made)}"
        self.ns = f"meshgate-{name}"
        self.dir = build.HOME / f"run-{name}"
        self.processes = {}
        self.local = threading.local()
        self.own_netns = None

    # --- the way up and down

    def up(self):
        sweep()
        shutil.rmtree(self.dir, ignore_errors=True)
        (self.dir / "log").mkdir(parents=True)
        self._enter_namespace()
        self.pki = Pki(self.dir / "pki", API_IP)
        self.context = ssl.create_default_context(cafile=self.pki.path("ca.crt"))
        self.context.load_cert_chain(self.pki.path("admin.crt"), self.pki.path("admin.key"))
        self._start_control_plane()
        self._start_nodes()
        return self

    def down(self):
        for name in [n for n in self.processes if n not in ("etcd", "apiserver")]:
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGTERM)
        for name in list(self.processes):
            self.stop(name, 2 if name not in ("etcd", "apiserver") else 1)
        _leave(self.ns)
        if self.own_netns is not None:
            _libc.setns(self.own_netns, CLONE_NEWNET)
            os.close(self.own_netns)
        run("ip", "netns", "del", self.ns, check=False)
        if not os.environ.get("MESHGATE_BED_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def _enter_namespace(self):
        run("ip", "netns", "add", self.ns)
        self.own_netns = os.open("/proc/self/ns/net", os.O_RDONLY)
        with open(f"/run/netns/{self.ns}") as f:
            if _libc.setns(f.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        for args in [
            "link set lo up",
            f"addr add {API_IP}/32 dev lo",
            "route add local 10.244.0.0/16 dev lo",
            "route add local 10.245.0.0/16 dev lo",
            "route add local 10.96.0.0/16 dev lo",
            "link add cni0 type bridge",
            "addr add 10.246.0.1/16 dev cni0",
            "link set cni0 up",
        ]:
            run("ip", *args.split())

    def _start_control_plane(self):
        p, d = self.pki.path, self.dir
        self.start("etcd", [build.BIN / "etcd", "-data-dir", d / "etcd"])
        self.wait(30, "etcd", lambda: _http("127.0.0.1", 2379, "/health") == 200)
        self.start(
            "apiserver",
            [
                build.BIN / "kube",
                "apiserver",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--bind-address={API_IP}",
                f"--advertise-address={API_IP}",
                "--secure-port=6443",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                f"--cert-dir={d}/apiserver-certs",
                f"--client-ca-file={p('ca.crt')}",
                f"--tls-cert-file={p('apiserver.crt')}",
                f"--tls-private-key-file={p('apiserver.key')}",
                f"--kubelet-client-certificate={p('kubelet-client.crt')}",
                f"--kubelet-client-key={p('kubelet-client.key')}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={p('sa.pub')}",
                f"--service-account-signing-key-file={p('sa.key')}",
                f"--requestheader-client-ca-file={p('fp-ca.crt')}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={p('front-proxy.crt')}",
                f"--proxy-client-key-file={p('front-proxy.key')}",
                # webhooks and service proxy go to EndpointSlice addresses, as with kube-proxy
                "--enable-aggregator-routing=true",
                "--enable-admission-plugins=NodeRestriction",
            ],
        )
        self.wait(90, "apiserver", lambda: self.api("GET", "/readyz", raw=True) == "ok")
        common = [
            x
            for n in ("kcm", "sched")
            for x in [
                [
                    f"--{k}=" + p(f"{n}.kubeconfig")
                    for k in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
                ]
                # a controller's client makes 20 calls a second by default: a thousand pods would take a minute
                + ["--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
            ]
        ]
        self.start(
            "kcm",
            [
                build.BIN / "kube",
                "controller-manager",
                *common[0],
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={p('sa.key')}",
                f"--root-ca-file={p('ca.crt')}",
                f"--cluster-signing-cert-file={p('ca.crt')}",
                f"--cluster-signing-key-file={p('ca.key')}",
                "--allocate-node-cidrs=true",
                "--cluster-cidr=10.244.0.0/16",
                "--node-cidr-mask-size=20",
                "--service-cluster-ip-range=10.96.0.0/16",
                f"--cert-dir={d}/kcm-certs",
            ],
        )
        self.start("sched", [build.BIN / "kube", "scheduler", *common[1], f"--cert-dir={d}/sched-certs"])

    def forget_history(self):
        """What was before is gone: etcd is compacted, and the API server's caches begin anew."""
        version = self.api("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"]
        body = json.dumps({"revision": version, "physical": True})
        etcd = http.client.HTTPConnection("127.0.0.1", 2379, timeout=10)
        etcd.request("POST", "/v3/kv/compaction", body)
        if etcd.getresponse().status != 200:
            raise RuntimeError("etcd does not compact")
        argv = self.processes["apiserver"].args
        self.stop("apiserver", 20)
        self.local = threading.local()
        self.start("apiserver", argv)
        self.wait(90, "apiserver", lambda: self.api("GET", "/readyz", raw=True) == "ok")

    def _start_nodes(self):
        p = self.pki.path
        (self.dir / "stages.yaml").write_text(run(build.BIN / "kwok", "print-stages"))
        self.start(
            "kwok",
            [
                build.BIN / "kwok",
                "--kubeconfig=" + p("kwok.kubeconfig"),
                f"--config={self.dir}/stages.yaml",
                "--manage-all-nodes=false",
                "--manage-nodes-with-label-selector=type=kwok",
                "--node-lease-duration-seconds=40",
                f"--node-ip={API_IP}",
                "--node-port=10250",
                "--cidr=10.244.0.0/16",
                f"--server-address={API_IP}:10250",
                "--tls-cert-file=" + p("kwok-serving.crt"),
                "--tls-private-key-file=" + p("kwok-serving.key"),
            ],
        )
        for i in range(1, self.nodes + 1):
            self.api("POST", "/api/v1/nodes", self.node(f"node-{i:02}", "kwok", i))
        self.wait(60, "kwok", lambda: sum(_ready(n) for n in self.list("/api/v1/nodes")) >= self.nodes)

    def node(self, name, kind, zone):
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "type": kind,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "topology.kubernetes.io/zone": f"z{zone % 3}",
                },
            },
            "status": {
                "allocatable": {"cpu": "1k", "memory": "1Ti", "pods": "10k"},
                "capacity": {"cpu": "1k", "memory": "1Ti", "pods": "10k"},
                "nodeInfo": {
                    "kubeletVersion": self.kubelet_version,
                    "architecture": "amd64",
                    "operatingSystem": "linux",
                    "containerRuntimeVersion": kind,
                    "kernelVersion": "",
                    "kubeProxyVersion": "",
                    "machineID": "",
                    "bootID": "",
                    "osImage": "",
                    "systemUUID": "",
                },
            },
        }

    # --- processes

    def start(self, name, argv, env=None, cwd=None):
        """Start a process of the bed; it ends with this one at the latest."""
        with open(self.log(name), "ab") as out:
            p = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd or self.dir,
                env=env or {"PATH": os.environ["PATH"], "HOME": str(self.dir)},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.processes[name] = p
        return p

    def signal(self, name, number):
        p = self.processes.get(name)
        if p and p.poll() is None:
            p.send_signal(number)

    def stop(self, name, patience_s=3):
        p = self.processes.pop(name, None)
        if p is None or p.poll() is not None:
            return
        p.send_signal(signal.SIGCONT)
        p.terminate()
        try:
            p.wait(patience_s)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()

    def log(self, name):
        return self.dir / "log" / f"{name}.log"

    def tail(self, name, lines=25):
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def wait(self, seconds, what, fn, pause=0.1):
        """Poll until fn() is true; its value. `what` may be the name of a process, whose log is then shown on failure."""
        end, seen = time.monotonic() + seconds, None
        while time.monotonic() < end:
            p = self.processes.get(what)
            if p and p.poll() is not None:
                raise RuntimeError(f"{what} ended with {p.returncode}\n{self.tail(what)}")
            try:
                value = fn()
                if value:
                    return value
            except (OSError, ApiError, http.client.HTTPException) as e:
                seen = e
            time.sleep(pause)
        raise TimeoutError(
            f"{what}: not within {seconds} s ({seen})\n{self.tail(what) if what in self.processes else ''}"
        )

    # --- the API as administrator

    def kubectl(self, *args, input=None, check=True):
        tool = build.BIN / "kubectl"
        argv = [
            str(tool) if tool.exists() else "kubectl",
            "--kubeconfig",
            self.pki.path("admin.kubeconfig"),
            "--cache-dir",
            str(self.dir / "kubectl-cache"),
            *map(str, args),
        ]
        done = subprocess.run(argv, input=input, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout if check else done

    def api(self, method, path, body=None, ctype=None, raw=False):
        ctype = ctype or ("application/merge-patch+json" if method == "PATCH" else "application/json")
        data = None if body is None else json.dumps(body)
        for attempt in (0, 1):
            c = getattr(self.local, "connection", None)
            if c is None:
                c = self.local.connection = http.client.HTTPSConnection(API_IP, 6443, context=self.context, timeout=30)
            try:
                c.request(method, path, data, {"Content-Type": ctype, "Accept": "*/*" if raw else "application/json"})
                r = c.getresponse()
                text = r.read()
                break
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                if attempt:
                    raise
        answer = text.decode() if raw else json.loads(text) if text else None
        if r.status >= 300:
            raise ApiError(r.status, answer, f"{method} {path}")
        return answer

    def list(self, path):
        return self.api("GET", path)["items"]

    def find(self, path):
        """The object, or None when it is not there."""
        try:
            return self.api("GET", path)
        except ApiError as e:
            if e.status == 404:
                return None
            raise

    def create(self, path, obj):
        """Create; an object of that name that is there already is left alone."""
        try:
            self.api("POST", path, obj)
        except ApiError as e:
            if e.status != 409:
                raise

    def account_token(self, namespace, account, audience=None, bound_to=None, seconds=43200):
        spec = {"expirationSeconds": seconds}
        if audience:
            spec["audiences"] = [audience]
        if bound_to:
            spec["boundObjectRef"] = {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": bound_to["name"],
                "uid": bound_to["uid"],
            }
        return self.api(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )["status"]["token"]


def _ready(obj):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in obj.get("status", {}).get("conditions", []))


def _http(host, port, path, timeout=2):
    c = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        c.request("GET", path)
        r = c.getresponse()
        r.read()
        return r.status
    finally:
        c.close()


def _leave(ns):
    """End what still runs in a namespace of ours, and the pods' namespaces beside it."""
    for name in [n.split()[0] for n in run("ip", "netns", "list").splitlines() if n]:
        if name == ns or name.startswith(ns + "-"):
            for pid in run("ip", "netns", "pids", name, check=False).split():
                if pid.isdigit() and int(pid) != os.getpid():
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if name != ns:
                run("ip", "netns", "del", name, check=False)


def sweep():
    """Remove what beds left whose process is gone."""
    for name in [n.split()[0] for n in run("ip", "netns", "list").splitlines() if n]:
        one = re.fullmatch(r"meshgate-((\d+)\.\d+)", name)
        if one and not os.path.exists(f"/proc/{one.group(2)}"):
            _leave(name)
            run("ip", "netns", "del", name, check=False)
            shutil.rmtree(build.HOME / f"run-{one.group(1)}", ignore_errors=True)
