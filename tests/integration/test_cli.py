"""kubectl-meshgate against a stand-in for kubectl: every command, every exit code, every way in which kubectl can fail."""
import json
import os
import pty
import re
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_bench import DONE, ERROR, HELD, PROGRAM, PROGRESS, USAGE, make_bench, read_terminal  # noqa: E402,F401
from cli_data import UPGRADES, upgrade  # noqa: E402


# ---- status ----

@pytest.mark.parametrize("phase,code", [("Completed", DONE), ("Moving", PROGRESS), ("Soaking", PROGRESS), ("Paused", HELD),
                                        ("Hold", HELD), ("AwaitingApproval", HELD)])
def test_status_exit_codes(bench, phase, code):
    bench.serve(upgrade(phase=phase))
    assert phase in bench.run("status", code=code).stdout


def test_status_of_an_upgrade_that_the_gate_has_not_seen(bench):
    u = upgrade()
    del u["status"]
    bench.serve(u)
    assert "the gate has not looked at this upgrade yet" in bench.run("status", code=HELD).stdout


def test_completed_but_changed_since_is_not_done(bench):
    bench.serve(upgrade(phase="Completed", observedGeneration=1))
    assert "the spec was changed" in bench.run("status", code=PROGRESS).stdout


def test_status_shows_waves_reasons_and_remedies(bench):
    bench.serve(upgrade())
    out = bench.run("status", "to-1-30", code=PROGRESS).stdout
    assert "from old to canary" in out
    assert "Moving, wave east (2 of 3)" in out
    assert "[#######-------------] 35%  140 of 400 proxies moved, 398 heard\n" in out
    assert "Relabelled: 14 of 40 namespaces\n" in out
    assert "States:     Moved 140, NotStarted 240, Syncing 18, Nacking 2\n" in out
    assert re.search(r"^canary +Done +4/4 +40/40 +\[#{20}\] 100% +took 16m$", out, re.M)
    assert re.search(r"^rest +Pending +0/22 +0/220 +\[-{20}\] +0% +will need approval$", out, re.M)
    assert "Fail    Nack (7): rejects its configuration" in out
    assert "app-07/web-4" in out and "app-07/web-5" not in out and "and 2 more" in out
    assert "> read istiod's error text" in out
    assert "\x1b" not in out and "?[31mbad filter" in out
    wide = bench.run("status", "-o", "wide", code=PROGRESS).stdout
    assert "app-07/web-5" in wide and "and 1 more" in wide
    assert re.search(r"^Healthy +False +\S+ +Nack +2 proxies reject$", wide, re.M)


def test_status_names_the_hold_and_how_to_end_it(bench):
    bench.serve(upgrade(phase="Paused", hold={"id": 3, "active": True, "reason": "Nack", "since": "2026-11-23T07:20:00Z"}))
    assert re.search(r"^Held: +Nack, since \S+; once mended: kubectl meshgate resume to-1-30$",
                     bench.run("status", code=HELD).stdout, re.M)


def test_status_as_json_is_the_object(bench):
    bench.serve(upgrade())
    assert json.loads(bench.run("status", "-o", "json", code=PROGRESS).stdout) == upgrade()


def test_status_as_yaml(bench):
    bench.serve(upgrade())
    out = bench.run("status", "-o", "yaml", code=PROGRESS).stdout
    assert out.startswith("apiVersion: meshgate.io/v1alpha1\nkind: MeshUpgrade\nmetadata:\n  name: to-1-30\n")
    assert "  - name: rest\n    namespaces:\n      percent: 100\n    approval: Manual\n" in out
    assert '  startedAt: "2026-11-23T07:00:00Z"\n' in out and "\x1b" not in out


def test_flags_are_handed_to_kubectl(bench):
    bench.serve(upgrade())
    bench.run("status", "to-1-30", "--kubeconfig", "/some/where", "--context=prod", code=PROGRESS)
    assert [c["args"] for c in bench.calls()] == [["--kubeconfig", "/some/where", "--context", "prod", "get", "--raw",
                                                   UPGRADES + "/to-1-30"]]


