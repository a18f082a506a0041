"""What `istioctl proxy-status` says of a revision: the independent table that ours is held against.

One call by hand in a quiet mesh is harmless; in a loop while pushes run it can cut a proxy off for good (docs/protocol.md).
"""

import re
import subprocess

import build

PORT = 15012
NO_TYPE = ("NAME", "CLUSTER", "ISTIOD", "VERSION")


def tool(version):
    return build.ISTIO / version / "istioctl"


def available(istio):
    return istio.real and all(tool(v).exists() for v in istio.versions.values())


def argv(bed, istio, revision, number=0, *more):
    """The command that asks one replica for everything; istiod is dialled at its pod's address, which spares the port-forward."""
    return [
        tool(istio.versions[revision]),
        "--kubeconfig",
        bed.pki.path("admin.kubeconfig"),
        "proxy-status",
        "--revision",
        revision,
        "--xds-address",
        f"{istio.address(revision, number)}:{PORT}",
        *more,
    ]


def env(bed):
    return {"PATH": "/usr/bin:/bin", "HOME": str(bed.dir)}


def proxy_status(bed, istio, revision, number=0):
    """{"POD.NAMESPACE": {"CDS": "SYNCED", ...}} of one replica; types that a proxy does not subscribe to are left out."""
    # -v 1: since 1.27 the status is not shown otherwise; -o json came with 1.30
    command = argv(bed, istio, revision, number, "-v", "1")
    done = subprocess.run(command, env=env(bed), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"istioctl proxy-status -r {revision}: {done.stderr.strip()}")
    return parse(done.stdout)


def parse(text):
    """The table of -v 1: columns are at least three blanks apart, a state may have its age behind it."""
    rows = [re.split(r" {3,}", line.strip()) for line in text.splitlines() if line.strip()]
    if not rows or rows[0][:2] != ["NAME", "CLUSTER"]:
        raise RuntimeError(f"istioctl proxy-status printed another table: {text[:200]}")
    head, table = rows[0], {}
    for row in rows[1:]:
        if len(row) != len(head):
            raise RuntimeError(f"istioctl proxy-status: {len(head)} columns, but {row}")
        states = {t: re.sub(r" \(.*\)$", "", s) for t, s in zip(head, row) if t not in NO_TYPE}
        table[row[0]] = {t: s for t, s in states.items() if s != "IGNORED"}
    return table
