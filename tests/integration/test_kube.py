"""lib/kube's transport and reflector over real TLS, against a server that misbehaves on purpose."""

import http.server
import json
import os
import queue
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest

from mesh import tool

TOOL = tool("kube-tool")
DEADLINE_S = 60


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def make_ca(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt")


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    make_ca(folder, "ca")
    make_ca(folder, "other")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=server",
            "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.csr")
    (folder / "ext").write_text("subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", f"{folder}/server.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{folder}/ext", "-out", f"{folder}/server.crt")
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        self.wfile.write(data)

    def chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        self.server.requests.put((url.path, query, self.headers.get("Authorization")))
        try:
            getattr(self, "on_" + url.path.strip("/").replace("/", "_"))(query)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def on_ok(self, _):
        self.answer(200, '{"hello":"world"}')

    def on_token(self, _):
        if self.headers.get("Authorization") == f"Bearer {self.server.good_token}":
            self.answer(200, "{}")
        else:
            self.answer(401, '{"kind":"Status","code":401,"message":"Unauthorized"}')

    def on_busy(self, _):
        self.answer(429, '{"kind":"Status","code":429,"message":"too many requests"}', Retry_After="7")

    def on_redirect(self, _):
        self.answer(302, "", Location="https://127.0.0.1:1/steal")

    def on_stall(self, _):
        self.server.release.wait(DEADLINE_S)

    def on_short(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"items":[')
        self.wfile.flush()
        self.close_connection = True

    def on_large(self, _):
        self.chunked()
        block = "x" * (1 << 20)
        for _ in range(80):
            self.chunk(block)

    def on_watch(self, _):
        self.chunked()
        for part in ("one\ntw", "o\n", "three\n"):
            self.chunk(part)
        self.chunk("")

    def on_watchcut(self, _):
        self.chunked()
        self.chunk("one\n")
        self.close_connection = True

    def on_watchsilent(self, _):
        self.chunked()
        self.chunk("one\n")
        self.server.release.wait(DEADLINE_S)

    def on_watchdenied(self, _):
        self.answer(403, '{"kind":"Status","code":403,"message":"no watching"}')

    def obj(self, name, version):
        return {"metadata": {"name": name, "uid": "u-" + name, "resourceVersion": str(version)}}

    def on_things(self, query):
        """Two pages, then a watch that adds, breaks, expires; the second list lacks what went in between."""
        if "watch" in query:
            return self.things_watch(query["resourceVersion"][0])
        if self.server.expired:
            items, more = [self.obj("a", 1), self.obj("d", 9)], ""
        elif "continue" in query:
            items, more = [self.obj("c", 3)], ""
        else:
            items, more = [self.obj("a", 1), self.obj("b", 2)], "p2"
        version = "20" if self.server.expired else "10"
        return self.answer(200, json.dumps({"metadata": {"resourceVersion": version, "continue": more}, "items": items}))

    def things_watch(self, version):
        self.chunked()
        if version == "10":
            self.chunk(json.dumps({"type": "ADDED", "object": self.obj("x", 12)}) + "\n" + '{"type":"MODIF')
            self.close_connection = True
        elif version == "12":
            self.server.expired = True
            self.chunk(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "old"}}) + "\n")
            self.chunk("")
        else:
            self.server.release.wait(DEADLINE_S)


@pytest.fixture()
def server(pki):
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s.daemon_threads = True
    s.block_on_close = False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    s.socket = context.wrap_socket(s.socket, server_side=True)
    s.requests, s.release, s.expired, s.good_token = queue.Queue(), threading.Event(), False, "right"
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.release.set()
    s.shutdown()
    s.server_close()


@pytest.fixture()
def kubeconfig(pki, server, tmp_path):
    def write(ca="ca", host="127.0.0.1", user='{"token": "right"}', **cluster):
        cluster = {"server": f"https://{host}:{server.server_address[1]}",
                   "certificate-authority": str(pki / f"{ca}.crt"), **cluster}
        path = tmp_path / "config"
        path.write_text(json.dumps({"current-context": "x",
                                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                                    "clusters": [{"name": "c", "cluster": cluster}],
                                    "users": [{"name": "u", "user": json.loads(user)}]}))
        return str(path)
    return write


def tool(*args):
    p = subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=DEADLINE_S)
    assert not p.stderr, p.stderr
    return [json.loads(line) for line in p.stdout.splitlines()]


def test_request(kubeconfig, server):
    (r,) = tool(kubeconfig(), "get", "/ok?a=b")
    assert (r["status"], r["code"], r["body"]) == (200, "none", '{"hello":"world"}')
    assert server.requests.get(timeout=1) == ("/ok", {"a": ["b"]}, "Bearer right")


def test_wrong_ca(kubeconfig, server):
    (r,) = tool(kubeconfig(ca="other"), "get", "/ok")
    assert r["status"] == 0 and r["code"] == "denied"
    assert "certificate" in r["text"] and "certificate-authority" in r["text"]
    assert server.requests.empty()