# ---- which upgrade ----

@pytest.mark.parametrize("command", [["status"], ["watch"], ["pause"], ["resume"], ["approve", "rest"]])
def test_several_upgrades_are_listed(bench, command):
    bench.serve(upgrade("a"), upgrade("b", phase="Completed"))
    done = bench.run(*command, code=USAGE)
    assert done.stderr == "error: there are several MeshUpgrades, name one: a (Moving), b (Completed)\n"
    assert not [c for c in bench.calls() if "replace" in c["args"]]


def test_no_upgrade_and_unknown_upgrade(bench):
    bench.serve()
    assert "there is no MeshUpgrade in this cluster" in bench.run("status", code=ERROR).stderr
    bench.serve(upgrade())
    assert bench.run("status", "x", code=ERROR).stderr == \
        'error: there is no MeshUpgrade "x"; there is: to-1-30 (Moving)\n'


def test_missing_crd_says_how_to_install(bench):
    bench.put("nocrd", "1")
    err = bench.run("status", code=ERROR).stderr
    assert "kubectl apply -k deploy/crd" in err and "  kubectl: Error from server (NotFound)" in err


# ---- kubectl fails ----

def test_words_of_kubectl_are_shown_with_context(bench):
    bench.put("fail", "The connection to the server 127.0.0.1:1 was refused\nsecond \x1b[2Jline")
    err = bench.run("status", "u", code=ERROR).stderr
    assert err == ("error: can't read MeshUpgrade u: kubectl get --raw /apis/meshgate.io/v1alpha1/meshupgrades/u failed "
                   "(exit code 1)\n  kubectl: The connection to the server 127.0.0.1:1 was refused\n"
                   "  kubectl: second ?[2Jline\n")


def test_no_kubectl_at_all(bench):
    bench.env["MESHGATE_KUBECTL"] = "/nowhere/kubectl"
    assert "can't run /nowhere/kubectl: No such file or directory; install kubectl or set MESHGATE_KUBECTL" in \
        bench.run("status", code=ERROR).stderr


def test_request_timeout_ends_kubectl(bench):
    bench.put("sleep", "50")
    assert "no answer within 300 ms" in bench.run("status", "--request-timeout", "300ms", code=ERROR).stderr


@pytest.mark.parametrize("garbage", ["<html>", '{"items": 7}', '{"a": 1, "a": 2}', "[]"])
def test_garbage_is_an_error(bench, garbage):
    bench.serve(upgrade())
    bench.put("garbage", garbage)
    assert bench.run("status", code=ERROR).stderr.startswith("error: ")


def test_large_input_and_output(bench):
    u = upgrade()
    u["spec"]["ballast"] = "x" * 3_000_000
    bench.serve(u)
    bench.run("pause")
    assert len(bench.stored()["spec"]["ballast"]) == 3_000_000 and bench.stored()["spec"]["paused"] is True


# ---- pause, resume, approve ----

def test_pause_and_resume(bench):
    bench.serve(upgrade())
    assert bench.run("pause").stdout == "to-1-30 paused: nothing more is written until resume\n"
    assert bench.stored()["spec"]["paused"] is True
    write = bench.calls()[-1]
    assert write["args"] == ["replace", "--raw", UPGRADES + "/to-1-30", "-f", "-"]
    assert json.loads(write["body"])["metadata"]["resourceVersion"] == "100"
    assert bench.run("pause", "to-1-30").stdout == "to-1-30 was paused already\n"
    assert bench.run("resume").stdout == "to-1-30 resumed\n"
    assert bench.stored()["spec"]["paused"] is False and "resumeHold" not in bench.stored()["spec"]
    assert bench.run("resume").stdout == "to-1-30 is not paused: nothing to resume\n"


