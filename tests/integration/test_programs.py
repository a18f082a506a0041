"""Gate and agents as real processes: they find each other, survive each other, and say clearly what is wrong with bad input."""
import os
import socket
import ssl

import pytest

from mesh import Mesh, tool, until
from programs import Agent, Gate, Program, free_port, get

NODES = ["node-01", "node-02"]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("mesh"), nodes=2, namespaces=2, pods=8, replicas=1) as m:
        yield m


@pytest.fixture
def programs(tmp_path, mesh):
    """Start programs in a test; all of them must end well on SIGTERM."""
    started = []

    def start(kind, *args, **flags):
        p = kind(tmp_path, *args, **flags) if kind is Program else kind(tmp_path, mesh, *args, **flags)
        started.append(p)
        return p

    yield start
    codes = {p.log_path: p.stop() for p in reversed(started)}
    bad = {os.path.basename(k): v for k, v in codes.items() if v not in (0, 1, 2)}
    assert not bad, f"ended badly: {bad}"


def test_agents_are_accepted_and_read(programs):
    gate = programs(Gate).ready()
    for n in NODES:
        programs(Agent, gate, n).ready()
    until("both agents", lambda: gate.metric("meshgate_gate_agents") == 2)
    nodes = {n["name"]: n for n in gate.view("nodes")["nodes"]}
    assert set(NODES) <= set(nodes)
    assert all(nodes[n]["agent"] and nodes[n]["witness"] for n in NODES)
    until("reports of both", lambda: gate.metric("meshgate_gate_reports_total") >= 4)
    assert gate.metric("meshgate_gate_dropped_total") == 0


def test_agent_outlives_the_gate(programs):
    gate = programs(Gate).ready()
    agent = programs(Agent, gate, NODES[0]).ready()
    gate.kill()
    until("the agent notices", lambda: get(agent.admin_port, "/readyz")[0] == 503)
    again = programs(Gate, name="gate-again", agents_port=gate.agents_port).ready()
    agent.ready()
    assert again.metric("meshgate_gate_agents") == 1


def test_unreadable_kubeconfig(programs, tmp_path):
    gate = programs(Gate, kubeconfig="/nonexistent/config")
    assert gate.ended() == 1
    assert "/nonexistent/config" in gate.log() and "No such file" in gate.log()
    broken = tmp_path / "broken"
    broken.write_text("clusters: [{", encoding="utf-8")
    gate = programs(Gate, name="gate-broken", kubeconfig=str(broken))
    assert gate.ended() == 1
    assert str(broken) in gate.log()


def test_kubeconfig_with_another_ca(programs, mesh, tmp_path):
    text = open(f"{mesh.folder}/gate.kubeconfig", encoding="utf-8").read()
    import base64
    other = base64.b64encode(open(f"{mesh.folder}/istio-root.pem", "rb").read()).decode()
    line = [x for x in text.splitlines() if "certificate-authority-data" in x][0]
    path = tmp_path / "other-ca"
    path.write_text(text.replace(line, line.split(":")[0] + ": " + other), encoding="utf-8")
    gate = programs(Gate, kubeconfig=str(path))
    gate.says("certificate", 40)
    assert gate.runs()
    code, why = get(gate.admin_port, "/readyz")
    assert code == 503 and why.strip()


def test_kubeconfig_with_a_dead_token(programs, mesh, tmp_path):
    text = open(f"{mesh.folder}/gate.kubeconfig", encoding="utf-8").read()
    line = [x for x in text.splitlines() if "token:" in x][0]
    path = tmp_path / "dead-token"
    path.write_text(text.replace(line, line.split(":")[0] + ": nonsense"), encoding="utf-8")
    gate = programs(Gate, kubeconfig=str(path))
    gate.says("Unauthorized", 40)
    assert get(gate.admin_port, "/readyz")[0] == 503
    assert "nonsense" not in gate.log()


