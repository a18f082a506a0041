#!/usr/bin/env python3
"""Puts the questions to a real API server and two real istiods in a bed of its own.

real.py            compare with what is recorded
real.py --record   write tests/conformance/recorded anew
"""
import argparse
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bed")]

import bed as bedlib  # noqa: E402
import conformance  # noqa: E402
import istio as istiolib  # noqa: E402
from ask import Target, env_tool  # noqa: E402

CRD = HERE.parents[1] / "deploy" / "crd" / "meshupgrades.yaml"


def target_of(bed, istio):
    pki = bed.pki
    root = bed.api("GET", "/api/v1/namespaces/istio-system/configmaps/istio-ca-root-cert")["data"]["root-cert.pem"]
    root_file = os.path.join(bed.dir, "mesh-root.pem")
    pathlib.Path(root_file).write_text(root, encoding="utf-8")
    target = Target(f"https://{bedlib.API_IP}:6443", pki.path("ca.crt"), cert=(pki.path("admin.crt"), pki.path("admin.key")),
                  istiods={r: istio.address(r, 0) for r in istio.revisions}, root_file=root_file, xds_ask=env_tool("xds-ask"))
    target.forget = bed.forget_history
    return target


def run(bed, istio, record):
    target = target_of(bed, istio)
    sets = {f"istiod-{version}": conformance.ask_xds(target, revision) for revision, version in istio.versions.items()}
    sets["api"] = conformance.ask_api(target)  # its last question restarts the API server
    if record:
        for name, answers in sets.items():
            conformance.record(name, answers)
            print(f"recorded {len(answers)} answers of {name}")
        return 0
    wrong = 0
    for name, answers in sets.items():
        found = [d for d in conformance.differences(name, answers) if d[0] not in conformance.listed(name)]
        for question, want, got in found:
            print(f"{name}: {question}\n  recorded {json.dumps(want, sort_keys=True)}\n  now      {json.dumps(got, sort_keys=True)}")
        print(f"{name}: {len(answers)} questions, {len(found)} differences")
        wrong += len(found)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    bed = bedlib.Bed(nodes=2)
    try:
        bed.up()
        istio = istiolib.Istio(bed)
        if not istio.real:
            raise SystemExit("no real istiods found: see tests/bed")
        istio.up()
        bed.kubectl("apply", "-f", str(CRD))
        bed.kubectl("wait", "--for=condition=Established", "crd/meshupgrades.meshgate.io", "--timeout=30s")
        return run(bed, istio, args.record)
    finally:
        bed.down()


if __name__ == "__main__":
    sys.exit(main())