def test_resume_acknowledges_the_active_hold(bench):
    bench.serve(upgrade(phase="Paused", hold={"id": 7, "active": True, "reason": "Nack", "since": "2026-11-23T07:20:00Z"}))
    assert json.loads(bench.run("resume", "-o", "json").stdout)["spec"]["resumeHold"] == 7
    assert bench.stored()["spec"]["resumeHold"] == 7 and bench.stored()["spec"]["paused"] is False
    assert "nothing to resume" in bench.run("resume").stdout
    bench.serve(upgrade(hold={"id": 7, "active": False, "reason": "Nack"}))
    bench.run("resume")
    assert "resumeHold" not in bench.stored()["spec"]


@pytest.mark.parametrize("args", [["rest"], ["to-1-30", "rest"]])
def test_approve(bench, args):
    bench.serve(upgrade())
    assert bench.run("approve", *args).stdout == "to-1-30: wave rest approved\n"
    assert bench.stored()["spec"]["approvedWaves"] == ["rest"]
    assert bench.run("approve", *args).stdout == "to-1-30: wave rest was approved already\n"
    assert bench.stored()["spec"]["approvedWaves"] == ["rest"]


def test_approve_of_an_unknown_wave_lists_them(bench):
    bench.serve(upgrade())
    assert bench.run("approve", "west", code=ERROR).stderr == 'error: to-1-30 has no wave "west"; its waves: canary, east, rest\n'
    assert not [c for c in bench.calls() if "replace" in c["args"]]


def test_conflicts_are_read_again_and_tried_again(bench):
    bench.serve(upgrade())
    bench.put("conflicts", "4")
    bench.run("approve", "to-1-30", "rest")
    spec = bench.stored()["spec"]
    assert spec["approvedWaves"] == ["rest"] and spec["note"] == "somebody else was here"
    assert len([c for c in bench.calls() if "replace" in c["args"]]) == 5
    assert len([c for c in bench.calls() if "get" in c["args"]]) == 5


def test_endless_conflicts_are_given_up(bench):
    bench.serve(upgrade())
    bench.put("conflicts", "100")
    err = bench.run("pause", code=ERROR).stderr
    assert "gave up after 5 tries" in err and "kubectl: Error from server (Conflict)" in err
    assert len([c for c in bench.calls() if "replace" in c["args"]]) == 5
    assert bench.stored()["spec"]["paused"] is False


# ---- watch ----

def story():
    return [upgrade(phase="Moving"), upgrade(phase="Moving"), upgrade(phase="Soaking"), upgrade(phase="Completed", verdict="Pass")]


def test_watch_prints_a_line_a_change(bench):
    bench.put("script.json", story())
    lines = bench.run("watch", "--interval", "100ms").stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["Moving", "Soaking", "Completed"]
    assert lines[0].endswith("Moving Wait wave=east (2/3) 100/140 moved total=140/400 reasons: Fail Nack(7), Wait Soaking(1)")


def test_watch_as_json_is_an_object_a_line(bench):
    bench.put("script.json", story())
    lines = bench.run("watch", "--interval", "100ms", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["status"]["phase"] for line in lines] == ["Moving", "Soaking", "Completed"]


@pytest.mark.parametrize("phase,code", [("Moving", PROGRESS), ("AwaitingApproval", HELD)])
def test_watch_timeout(bench, phase, code):
    bench.serve(upgrade(phase=phase))
    bench.run("watch", "--interval", "100ms", "--timeout", "250ms", code=code)


def test_watch_goes_on_while_held_unless_told_otherwise(bench):
    held = [upgrade(phase="Paused"), upgrade(phase="Completed")]
    bench.put("script.json", held)
    bench.run("watch", "--interval", "100ms", code=DONE)
    bench.put("script.json", held)
    bench.run("watch", "--interval", "100ms", "--until-held", code=HELD)


