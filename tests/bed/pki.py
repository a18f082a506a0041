"""Certificates, keys and kubeconfigs of a bed, by openssl."""

import base64
import json
import pathlib
import subprocess
import time


def _openssl(*args, data=None):
    done = subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.decode()}")
    return done.stdout


class Pki:
    def __init__(self, folder, api_ip):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True)
        self.api = f"https://{api_ip}:6443"
        self._ca("ca")
        self._ca("fp-ca")
        # RSA: a token can then be signed by a plain `openssl dgst`
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path("sa.key"))
        _openssl("pkey", "-in", self.path("sa.key"), "-pubout", "-out", self.path("sa.pub"))
        self.cert(
            "apiserver",
            "ca",
            "/CN=kube-apiserver",
            "serverAuth",
            f"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:{api_ip},IP:127.0.0.1,IP:10.96.0.1",
        )
        self.cert("kwok-serving", "ca", "/CN=kwok", "serverAuth", f"DNS:localhost,IP:{api_ip}")
        for name, subject in [
            ("admin", "/O=system:masters/CN=admin"),
            ("kwok", "/O=system:masters/CN=kwok"),
            ("kcm", "/CN=system:kube-controller-manager"),
            ("sched", "/CN=system:kube-scheduler"),
            ("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client"),
        ]:
            self.cert(name, "ca", subject, "clientAuth")
            self.kubeconfig(
                name, f"client-certificate: {self.path(name + '.crt')}, client-key: {self.path(name + '.key')}"
            )
        self.cert("front-proxy", "fp-ca", "/CN=front-proxy-client", "clientAuth")

    def path(self, name):
        return str(self.dir / name)

    def _key(self, name):
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.path(name + ".key"))

    def _ca(self, name):
        self._key(name)
        _openssl(
            "req",
            "-x509",
            "-new",
            "-key",
            self.path(name + ".key"),
            "-subj",
            f"/CN=bed-{name}",
            "-days",
            "30",
            "-out",
            self.path(name + ".crt"),
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
        )

    def cert(self, name, ca, subject, usage, names=None):
        self._key(name)
        ext = (
            f"basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n"
        )
        if names:
            ext += f"subjectAltName={names}\n"
        (self.dir / f"{name}.ext").write_text(ext)
        csr = _openssl("req", "-new", "-key", self.path(name + ".key"), "-subj", subject)
        _openssl(
            "x509",
            "-req",
            "-CA",
            self.path(ca + ".crt"),
            "-CAkey",
            self.path(ca + ".key"),
            "-set_serial",
            str(time.time_ns()),
            "-days",
            "30",
            "-extfile",
            self.path(name + ".ext"),
            "-out",
            self.path(name + ".crt"),
            data=csr,
        )

    def kubeconfig(self, name, user, ca="ca"):
        """Write a kubeconfig whose user has these fields (YAML flow text); its path."""
        path = self.dir / f"{name}.kubeconfig"
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: bed\n"
            f"clusters: [{{name: bed, cluster: {{server: '{self.api}', certificate-authority: {self.path(ca + '.crt')}}}}}]\n"
            "contexts: [{name: bed, context: {cluster: bed, user: u}}]\n"
            f"users: [{{name: u, user: {{{user}}}}}]\n"
        )
        path.chmod(0o600)
        return str(path)

    def token(self, namespace, account, lives_s):
        """A ServiceAccount token signed with the cluster's key; a negative lives_s gives an expired one."""

        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        now = int(time.time())
        claims = {
            "iss": "https://kubernetes.default.svc",
            "aud": ["https://kubernetes.default.svc"],
            "iat": now - 7200,
            "nbf": now - 7200,
            "exp": now + lives_s,
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "0"}},
        }
        head = part(json.dumps({"alg": "RS256", "typ": "JWT"}).encode()) + b"." + part(json.dumps(claims).encode())
        return (head + b"." + part(_openssl("dgst", "-sha256", "-sign", self.path("sa.key"), data=head))).decode()
