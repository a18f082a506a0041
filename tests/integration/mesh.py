"""The embedded mesh as a process for integration tests: starts meshgate-sim, one at a time on this machine, and ends it."""
import fcntl
import os
import re
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOCK = os.path.join(tempfile.gettempdir(), "meshgate-embedded-mesh.lock")


def tool(name):
    return os.path.join(os.environ.get("MESHGATE_BUILD") or os.path.join(ROOT, "build", "dev"), "bin", name)


def until(what, fn, seconds=30, pause=0.05):
    """The first true value of fn; fails when it takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = fn()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


class Mesh:
    def __init__(self, folder, **numbers):
        self.folder, self.numbers = str(folder), numbers
        self.process = self.lock = None

    def __enter__(self):
        # Its fixed addresses on 127/8 exist once a machine.
        self.lock = open(LOCK, "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        flags = [f"--{k}={v}" for k, v in self.numbers.items()]
        self.log = os.path.join(self.folder, "mesh.log")
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([tool("meshgate-sim"), "mesh", "--dir", self.folder, *flags], stdout=log, stderr=log)
        until("the embedded mesh", self._ready, 60)
        with open(os.path.join(self.folder, "kubeconfig"), encoding="utf-8") as f:
            text = f.read()
        self.server = re.search(r"server: (\S+)", text).group(1)
        self.ca_data = re.search(r"certificate-authority-data: (\S+)", text).group(1)
        self.admin_token = re.search(r"token: (\S+)", text).group(1)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8") as f:
                raise AssertionError(f"meshgate-sim ended: {f.read()[-800:]}")
        return os.path.exists(os.path.join(self.folder, "ready"))

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.lock.close()

    def do(self, action):
        """One action of the scenario language; raises what the mesh says against it."""
        self.say(f"do {action}")

    def say(self, line):
        """One line to the mesh's control socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.folder, "control"))
            s.sendall(f"{line}\n".encode())
            answer = s.makefile().readline().strip()
        assert answer == "ok", answer
