"""A folder that the stand-in for kubectl serves, and kubectl-meshgate run against it."""
import json
import os
import select
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from cli_data import UPGRADES, gate_path  # noqa: E402

BUILD = os.environ.get("MESHGATE_BUILD", os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "dev"))
PROGRAM = os.path.join(BUILD, "bin", "kubectl-meshgate")
DONE, ERROR, USAGE, HELD, PROGRESS = 0, 1, 2, 3, 4


def read_terminal(master):
    """All that is written to the other end of a pseudo-terminal until that is closed; this end is closed."""
    seen = b""
    while select.select([master], [], [], 60)[0]:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    return seen


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.env = dict(os.environ, FAKE_KUBECTL_DIR=str(folder), MESHGATE_KUBECTL=os.path.join(HERE, "fake_kubectl.py"))

    def put(self, name, content):
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def serve(self, *upgrades, **views):
        """views: what the gate answers, by the last word of the path (proxies="..." for /api/v1/proxies)."""
        objects = {f"{UPGRADES}/{u['metadata']['name']}": u for u in upgrades}
        objects.update({gate_path(what): view for what, view in views.items()})
        self.put("objects.json", objects)

    def run(self, *args, code=DONE):
        done = subprocess.run([PROGRAM, *args], env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def calls(self):
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stored(self, name="to-1-30"):
        return json.loads((self.folder / "objects.json").read_text())[f"{UPGRADES}/{name}"]


@pytest.fixture(name="bench")
def make_bench(tmp_path):
    return Bench(tmp_path)