def test_watch_survives_errors_but_not_for_ever(bench):
    bench.put("script.json", story())
    bench.put("flaky", "0")
    u = subprocess.Popen([PROGRAM, "watch", "to-1-30", "--interval", "1s"], env=bench.env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    assert "Moving" in u.stdout.readline()
    bench.put("flaky", "2")
    out, err = u.communicate(timeout=60)
    assert u.returncode == DONE, err
    assert "Completed" in out and err.count("trying again: can't read MeshUpgrade to-1-30") == 2
    bench.serve(upgrade())
    os.unlink(bench.folder / "script.json")
    u = subprocess.Popen([PROGRAM, "watch", "--interval", "300ms"], env=bench.env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    assert "Moving" in u.stdout.readline()
    bench.put("fail", "Unable to connect to the server")
    out, err = u.communicate(timeout=60)
    assert u.returncode == ERROR and err.count("trying again") == 4 and "kubectl: Unable to connect" in err


def test_watch_ends_when_the_upgrade_is_deleted(bench):
    bench.put("script.json", [upgrade(), None])
    assert "to-1-30 was deleted" in bench.run("watch", "--interval", "100ms", code=ERROR).stderr


def test_watch_redraws_on_a_terminal(bench):
    bench.put("script.json", story())
    master, slave = pty.openpty()
    u = subprocess.Popen([PROGRAM, "watch", "--interval", "100ms"], env=dict(bench.env, TERM="xterm"), stdout=slave,
                         stderr=subprocess.PIPE)
    os.close(slave)
    seen = read_terminal(master)
    assert u.wait(timeout=60) == DONE, u.stderr.read()
    u.stderr.close()
    frames = re.split(rb"\x1b\[\d+A\r", seen)
    assert len(frames) == 4
    assert b"\x1b[2J" not in seen
    assert all(frame.endswith(b"\x1b[J") for frame in frames)
    assert b"Completed" in frames[-1] and b"Soaking" in frames[-2]
    for line in frames[0].split(b"\r\n"):
        assert len(re.sub(rb"\x1b\[[0-9]*[A-Z]", b"", line)) < 80


# ---- usage ----

@pytest.mark.parametrize("args,text", [
    ([], "no command"), (["stauts"], 'unknown command "stauts"'), (["status", "a", "b"], 'unexpected argument "b"'),
    (["approve"], "approve needs a wave"), (["status", "-o", "xml"], "must be table, wide, json or yaml"),
    (["watch", "-o", "yaml"], "must be table, wide or json"),
    (["status", "--stuck"], "--stuck is a flag of proxies"), (["proxies", "--timeout", "1s"], "--timeout is a flag of watch"),
    (["status", "../x"], "cannot be the name"), (["status", "a?b"], "cannot be the name"),
    (["proxies", "--gate-namespace", "a/b"], "cannot be the name of a namespace"),
    (["proxies", "a", "--upgrade", "b"], "two upgrades are named"), (["status", "--kubecontext", "x"], "unknown flag"),
    (["status", "--request-timeout", "5"], "must be a duration"),
])
def test_usage_errors(bench, args, text):
    assert text in bench.run(*args, code=USAGE).stderr
    assert not bench.calls()


def test_help_and_version(bench):
    for args in (["help"], ["--help"], ["status", "-h"]):
        out = bench.run(*args).stdout
        for word in ("status [UPGRADE]", "explain NS/POD", "istiods", "check", "coverage", "--reason REASON", "approve [UPGRADE] WAVE", "--stuck", "[$MESHGATE_KUBECTL]"):
            assert word in out
        for code in range(5):
            assert re.search(rf"^  {code}  ", out, re.M)
        assert max(map(len, out.splitlines())) <= 100
    assert re.fullmatch(r"kubectl-meshgate \d+\.\d+\.\d+\n", bench.run("version").stdout)
    assert bench.run("--version").stdout == bench.run("version").stdout
    assert not bench.calls()
