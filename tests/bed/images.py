"""What stands for container images: folders and files of this machine."""

import pathlib
import shutil
import threading

import build

_lock = threading.Lock()


def _folder(name, files):
    """A folder with these programs, made once."""
    folder = build.HOME / "images" / name
    with _lock:
        if not all(
            (folder / f.name).exists() and (folder / f.name).stat().st_mtime >= f.stat().st_mtime for f in files
        ):
            folder.mkdir(parents=True, exist_ok=True)
            for f in files:
                shutil.copy2(f, folder / f.name)
                (folder / f.name).chmod(0o755)
    return folder


def finder(binaries):
    """Function from an image reference to (folder that is /usr/local/bin, files by path in the root, environment)."""

    def find(reference):
        name, _, tag = reference.rpartition("/")[2].partition(":")
        if name == "meshgate":
            return pathlib.Path(binaries), {}, {}
        if name == "proxyv2":
            envoy = build.HOME / f"envoy-{build.ENVOYS[tag]}/envoy/_bin/envoy"
            return (
                _folder(f"proxyv2-{tag}", [build.ISTIO / tag / "pilot-agent", envoy]),
                {"/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": build.ISTIO / tag / "envoy_bootstrap.json"},
                {"ISTIO_META_ISTIO_PROXY_SHA": f"upstream-{build.ENVOYS[tag]}"},
            )
        return _folder("app", [build.BIN / "app"]), {}, {}

    return find