def test_agent_with_a_dead_token(programs, tmp_path):
    gate = programs(Gate).ready()
    dead = tmp_path / "token"
    dead.write_text("eyJhbGciOiJub25lIn0.e30.", encoding="utf-8")
    agent = programs(Agent, gate, NODES[0], **{"token-file": str(dead)})
    until("refused", lambda: get(agent.admin_port, "/readyz")[0] == 503 and "token" in get(agent.admin_port, "/readyz")[1])
    assert gate.metric("meshgate_gate_agents") == 0
    assert dead.read_text(encoding="utf-8") not in agent.log() + gate.log()


def test_agent_that_claims_another_node(programs, mesh):
    gate = programs(Gate).ready()
    liar = programs(Agent, gate, NODES[0], **{"token-file": f"{mesh.folder}/tokens/{NODES[1]}/meshgate"})
    liar.says("node", 30)
    until("refused with a reason", lambda: NODES[1] in get(liar.admin_port, "/readyz")[1])
    assert gate.metric("meshgate_gate_agents") == 0


def test_agent_with_another_ca_for_the_gate(programs, mesh):
    gate = programs(Gate).ready()
    agent = programs(Agent, gate, NODES[0], **{"gate-ca-file": f"{mesh.folder}/istio-root.pem"})
    until("said", lambda: "--gate-ca-file" in get(agent.admin_port, "/readyz")[1] + agent.log())
    assert gate.metric("meshgate_gate_agents") == 0


def test_agent_with_another_root_for_istiod(programs, mesh):
    gate = programs(Gate).ready()
    agent = programs(Agent, gate, NODES[0], **{"istio-root-file": f"{mesh.folder}/gate-ca.pem"})
    agent.says("--istio-root-file", 40)
    assert agent.runs()


@pytest.mark.parametrize("flag,value,says", [
    ("reading-period", "soon", "reading-period"), ("agents-address", "nonsense", "agents-address"), ("log-level", "loud", "log-level")])
def test_bad_flags_of_the_gate(programs, flag, value, says):
    gate = programs(Gate, **{flag: value})
    assert gate.ended() in (1, 2)
    assert says in gate.log() and value in gate.log()


def test_unknown_flag_names_the_nearest(programs, tmp_path):
    p = programs(Program, "typo", [tool("meshgate-agent"), "--node-nam=x"])
    assert p.ended() == 2
    assert "--node-name" in p.log()


def test_missing_certificate_of_the_gate(programs, tmp_path):
    gate = programs(Gate, **{"tls-cert": str(tmp_path / "none.crt")})
    assert gate.ended() == 1
    assert "none.crt" in gate.log()


def _throw(sock, total):
    chunk = os.urandom(65536)
    sent = 0
    try:
        while sent < total:
            sent += sock.send(chunk)
    except OSError:
        pass
    finally:
        sock.close()
    return sent


def test_ten_megabytes_of_garbage(programs):
    """Plain and inside TLS; the gate goes on and still takes agents."""
    gate = programs(Gate).ready()
    with socket.create_connection(("127.0.0.1", gate.agents_port), timeout=10) as plain:
        _throw(plain, 10 << 20)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    raw = socket.create_connection(("127.0.0.1", gate.agents_port), timeout=10)
    _throw(context.wrap_socket(raw, server_hostname="meshgate.istio-system.svc"), 10 << 20)
    assert gate.runs()
    programs(Agent, gate, NODES[0]).ready()
    assert gate.metric("meshgate_gate_agents") == 1


def test_port_in_use(programs):
    gate = programs(Gate).ready()
    second = programs(Gate, name="gate-second", agents_port=gate.agents_port)
    assert second.ended() == 1
    assert str(gate.agents_port) in second.log()
    assert gate.runs()


def test_gate_without_anybody_listening(programs, mesh):
    class Nowhere:
        agents_port = free_port()

    agent = programs(Agent, Nowhere, NODES[0])
    until("says so", lambda: "gate" in get(agent.admin_port, "/readyz")[1] and get(agent.admin_port, "/readyz")[0] == 503)
    assert agent.runs()
