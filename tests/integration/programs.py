"""The gate and agents as processes over loopback TLS, on an embedded mesh."""
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

from mesh import tool, until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    """(status, text) of the admin port; (0, why) when nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError as e:
        return 0, str(e)


class Program:
    """One process with its log; ended with the test."""

    def __init__(self, folder, name, argv, env=None):
        self.killed = False
        self.log_path = os.path.join(str(folder), name + ".log")
        self.log_file = open(self.log_path, "w", encoding="utf-8")
        self.process = subprocess.Popen(argv, stdout=self.log_file, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})))

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def records(self):
        """Its log lines; a line that is no JSON would be a defect of its own."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def says(self, text, seconds=30):
        until(f"{text!r} in {self.log_path}", lambda: text in self.log(), seconds)

    def runs(self):
        return self.process.poll() is None

    def ended(self, seconds=20):
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM; the exit code. A sanitizer's finding is an exit code of its own."""
        if self.runs():
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log_file.close()
        return 0 if self.killed else self.process.returncode

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()
        self.log_file.close()


class Gate(Program):
    def __init__(self, folder, mesh, name="gate", **flags):
        d = mesh.folder
        self.agents_port, self.admin_port = flags.pop("agents_port", None) or free_port(), free_port()
        options = {"kubeconfig": f"{d}/gate.kubeconfig", "agents-address": f"127.0.0.1:{self.agents_port}", "tls-cert": f"{d}/gate.crt",
                   "tls-key": f"{d}/gate.key", "admin-address": f"127.0.0.1:{self.admin_port}", "reading-period": "500ms",
                   "idle-period": "1s", **flags}
        super().__init__(folder, name, [tool("meshgate"), *[f"--{k}={v}" for k, v in options.items()]])

    def ready(self, seconds=60):
        until(f"the gate is ready: {get(self.admin_port, '/readyz')}", lambda: get(self.admin_port, "/readyz")[0] == 200, seconds)
        return self

    def view(self, what):
        code, text = get(self.admin_port, f"/api/v1/{what}")
        assert code == 200, f"{what}: {code} {text}"
        return json.loads(text)

    def metric(self, name):
        """Sum of a metric's series."""
        lines = get(self.admin_port, "/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


class Agent(Program):
    def __init__(self, folder, mesh, gate, node, **flags):
        d = mesh.folder
        self.admin_port = free_port()
        options = {"node-name": node, "gate-address": f"127.0.0.1:{gate.agents_port}", "gate-server-name": "meshgate.istio-system.svc",
                   "gate-ca-file": f"{d}/gate-ca.pem", "token-file": f"{d}/tokens/{node}/meshgate",
                   "istio-token-file": f"{d}/tokens/{node}/istio", "istio-root-file": f"{d}/istio-root.pem",
                   "proc-root": f"{d}/proc/{node}", "admin-address": f"127.0.0.1:{self.admin_port}", "pod-ip": "127.0.0.1",
                   "question-timeout": "2s", **flags}
        super().__init__(folder, f"agent-{node}", [tool("meshgate-agent"), *[f"--{k}={v}" for k, v in options.items()]])

    def ready(self, seconds=60):
        until(f"the agent is ready: {get(self.admin_port, '/readyz')}", lambda: get(self.admin_port, "/readyz")[0] == 200, seconds)
        return self
