"""A whole mesh on a bed: Kubernetes, two revisions of istiod, workloads with sidecars, meshgate as deploy/ has it."""

import http.client
import json
import os
import pathlib
import signal
import subprocess

import bed as bedlib
import build
import images
import istio
import kubelet

ROOT = build.HERE.parent.parent
CONTROL = ("127.0.0.1", 9100)
TOLERATION = [{"key": "bed.test/real", "operator": "Exists"}]


class Cluster:
    def __init__(self, binaries, nodes=6, replicas=1, force_embedded=False, proxies_args=()):
        self.binaries, self.proxies_args = pathlib.Path(binaries), proxies_args
        self.bed = bedlib.Bed(nodes=nodes)
        self.istio = istio.Istio(self.bed, replicas=replicas, binaries=binaries, force_embedded=force_embedded)
        self.real_sidecars = self.istio.real and build.real_sidecars()
        self.kubelet = kubelet.Kubelet(self.bed, images.finder(binaries), node=self.real_sidecars)

    def __enter__(self):
        try:
            self.bed.up()
            self.istio.up()
            self._kubelet()
            self.bed.start(
                "proxies",
                [
                    build.BIN / "proxies",
                    "-kubeconfig",
                    self.bed.pki.path("admin.kubeconfig"),
                    "-proc-dir",
                    self.bed.dir / "proc",
                    *self.proxies_args,
                ],
            )
            self.bed.wait(20, "proxies", lambda: self.proxies("GET", "/list") is not None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kubelet.stop()
        self.bed.down()

    def _kubelet(self):
        hosts = self.kubelet.hosts
        hosts["meshgate.istio-system.svc"] = kubelet.GATE_IP
        for revision in self.istio.revisions:
            service = self.bed.api("GET", f"/api/v1/namespaces/istio-system/services/istiod-{revision}")
            hosts[f"istiod-{revision}.istio-system.svc"] = service["spec"]["clusterIP"]
        for service in self.bed.list("/api/v1/namespaces/istio-system/services"):
            self._forward_service(service["spec"], service["metadata"].get("labels", {}))
        self.kubelet.start()

    def _forward_service(self, spec, labels):
        """Each Service that leads to istiods of a revision, a tag's as well: agents and proxies dial them."""
        revision = spec.get("selector", labels).get("istio.io/rev")
        for port in spec["ports"] if revision in self.istio.revisions else []:
            targets = [f"{self.istio.address(revision, n)}:{port['targetPort']}" for n in range(self.istio.replicas)]
            self._forward(spec["clusterIP"], port["port"], targets)

    @staticmethod
    def _forward(ip, port, targets):
        """What kube-proxy would do for the pods that have network namespaces of their own."""
        for left, target in zip(range(len(targets), 0, -1), targets):
            choose = ["-m", "statistic", "--mode", "random", "--probability", f"{1 / left:.4f}"] if left > 1 else []
            bedlib.run(
                "iptables",
                "-t",
                "nat",
                "-A",
                "PREROUTING",
                "-d",
                ip,
                "-p",
                "tcp",
                "--dport",
                port,
                *choose,
                "-j",
                "DNAT",
                "--to-destination",
                target,
            )

    # --- meshgate

    def deploy(self, patience_s=90, gate_args=()):
        """Apply the very files of deploy/, with more arguments for the gate, and wait until gate and agents are Ready."""
        tool = build.BIN / "kubectl"
        kubectl = f"{tool if tool.exists() else 'kubectl'} --kubeconfig {self.bed.pki.path('admin.kubeconfig')}"
        bedlib.run(ROOT / "deploy/make-certs.sh", env={**os.environ, "KUBECTL": kubectl})
        self.bed.kubectl("apply", "--server-side", "-k", self._overlay(gate_args) if gate_args else ROOT / "deploy/base")
        self.bed.kubectl("wait", "--for=condition=Established", "crd/meshupgrades.meshgate.io", "--timeout=30s")
        for kind in ("deployment/meshgate", "daemonset/meshgate-agent"):
            done = self.bed.kubectl(
                "-n", "istio-system", "rollout", "status", kind, f"--timeout={patience_s}s", check=False
            )
            if done.returncode:
                raise RuntimeError(f"{kind}: {done.stdout}{done.stderr}\n{self.logs()}")

    def _overlay(self, gate_args):
        folder = self.bed.dir / "overlay"
        folder.mkdir(exist_ok=True)
        patch = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": a} for a in gate_args]
        (folder / "kustomization.yaml").write_text(
            json.dumps(
                {
                    "resources": [os.path.relpath(ROOT / "deploy/base", folder)],
                    "patches": [{"target": {"kind": "Deployment", "name": "meshgate"}, "patch": json.dumps(patch)}],
                }
            )
        )
        return folder

    def containers(self, name, node=None):
        return [c for p in self.kubelet.named(name, node) for c in p.containers]

    def kill_gate(self):
        for c in self.containers("meshgate"):
            c.kill(signal.SIGKILL)

    def logs(self, lines=15):
        out = []
        for name in ("meshgate", "meshgate-agent"):
            for c in self.containers(name)[:3]:
                text = (c.root.parent / "log").read_text(errors="replace").splitlines()[-lines:]
                out.append(f"--- {c.pod.name} on {c.pod.node}\n" + "\n".join(text))
        return "\n".join(out) or self.bed.tail("kubelet")

    def cli(self, *args):
        """kubectl meshgate ARGS as the administrator."""
        env = {
            **os.environ,
            "PATH": f"{build.BIN}:{self.binaries}:{os.environ['PATH']}",
            "KUBECONFIG": self.bed.pki.path("admin.kubeconfig"),
        }
        return subprocess.run([self.binaries / "kubectl-meshgate", *args], env=env, capture_output=True, text=True)

    # --- workloads

    def proxies(self, method, path, body=None):
        c = http.client.HTTPConnection(*CONTROL, timeout=10)
        try:
            c.request(method, path, json.dumps(body) if body is not None else None)
            r = c.getresponse()
            text = r.read()
            if r.status != 200:
                raise RuntimeError(f"proxies {path}: {text.decode()}")
            return json.loads(text) if text else None
        finally:
            c.close()

    def workload(self, kind, namespace, name, replicas=None, real=False, annotations=None, **spec):
        """Create a Deployment, StatefulSet or DaemonSet whose pods are played by kwok, or are real processes."""
        labels = {"app": name}
        pod = {"containers": [{"name": "web", "image": "registry.local/web:1", "ports": [{"containerPort": 8080}]}]}
        if real:
            pod.update(nodeSelector={"type": "real"}, tolerations=TOLERATION)
        pod.update(spec.pop("pod", {}))
        body = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": annotations or {}}, "spec": pod},
                **spec,
            },
        }
        if replicas is not None:
            body["spec"]["replicas"] = replicas
        if kind == "StatefulSet":
            body["spec"].update(serviceName=name, podManagementPolicy="Parallel")
        self.bed.api("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s", body)

    def on_nodes(self, *names):
        """Pod spec that binds a DaemonSet to these nodes."""
        return {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}
                                ]
                            }
                        ]
                    }
                }
            }
        }

    def settled(self, namespace):
        """Every workload of the namespace runs what its template says."""
        for plural in ("deployments", "statefulsets", "daemonsets"):
            for o in self.bed.list(f"/apis/apps/v1/namespaces/{namespace}/{plural}"):
                s = o.get("status", {})
                want = s.get("desiredNumberScheduled") if plural == "daemonsets" else o["spec"]["replicas"]
                ready = s.get("numberReady") if plural == "daemonsets" else s.get("readyReplicas", 0)
                if want is None or ready != want or s.get("observedGeneration") != o["metadata"]["generation"]:
                    return False
        return True