def test_wrong_name(kubeconfig):
    (r,) = tool(kubeconfig(host="localhost"), "get", "/ok")
    assert r["status"] == 0 and r["code"] == "denied"


def test_tls_server_name(kubeconfig):
    (r,) = tool(kubeconfig(host="localhost", **{"tls-server-name": "kubernetes.default.svc"}), "get", "/ok")
    assert r["status"] == 200


def test_insecure(kubeconfig):
    (r,) = tool(kubeconfig(ca="other", **{"insecure-skip-tls-verify": True}), "get", "/ok")
    assert r["status"] == 200


def test_nobody_there(kubeconfig, server):
    path = kubeconfig()
    server.shutdown()
    server.server_close()
    (r,) = tool(path, "get", "/ok")
    assert r["status"] == 0 and r["code"] == "unavailable" and "127.0.0.1" in r["text"]


def test_expired_token(kubeconfig):
    (r,) = tool(kubeconfig(user='{"token": "old"}'), "get", "/token")
    assert r["status"] == 401 and r["code"] == "denied"
    assert "401 Unauthorized" in r["text"] and "renew the token" in r["text"]
    assert "old" not in r["text"]


def test_retry_after(kubeconfig):
    (r,) = tool(kubeconfig(), "get", "/busy")
    assert (r["status"], r["code"], r["retry_after_ms"]) == (429, "unavailable", 7000)


def test_redirect_is_not_followed(kubeconfig):
    (r,) = tool(kubeconfig(), "get", "/redirect")
    assert r["status"] == 302 and r["code"] == "protocol"


def test_stall(kubeconfig):
    (r,) = tool(kubeconfig(), "get", "/stall", "300")
    assert r["status"] == 0 and r["code"] == "timeout" and "/stall" in r["text"]


def test_truncated_body(kubeconfig):
    (r,) = tool(kubeconfig(), "get", "/short")
    assert r["status"] == 0 and r["code"] == "unavailable"


def test_answer_too_large(kubeconfig):
    (r,) = tool(kubeconfig(), "get", "/large", "30000")
    assert r["status"] == 0 and r["code"] == "limit" and "64 MiB" in r["text"]


def test_chunked_watch(kubeconfig):
    *data, done = tool(kubeconfig(), "watch", "/watch")
    assert data[0] == {"data": ""} or data[0]["data"].startswith("one")
    assert "".join(d["data"] for d in data) == "one\ntwo\nthree\n"
    assert (done["status"], done["code"], done["len"]) == (200, "none", 0)


def test_watch_cut(kubeconfig):
    *data, done = tool(kubeconfig(), "watch", "/watchcut")
    assert "".join(d["data"] for d in data) == "one\n"
    assert done["status"] == 0 and done["code"] == "unavailable"


def test_silent_watch(kubeconfig):
    *data, done = tool(kubeconfig(), "watch", "/watchsilent", "400")
    assert "".join(d["data"] for d in data) == "one\n"
    assert done["status"] == 0 and done["code"] == "timeout" and "no byte" in done["text"]


def test_watch_denied(kubeconfig):
    (r,) = tool(kubeconfig(), "watch", "/watchdenied")
    assert r["status"] == 403 and "no watching" in r["text"]


def test_burst_with_cancels(kubeconfig):
    out = tool(kubeconfig(), "burst", "/ok", "40")
    assert [r["status"] for r in out] == [200] * 20


def test_mirror(kubeconfig):
    p = subprocess.Popen([TOOL, kubeconfig(), "mirror", "/things"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(DEADLINE_S, p.kill)
    timer.start()
    want = [{"put": "a"}, {"put": "b"}, {"put": "c"}, {"synced": True}, {"put": "x"}, {"put": "a"}, {"put": "d"}]
    assert [json.loads(p.stdout.readline()) for _ in want] == want
    rest = [json.loads(p.stdout.readline()) for _ in range(4)]
    assert sorted(r["gone"] for r in rest[:3]) == ["b", "c", "x"] and rest[3] == {"synced": True}
    p.stdin.close()
    assert json.loads(p.stdout.readline()) == {"trouble": ""}
    assert p.wait(DEADLINE_S) == 0
    timer.cancel()


def test_token_file_is_read_again(kubeconfig, server, tmp_path):
    (tmp_path / "token").write_text("old\n")
    user = json.dumps({"tokenFile": str(tmp_path / "token")})
    p = subprocess.Popen([TOOL, kubeconfig(user=user), "mirror", "/token"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.requests.get(timeout=DEADLINE_S)[2] == "Bearer old"
        (tmp_path / "new").write_text("right\n")
        os.rename(tmp_path / "new", tmp_path / "token")
        deadline = time.monotonic() + DEADLINE_S
        while server.requests.get(timeout=DEADLINE_S)[2] != "Bearer right":
            assert time.monotonic() < deadline
    finally:
        p.stdin.close()
        p.wait(DEADLINE_S)
