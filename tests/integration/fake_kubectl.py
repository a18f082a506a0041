#!/usr/bin/env python3
"""Stands in for kubectl in test_cli.py: serves the files of a folder and writes down how it was called.

FAKE_KUBECTL_DIR holds objects.json {path: object}; calls.jsonl is what was asked. Optional files:
  conflicts   number of writes that still fail with Conflict (each one bumps the resourceVersion)
  fail        text for stderr; every call fails with it
  flaky       number of reads that still fail
  sleep       seconds before any answer
  script.json list of objects: each read of a MeshUpgrade answers with the next, the last one stays
FAKE_KUBECTL_GATE, when set, is the port of a gate that is asked what is asked of the gate.
"""
import json
import os
import sys
import time
import urllib.error
import urllib.request

DIR = os.environ["FAKE_KUBECTL_DIR"]


def read(name, default=None):
    path = os.path.join(DIR, name)
    if not os.path.exists(path):
        return default
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(name, text):
    with open(os.path.join(DIR, name), "w", encoding="utf-8") as f:
        f.write(text)


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def count_down(name):
    left = int(read(name, "0"))
    if left > 0:
        write(name, str(left - 1))
    return left > 0


def next_of_script():
    script = json.loads(read("script.json"))
    if len(script) > 1:
        write("script.json", json.dumps(script[1:]))
    return script[0]


def ask_gate(path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['FAKE_KUBECTL_GATE']}{path}", timeout=20) as r:
            return json.loads(r.read())
    except urllib.error.HTTPError as e:
        fail(f"Error from server ({e.reason.replace(' ', '')}): {e.read().decode()}")


def get(path, objects):
    if "FAKE_KUBECTL_GATE" in os.environ and "/proxy/" in path:
        return ask_gate(path.split("/proxy", 1)[1])
    if count_down("flaky"):
        fail("Unable to connect to the server: net/http: TLS handshake timeout")
    if "/meshupgrades" in path and read("script.json"):
        o = next_of_script()
        if o is None:
            fail('Error from server (NotFound): meshupgrades.meshgate.io "x" not found')
        return o if not path.endswith("/meshupgrades") else {"kind": "MeshUpgradeList", "items": [o]}
    if path in objects:
        return objects[path]
    if path.endswith("/meshupgrades") and not read("nocrd"):
        return {"kind": "MeshUpgradeList", "items": [o for p, o in sorted(objects.items()) if p.startswith(path + "/")]}
    fail("Error from server (NotFound): the server could not find the requested resource")


def replace(path, objects, body):
    mine, theirs = json.loads(body), objects[path]
    if count_down("conflicts"):
        theirs["metadata"]["resourceVersion"] = str(int(theirs["metadata"]["resourceVersion"]) + 1)
        theirs["spec"]["note"] = "somebody else was here"
        write("objects.json", json.dumps(objects))
    if mine["metadata"]["resourceVersion"] != theirs["metadata"]["resourceVersion"]:
        fail(f'Error from server (Conflict): Operation cannot be fulfilled on meshupgrades.meshgate.io "{path}": '
             "the object has been modified; please apply your changes to the latest version and try again")
    mine["metadata"]["resourceVersion"] = str(int(theirs["metadata"]["resourceVersion"]) + 1)
    objects[path] = mine
    write("objects.json", json.dumps(objects))
    return mine


def main():
    args = sys.argv[1:]
    body = sys.stdin.read() if "replace" in args else ""
    with open(os.path.join(DIR, "calls.jsonl"), "a", encoding="utf-8") as f:
        f.write(json.dumps({"args": args, "body": body}) + "\n")
    time.sleep(float(read("sleep", "0")))
    if read("fail"):
        fail(read("fail").rstrip())
    objects = json.loads(read("objects.json", "{}"))
    path = args[args.index("--raw") + 1]
    answer = replace(path, objects, body) if "replace" in args else get(path, objects)
    print(read("garbage") or json.dumps(answer))


main()
