"""The whole of meshgate on the embedded mesh, as real processes on this machine: meshgate-sim, the gate, an agent a node.

    with Stand(build, nodes=24, namespaces=40, pods=400, replicas=2) as stand:
        lang.run(stand, statements)

Its addresses on 127/8 exist once a machine: one stand at a time (a lock file sees to it). Python standard library only.
"""
import base64
import ctypes
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios"))
import lang  # noqa: E402

LOCK = os.path.join(tempfile.gettempdir(), "meshgate-embedded-mesh.lock")
GATE_NAME = "meshgate.istio-system.svc"
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ApiError(Exception):
    """The API server's refusal, with its text."""


class Stand(lang.World):
    def __init__(self, build, nodes=24, namespaces=40, pods=400, replicas=2, period="2s", keep=False, gate=True, agents=True):
        self.bin = os.path.join(build, "bin")
        self.mesh = {"nodes": nodes, "namespaces": namespaces, "pods": pods, "replicas": replicas}
        self.period, self.keep = period, keep
        self.with_gate, self.with_agents = gate, agents
        self.processes, self.api = {}, None
        self.gate_kills = 0
        self.lock = self.dir = None

    # --- processes

    def take_place(self, tell=None):
        """Wait until no other embedded mesh runs on this machine; tell(text) if there is one."""
        if self.lock:
            return
        self.lock = open(LOCK, "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tell:
                tell("another embedded mesh runs on this machine: waiting until it has ended")
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def __enter__(self):
        try:
            self.take_place()
            self.dir = tempfile.mkdtemp(prefix="meshgate-")
            self.agents_port, self.admin_port = free_port(), free_port()
            self._start_mesh()
            if self.with_gate:
                self.start_gate()
            if self.with_agents:
                for node in sorted(os.listdir(os.path.join(self.dir, "tokens"))):
                    self.start_agent(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for p in self.processes.values():
            if p.poll() is None:
                p.send_signal(signal.SIGCONT)
                p.terminate()
        end = time.monotonic() + 5
        for p in self.processes.values():
            try:
                p.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if self.dir and not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        if self.lock:
            self.lock.close()

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def start(self, name, *command):
        with open(self.path(name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen([os.path.join(self.bin, command[0]), *command[1:]], stdin=subprocess.DEVNULL,
                                                    stdout=log, stderr=log, preexec_fn=_die_with_parent)

    def log_of(self, name, lines=5):
        try:
            with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def until(self, what, fn, seconds, process=None):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process and self.processes[process].poll() is not None:
                raise lang.ScenarioFailed("%s ended: %s" % (process, self.log_of(process)))
            value = fn()
            if value:
                return value
            time.sleep(0.1)
        raise lang.ScenarioFailed("not within %d s: %s%s" % (seconds, what, "\n" + self.log_of(process) if process else ""))

    def _start_mesh(self):
        flags = ["--%s=%d" % item for item in self.mesh.items()]
        self.start("mesh", "meshgate-sim", "mesh", "--dir", self.dir, "--gate-admin", "127.0.0.1:%d" % self.admin_port, *flags)
        self.until("the embedded mesh", lambda: os.path.exists(self.path("ready")), 60, "mesh")
        with open(self.path("kubeconfig"), encoding="utf-8") as f:
            text = f.read()
        server = re.search(r"server: https://(\S+):(\d+)", text)
        self.host, self.port = server.group(1), int(server.group(2))
        self.token = re.search(r"token: (\S+)", text).group(1)
        ca = base64.b64decode(re.search(r"certificate-authority-data: (\S+)", text).group(1)).decode()
        self.tls = ssl.create_default_context(cadata=ca)

    def start_gate(self):
        self.start("gate", "meshgate", "--kubeconfig", self.path("gate.kubeconfig"), "--agents-address",
                   "127.0.0.1:%d" % self.agents_port, "--tls-cert", self.path("gate.crt"), "--tls-key", self.path("gate.key"),
                   "--admin-address", "127.0.0.1:%d" % self.admin_port, "--reading-period", self.period, "--idle-period", self.period)
        self.until("the gate", self.gate_ready, 30, "gate")

    def start_agent(self, node):
        token = self.path("tokens", node)
        self.start("agent-" + node, "meshgate-agent", "--node-name", node, "--pod-ip", "127.0.0.1", "--gate-address",
                   "127.0.0.1:%d" % self.agents_port, "--gate-server-name", GATE_NAME, "--gate-ca-file", self.path("gate-ca.pem"),
                   "--token-file", os.path.join(token, "meshgate"), "--istio-token-file", os.path.join(token, "istio"),
                   "--istio-root-file", self.path("istio-root.pem"), "--proc-root", self.path("proc", node),
                   "--admin-address", "127.0.0.1:0")

    def gate_http(self, path):
        conn = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            conn.request("GET", path)
            answer = conn.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            conn.close()

    def gate_ready(self):
        return self.gate_http("/readyz")[0] == 200

    def rss_mb(self, name):
        """Resident memory of a process of ours in MB, 0 when it is not there."""
        try:
            with open("/proc/%d/status" % self.processes[name].pid, encoding="utf-8") as f:
                return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024
        except (OSError, AttributeError, KeyError):
            return 0.0

    # --- the API server

    def request(self, method, path, body=None, ctype="application/json"):
        for attempt in (1, 2):
            if self.api is None:
                self.api = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=15)
            headers = {"Authorization": "Bearer " + self.token, "Content-Type": ctype}
            try:
                self.api.request(method, path, None if body is None else json.dumps(body), headers)
                answer = self.api.getresponse()
                return answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException):
                self.api.close()
                self.api = None
                if attempt == 2:
                    raise
        return 0, ""

    def get(self, path):
        status, text = self.request("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise ApiError("GET %s: %d %s" % (path, status, text[:300]))
        return json.loads(text)

    def create(self, path, obj):
        status, text = self.request("POST", path, obj)
        if status not in (200, 201):
            raise ApiError("POST %s: %d %s" % (path, status, json.loads(text).get("message", text) if text[:1] == "{" else text))
        return json.loads(text)

    # --- actions

    def control(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.path("control"))
            s.sendall(line.encode() + b"\n")
            with s.makefile() as f:
                return f.readline().strip()

    def truth(self):
        return json.loads(self.control("truth"))

    def cli(self, *args):
        env = dict(os.environ, KUBECONFIG=self.path("kubeconfig"))
        done = subprocess.run([os.path.join(self.bin, "kubectl-meshgate"), *args], env=env, capture_output=True, text=True, timeout=60,
                              check=False)
        return done.returncode, done.stdout + done.stderr

    def do(self, action):
        words = lang.words(action)
        if words[0] in ("pause", "resume", "approve"):
            code, text = self.cli(*words)
            if code != 0:
                raise lang.ScenarioFailed("kubectl meshgate %s: %s" % (action, text.strip()))
        elif action == "kill gate":
            self.gate_kills += 1
            self.processes["gate"].kill()
            self.processes["gate"].wait()
            time.sleep(1)
            self.start_gate()
        else:
            if words[0] == "node":
                # A node whose agent is silent: the process itself is stopped.
                agent = self.processes.get("agent-" + words[1])
                if agent:
                    agent.send_signal(signal.SIGSTOP if words[2] == "dark" else signal.SIGCONT)
            answer = self.control("do " + action)
            if answer != "ok":
                raise lang.ScenarioFailed("%s: %s" % (action, answer))
