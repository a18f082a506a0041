"""What kubectl-meshgate shows of the mesh: proxies, explain, istiods, check, coverage; with no MeshUpgrade at all and several."""
import json
import os
import pty
import re
import struct
import subprocess
import sys
import fcntl
import termios

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_bench import DONE, ERROR, HELD, PROGRAM, USAGE, make_bench, read_terminal  # noqa: E402,F401
from cli_data import check_of, coverage, explained, gate_path, proxies, revisions, upgrade  # noqa: E402


def on_terminal(bench, columns, *args):
    """What the program writes to a terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    done = subprocess.Popen([PROGRAM, *args], env=bench.env, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    seen = read_terminal(master)
    done.stderr.close()
    done.wait(timeout=60)
    return seen.decode().replace("\r\n", "\n")


# ---- proxies ----

def test_proxies_table(bench):
    bench.serve(proxies=proxies())
    out = bench.run("proxies").stdout.splitlines()
    assert out[0].split() == ["NAMESPACE", "POD", "OWNER", "STATE", "REASON", "AGE", "EXPECTED", "ATTACHED"]
    assert [line.split()[0:2] for line in out[1:7]] == [["app-07", "web-2"], ["bank", "lonely"], ["rest", "job-1"],
                                                        ["rest", "web-3"], ["shop", "lonely"], ["shop", "web-1"]]
    assert out[4].split() == ["rest", "web-3", "deploy/web", "NotStarted", "WaveNotBegun", "2m", "canary", "old"]
    assert out[-1] == "6 proxies: Nacking 1, RestartPending 2, Uninjected 1, NotStarted 1, Moved 1"
    column = out[0].index("STATE")
    assert all(line[column - 1] == " " and line[column] != " " for line in out[1:7])
    wide = bench.run("proxies", "-o", "wide").stdout.splitlines()
    assert wide[0].split()[-4:] == ["REPLICA", "XDS", "CONFIG", "VERSION"]
    assert wide[1].split()[-4:] == ["istiod-old-0", "LDS:Error", "Matches", "1.29.6"]
    assert wide[6].split()[-5:] == ["istiod-old-0", "CDS", "LDS", "Matches", "1.29.6"]
    assert [c["args"][-1] for c in bench.calls()] == [gate_path("proxies")] * 2


@pytest.mark.parametrize("upgrades", [0, 1, 2])
def test_the_whole_mesh_is_shown_whatever_upgrades_there_are(bench, upgrades):
    bench.serve(*[upgrade(f"u{i}") for i in range(upgrades)], proxies=proxies())
    assert "6 proxies" in bench.run("proxies").stdout


def test_proxies_of_one_upgrade(bench):
    objects = {gate_path("proxies?upgrade=to-1-30"): proxies("to-1-30")}
    bench.put("objects.json", objects)
    for args in (["proxies", "to-1-30"], ["proxies", "--upgrade", "to-1-30"]):
        assert json.loads(bench.run(*args, "-o", "json").stdout) == {
            "upgrade": "to-1-30", "proxies": sorted(proxies()["proxies"], key=lambda p: (p["namespace"], p["pod"]))}
    bench.serve(upgrade("other"))
    assert bench.run("proxies", "nosuch", code=ERROR).stderr.startswith(
        'error: there is no MeshUpgrade "nosuch"; there is: other (Moving)\n')


def test_stuck_proxies_and_what_to_do(bench):
    bench.serve(proxies=proxies())
    out = bench.run("proxies", "--stuck").stdout
    assert "web-1 " not in out and "web-3" not in out and "job-1" not in out
    assert "3 of 6 proxies: Nacking 1, RestartPending 2" in out
    assert ("What to do:\n  BarePod (2, owner): a bare pod: nothing re-creates it\n    > delete and create it again yourself\n"
            "  Nack (1, platform): rejects its configuration\n      istiod says: Error adding ?[31mlistener\n"
            "    > read istiod's error text\n") in out


@pytest.mark.parametrize("flags,pods", [
    (["--state", "NotStarted"], ["web-3"]), (["--state", "not-started,MOVED"], ["web-3", "web-1"]),
    (["--reason", "bare_pod,Nack"], ["web-2", "lonely", "lonely"]), (["-n", "shop"], ["lonely", "web-1"]),
    (["-n", "shop,bank", "--stuck"], ["lonely", "lonely"]), (["--node", "node-07"], ["web-2"]),
    (["--owner", "deploy/web"], ["web-2", "web-3", "web-1"]), (["--owner", "CronJob/job,lonely"], ["lonely", "job-1", "lonely"]),
    (["--owner", "sts/web"], []), (["--revision", "canary"], ["web-1"]), (["--revision", "none"], ["job-1"]),
    (["--type", "gateway,ztunnel"], ["job-1"]), (["--state", "Moved", "--revision", "old"], []),
])
def test_proxies_filters(bench, flags, pods):
    bench.serve(proxies=proxies())
    assert [p["pod"] for p in json.loads(bench.run("proxies", *flags, "-o", "json").stdout)["proxies"]] == pods
    text = bench.run("proxies", *flags).stdout
    assert text.startswith("NAMESPACE" if pods else "No proxy matches. There are 6: Moved 1, ")


def test_nothing_is_stuck_and_nothing_is_there(bench):
    view = proxies()
    view["proxies"] = view["proxies"][:1]
    bench.serve(proxies=view)
    assert bench.run("proxies", "--stuck").stdout == "No proxy is stuck. There are 1: Moved 1\n"
    bench.serve(proxies={"upgrade": None, "proxies": []})
    assert bench.run("proxies").stdout == "The gate knows no proxies.\n"


@pytest.mark.parametrize("command", [["proxies"], ["explain", "a/b"], ["istiods"], ["check"], ["coverage"]])
def test_when_the_gate_cannot_be_asked(bench, command):
    bench.put("fail", "Error from server (ServiceUnavailable): no endpoints available for service")
    err = bench.run(*command, "--gate-namespace", "mesh", code=ERROR).stderr
    assert "can't ask the gate (Service meshgate in namespace mesh, see --gate-namespace)" in err
    assert "  kubectl: Error from server (ServiceUnavailable)" in err
    assert bench.calls()[-1]["args"][-1].startswith(gate_path("", "mesh"))
    os.unlink(bench.folder / "fail")
    for garbage in ("<html>", "[]", "{}", '{"a": 1, "a": 2}'):
        bench.put("garbage", garbage)
        bench.serve(proxies=1, **{"explain?namespace=a&pod=b": 1, "revisions": 1, "check": 1, "coverage": 1})
        assert bench.run(*command, code=ERROR).stderr.startswith("error: ")


def test_a_narrow_terminal_shows_what_matters_most(bench):
    bench.serve(proxies=proxies())
    assert "OWNER" in on_terminal(bench, 120, "proxies").splitlines()[0]
    narrow = on_terminal(bench, 66, "proxies", "--stuck")
    assert narrow.splitlines()[0].split() == ["NAMESPACE", "POD", "STATE", "REASON", "AGE", "ATTACHED"]
    assert narrow.endswith("(OWNER, EXPECTED left out to fit this terminal; -o wide shows all)\n")
    assert max(map(len, narrow.splitlines())) <= 66


def test_twenty_thousand_proxies(bench):
    one = proxies()["proxies"][0]
    bench.serve(proxies={"upgrade": None, "proxies": [dict(one, pod=f"web-{i:05}") for i in range(20000)]})
    out = bench.run("proxies", "--state", "Moved").stdout
    assert out.endswith("\n20000 proxies: Moved 20000\n") and len(out.splitlines()) == 20003


def test_output_that_cannot_be_written(bench):
    one = proxies()["proxies"][0]
    bench.serve(proxies={"upgrade": None, "proxies": [dict(one, pod=f"web-{i:05}") for i in range(3000)]})
    left = subprocess.Popen([PROGRAM, "proxies"], env=bench.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    left.stdout.close()  # a pager that was left
    assert left.wait(timeout=60) == DONE and left.stderr.read() == b""
    left.stderr.close()
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "proxies"], env=bench.env, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == ERROR and b"can't write the output: No space left on device" in done.stderr


# ---- explain ----

@pytest.mark.parametrize("args", [["app-07/web-2"], ["proxy", "app-07/web-2"], ["web-2", "-n", "app-07"]])
def test_explain(bench, args):
    bench.serve(**{"explain?namespace=app-07&pod=web-2": explained()})
    out = bench.run("explain", *args).stdout
    assert out.startswith("Proxy:    app-07/web-2, sidecar, Deployment/web, on node-07\n"
                          "State:    Nacking for 2m: attached, but rejects a configuration\n"
                          "Reason:   Nack (Fail): rejects its configuration\n"
                          "Whose:    of who runs the control planes\n"
                          "Remedy:   read istiod's error text\n"
                          "Rule:     expected on and injected by canary; the control plane's word decides: ")
    assert "\nnode           never  no agent is heard from node-07\n" in out
    assert "  types:                   CDS Synced, LDS Error\n" in out
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 100
    assert json.loads(bench.run("explain", *args, "-o", "json").stdout) == explained()


def test_explain_of_an_unknown_pod(bench):
    bench.serve()
    assert bench.run("explain", "shop/nosuch", code=ERROR).stderr.startswith(
        "error: the gate knows no proxy shop/nosuch: no such pod, or one that has none and shall have none; "
        "kubectl meshgate proxies -n shop lists them\n")


# ---- istiods ----

def test_istiods(bench):
    bench.serve(revisions=revisions())
    out = bench.run("istiods").stdout
    assert re.search(r"^canary +1\.30\.3 +- +yes +1/1 +40 +0$", out, re.M)
    assert re.search(r"^old +1\.29\.6 +default +yes +2/2 +80 +3$", out, re.M)
    assert re.search(r"^canary +istiod-canary-a +yes +- +- +never +1m +40 +0 +0$", out, re.M)
    assert re.search(r"^old +istiod-old-b +yes +node-02 +node-04 +3s +1m +40 +0 +1$", out, re.M)
    assert "istiod-old-a: connections: Timeout: no ?word\n" in out
    assert "istiod-old-b: pushes are locked in namespace shop for 30s: web-1.shop\n" in out
    assert "old: 3 proxies run another version than its istiods" in out
    assert max(map(len, out.splitlines())) <= 120
    assert re.search(r"^old +istiod-old-b .* 1\.29\.6 +41 +0 +1234k +99 +node-01 +- +10\.0\.0\.1$",
                     bench.run("istiods", "-o", "wide").stdout, re.M)
    assert json.loads(bench.run("istiods", "-o", "json").stdout) == revisions()
    bench.serve(revisions={"revisions": []})
    assert bench.run("istiods").stdout == "The gate knows no control plane.\n"


# ---- check ----

@pytest.mark.parametrize("results,code,mark", [
    (["ok", "ok"], DONE, "[ok]"), (["ok", "warn"], DONE, "[ok]"), (["ok", "fail", "unknown"], HELD, "[FAIL]"),
    (["ok", "unknown"], HELD, "[?]"), (["ok", "new-word"], HELD, "[?]"), ([], HELD, "[?]"),
])
def test_check(bench, results, code, mark):
    bench.serve(check=check_of(*results))
    bench.env.update(LC_ALL="C")
    out = bench.run("check", code=code).stdout
    assert out.startswith("agents\n------\n") and f"\nStatus check results are {mark} (" in out
    assert "\x1b" not in out and out.isascii()
    assert json.loads(bench.run("check", "-o", "json", code=code).stdout) == check_of(*results)
    for i, result in enumerate(results):
        assert (f"hint {i}" in out) == (result != "ok")


def test_check_on_a_terminal_that_can_show_signs(bench):
    bench.serve(check=check_of("ok", "fail"))
    bench.env.update(LC_ALL="", LC_CTYPE="C.UTF-8")
    out = bench.run("check", code=HELD).stdout
    assert "\u221a line 0 ?[2J\n\u00d7 line 1 ?[2J\n      hint 1\n" in out and "Status check results are \u00d7 (" in out


# ---- coverage ----

def test_coverage(bench):
    bench.serve(coverage=coverage())
    out = bench.run("coverage").stdout
    assert re.search(r"^cluster +Kubernetes +30 +28 +30 +30 +28 +4s$", out, re.M)
    assert re.search(r"^wave +first +10 +10 +10 +10 +10 +4s$", out, re.M)
    assert re.search(r"^namespace +bank +10 +8 +10 +10 +8 +4s$", out, re.M)
    assert "namespace  shop" not in out and "2 namespaces in which every proxy is heard" in out
    assert re.search(r"^namespace +shop +20 ", bench.run("coverage", "-o", "wide").stdout, re.M)
    assert json.loads(bench.run("coverage", "-o", "json").stdout) == coverage()


# ---- usage ----

@pytest.mark.parametrize("args,text", [
    (["proxies", "--state", "Gone"], 'there is no state "Gone"\n  there are: Unknown, NotStarted, '),
    (["proxies", "--reason", "x\x1b[2J"], 'there is no reason "x?[2J"\n  there are: PausedByRequest, '),
    (["proxies", "--reason", "x"], "UnheardTolerated\n"),
    (["proxies", "--type", "envoy"], "there are: sidecar, gateway, waypoint, ztunnel"),
    (["proxies", "--owner", ","], "--owner: the list has an empty item"), (["proxies", "-o", "yaml"], "must be table, wide or json"),
    (["explain"], "explain needs a pod: kubectl meshgate explain NS/POD"), (["explain", "web-2"], "in which namespace is web-2?"),
    (["explain", "a/b?c"], "cannot be the name of a pod"), (["explain", "a&x=1/b"], "cannot be the name of a namespace"),
    (["explain", "a/b", "-n", "c"], "two namespaces are named"), (["istiods", "x"], 'unexpected argument "x"'),
    (["check", "--stuck"], "--stuck is a flag of proxies"), (["coverage", "-n", "a"], "--namespace is a flag of proxies and explain"),
])
def test_usage_errors(bench, args, text):
    assert text in bench.run(*args, code=USAGE).stderr
    assert not bench.calls()
