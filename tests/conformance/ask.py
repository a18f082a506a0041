"""How the questions are put: HTTPS to an API server, xDS streams through the tool xds-ask."""
import http.client
import json
import os
import re
import ssl
import subprocess
import tempfile
import urllib.parse

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b")


class Target:
    """Where to ask. token(namespace, account, audience) mints one by the API server itself."""

    def __init__(self, server, ca_file, headers=None, cert=None, istiods=None, root_file=None, xds_ask=None, prefix=()):
        url = urllib.parse.urlparse(server)
        self.host, self.port = url.hostname, url.port
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.tls.check_hostname = False
        self.stranger_tls = ssl.create_default_context(cafile=ca_file)
        self.stranger_tls.check_hostname = False
        if cert:
            self.tls.load_cert_chain(*cert)
        self.headers = headers or {}
        self.istiods = istiods or {}      # revision: address
        self.root_file = root_file
        self.xds_ask = xds_ask
        self.prefix = list(prefix)        # command that enters a network namespace
        self.forget = lambda: None        # makes the API server forget its history
        self.asked = "canary"             # revision that questions go to

    def http(self, method, path, body=None, ctype="application/json", headers=None, lines=0, timeout=10):
        """(status, parsed body). lines > 0: the first events of a watch instead. headers given: without the client certificate."""
        tls = self.tls if headers is None else self.stranger_tls
        conn = http.client.HTTPSConnection(self.host, self.port, context=tls, timeout=timeout)
        try:
            data = None if body is None else body if isinstance(body, str) else json.dumps(body)
            send = dict(self.headers if headers is None else headers)
            if data is not None:
                send["Content-Type"] = ctype
            conn.request(method, path, body=data, headers=send)
            answer = conn.getresponse()
            if lines and answer.status == 200:
                return answer.status, [json.loads(answer.readline()) for _ in range(lines)]
            text = answer.read().decode("utf-8", "replace")
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        finally:
            conn.close()

    def token(self, namespace, account, audience, seconds=3600, bound_to=None):
        # Real clusters have a controller that makes the account `default`; elsewhere the asker does.
        self.http("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts",
                  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
        spec = {"expirationSeconds": seconds}
        if audience:
            spec["audiences"] = [audience]
        if bound_to:
            spec["boundObjectRef"] = bound_to
        status, body = self.http("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
                                 {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        assert status == 201, f"token of {namespace}/{account}: {status} {body}"
        return body["status"]["token"]

    def xds(self, revision, token=None, port=15012, plaintext=False, **flags):
        """The JSON lines of one conversation."""
        command = [*self.prefix, self.xds_ask, "--target", f"{self.istiods[revision]}:{port}"]
        if not plaintext:
            command += ["--root-file", self.root_file, "--server-name", f"istiod-{revision}.istio-system.svc"]
        with tempfile.NamedTemporaryFile("w", suffix=".token") as f:
            if token is not None:
                f.write(token)
                f.flush()
                command += ["--token-file", f.name]
            for key, value in flags.items():
                name = "--" + key.replace("_", "-")
                command += [name] if value is True else [name, str(value)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines, f"xds-ask said nothing: {done.stderr}"
        return lines


def scrub(text):
    """Times, uuids, addresses and counters out of a text."""
    text = TIME.sub("<time>", text)
    text = UUID.sub("<uuid>", text)
    return ADDRESS.sub("<address>", text)


def status_of(answer):
    """What matters of a Status object, and of other answers their kind."""
    code, body = answer
    if not isinstance(body, dict):
        return {"http": code, "text": scrub(str(body))[:300]}
    if body.get("kind") != "Status":
        return {"http": code, "kind": body.get("kind")}
    seen = {k: body[k] for k in ("kind", "status", "reason", "code") if k in body}
    seen["message"] = scrub(body.get("message", ""))
    details = body.get("details") or {}
    seen["details"] = {k: details[k] for k in ("name", "group", "kind") if k in details}
    return {"http": code, **seen}


def shape(value):
    """Keys and types of a JSON value; lists by their distinct element shapes."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        kinds = []
        for v in value:
            s = shape(v)
            if s not in kinds:
                kinds.append(s)
        return sorted(kinds, key=lambda s: json.dumps(s, sort_keys=True))
    return type(value).__name__


def env_tool(name):
    build = os.environ.get("MESHGATE_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build", "dev")
    return os.path.abspath(os.path.join(build, "bin", name))
