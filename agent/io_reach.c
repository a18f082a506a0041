/*
 * Would a proxy on this node reach this control plane? TCP by libuv, TLS by OpenSSL over two memory BIOs with the checks
 * that a proxy makes (chain to the mesh's root, name), then /ready when a port for it is given. No token, no stream: it
 * costs istiod a handshake.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "io_parts.h"

enum { READ_BYTES = 16 * 1024 };

struct tls_trust {
    char *pem;
    SSL_CTX *ctx;
};

struct reach_test {
    struct io_question q;
    struct io_real *x;
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct timer deadline;
    int64_t timeout_ms;
    uint64_t began_ns;
    uint32_t rtt_us;
    int64_t cert_expiry_s; /* 0 not known */
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    char *address, *place, *server_name;
    uint16_t ready_port;
    struct http_get *ready;
    const char *stage; /* under way */
    bool failed;       /* before anything was begun: why says it */
    struct err why;
    void (*fn)(void *ctx, const struct io_reach *r);
    void *ctx;
    char buffer[READ_BYTES];
};

/* --- trust --- */

static void trust_free(struct tls_trust *t) {
    if (t != NULL) {
        SSL_CTX_free(t->ctx);
        free(t->pem);
        free(t);
    }
}

static bool add_roots(SSL_CTX *ctx, const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    size_t n = 0;
    for (X509 *c; (c = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL; n++) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), c);
        X509_free(c);
    }
    BIO_free(b);
    ERR_clear_error();
    return n > 0;
}

/* Whatever is wrong with it, istiod's certificate says how long it lasts. */
static int on_verify(int ok, X509_STORE_CTX *store) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct reach_test *r = SSL_get_app_data(ssl);
    const X509 *cert = X509_STORE_CTX_get0_cert(store);
    int days = 0, seconds = 0;
    if (cert != NULL && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1) {
        int64_t left = (int64_t)days * 86400 + seconds;
        r->cert_expiry_s = left != 0 ? left : -1;
    }
    return ok;
}

/* The context for the roots as they are in the file now. */
static SSL_CTX *trust(struct io_real *x, struct err *err) {
    static const unsigned char alpn[] = "\x02h2"; /* gRPC servers refuse to talk without */
    char *pem = NULL;
    if (!io_trust_roots(x->opts.istio_root_file, "--istio-root-file", &pem, err)) {
        return NULL;
    }
    if (x->trust != NULL && strcmp(x->trust->pem, pem) == 0) {
        free(pem);
        return x->trust->ctx;
    }
    trust_free(x->trust);
    x->trust = mem_alloc(sizeof *x->trust);
    x->trust->pem = pem;
    SSL_CTX *ctx = x->trust->ctx = SSL_CTX_new(TLS_client_method());
    check(ctx != NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
    check(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    check(SSL_CTX_set_alpn_protos(ctx, alpn, sizeof alpn - 1) == 0);
    if (!add_roots(ctx, pem)) {
        trust_free(x->trust);
        x->trust = NULL;
        err_set(err, ERR_INVALID, "--istio-root-file: no certificate in %s can be read", x->opts.istio_root_file);
        return NULL;
    }
    return ctx;
}

void io_reach_done(struct io_real *x) {
    trust_free(x->trust);
    x->trust = NULL;
}

/* --- the end --- */

static void on_closed(uv_handle_t *h) {
    struct reach_test *r = h->data;
    SSL_free(r->ssl);
    free(r->address);
    free(r->place);
    free(r->server_name);
    free(r);
}

static void stop(struct reach_test *r) {
    timer_cancel(r->x->sched, &r->deadline);
    if (r->ready != NULL) {
        http_cancel(r->ready);
        r->ready = NULL;
    }
    uv_close((uv_handle_t *)&r->tcp, on_closed);
}

static void reach_drop(struct io_question *q) {
    stop((struct reach_test *)q);
}

static void finish(struct reach_test *r, const char *error) {
    struct io_reach result = {
        .ok = error == NULL, .stage = r->stage, .error = error, .rtt_us = r->rtt_us, .cert_expiry_s = r->cert_expiry_s};
    stop(r);
    r->fn(r->ctx, &result); /* r lives until its handle is closed */
}

static void fail(struct reach_test *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct reach_test *r, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    finish(r, text);
}

/* Proxies have no business with the readiness port: that it is closed to this node says nothing. */
static void not_reachable(struct reach_test *r) {
    r->stage = "tls";
    finish(r, NULL);
}

static void on_deadline(void *ctx) {
    struct reach_test *r = ctx;
    if (r->failed) {
        finish(r, r->why.text);
    } else if (strcmp(r->stage, "ready") == 0) {
        not_reachable(r);
    } else if (strcmp(r->stage, "tcp") == 0) {
        fail(r, "%s: no connection within %lld ms", r->place, (long long)r->timeout_ms);
    } else {
        fail(r, "%s: connected, but the TLS handshake was not done within %lld ms: is it frozen?", r->place,
             (long long)r->timeout_ms);
    }
}

/* --- /ready --- */

static void on_ready(void *ctx, const struct http_answer *a) {
    struct reach_test *r = ctx;
    r->ready = NULL;
    if (a->err.code != ERR_NONE) {
        not_reachable(r);
    } else if (a->status != 200) {
        fail(r, "%s port %u: /ready answers %d: istiod is not ready", r->address, r->ready_port, a->status);
    } else {
        finish(r, NULL);
    }
}

static void flush(struct reach_test *r);

static void ask_ready(struct reach_test *r) {
    uv_read_stop((uv_stream_t *)&r->tcp);
    SSL_shutdown(r->ssl); /* say good-bye: istiod logs connections that break */
    flush(r);
    if (r->ready_port == 0) {
        finish(r, NULL);
        return;
    }
    r->stage = "ready";
    struct http_request req = {
        .address = r->address, .port = r->ready_port, .path = "/ready", .timeout_ms = r->timeout_ms / 2};
    r->ready = http_get(r->x->http, &req, on_ready, r);
}

/* --- TLS --- */

static void tls_failed(struct reach_test *r) {
    const char *roots = r->x->opts.istio_root_file;
    long verify = SSL_get_verify_result(r->ssl);
    unsigned long code = ERR_peek_error();
    const char *why = ERR_reason_error_string(code);
    switch (verify) {
    case X509_V_OK:
        fail(r, "%s does not speak TLS as istiod does: %s", r->place, why != NULL ? why : "handshake failed");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        fail(r, "wrong name: the certificate of istiod at %s is not for %s", r->place, r->server_name);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        fail(r, "expired: the certificate of istiod at %s, or its CA's, has run out", r->place);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        fail(r, "not yet valid: the certificate of istiod at %s, or its CA's, begins later: are the clocks right?",
             r->place);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        fail(r, "wrong CA: istiod's certificate at %s is not signed by --istio-root-file %s (%s)", r->place, roots,
             X509_verify_cert_error_string(verify));
        break;
    default:
        fail(r, "bad certificate: istiod's at %s is not accepted: %s", r->place, X509_verify_cert_error_string(verify));
        break;
    }
    ERR_clear_error();
}

struct write_job {
    uv_write_t req; /* first */
    char bytes[];
};

static void on_written(uv_write_t *req, int status) {
    (void)status; /* a broken connection shows when reading */
    free(req);
}

static void flush(struct reach_test *r) {
    size_t n = BIO_ctrl_pending(r->out);
    if (n == 0) {
        return;
    }
    struct write_job *job = mem_alloc(sizeof *job + n);
    uv_buf_t b = uv_buf_init(job->bytes, (unsigned)BIO_read(r->out, job->bytes, (int)n));
    if (uv_write(&job->req, (uv_stream_t *)&r->tcp, &b, 1, on_written) != 0) {
        free(job);
    }
}

static void shake_hands(struct reach_test *r) {
    ERR_clear_error();
    int rc = SSL_do_handshake(r->ssl);
    int why = SSL_get_error(r->ssl, rc);
    flush(r);
    if (rc == 1) {
        ask_ready(r);
    } else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        tls_failed(r);
    }
}

static void on_room(uv_handle_t *h, size_t size, uv_buf_t *out) {
    (void)size;
    struct reach_test *r = h->data;
    *out = uv_buf_init(r->buffer, sizeof r->buffer);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    struct reach_test *r = s->data;
    if (n < 0) {
        fail(r, "%s: connection closed during the TLS handshake (%s): is it istiod's xDS port?", r->place,
             uv_strerror((int)n));
    } else if (n > 0) {
        BIO_write(r->in, b->base, (int)n);
        shake_hands(r);
    }
}

static void on_connect(uv_connect_t *c, int status) {
    struct reach_test *r = c->handle->data;
    if (status == UV_ECANCELED || uv_is_closing((uv_handle_t *)&r->tcp)) {
        return;
    }
    if (status < 0) {
        fail(r, "%s: %s", r->place, uv_strerror(status));
        return;
    }
    uint64_t us = (uv_hrtime() - r->began_ns) / 1000;
    r->rtt_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    r->stage = "tls";
    uv_read_start((uv_stream_t *)&r->tcp, on_room, on_read);
    shake_hands(r);
}

/* --- the beginning --- */

static bool prepare_tls(struct reach_test *r, struct err *err) {
    SSL_CTX *ctx = trust(r->x, err);
    if (ctx == NULL) {
        return false;
    }
    r->ssl = SSL_new(ctx);
    r->in = BIO_new(BIO_s_mem());
    r->out = BIO_new(BIO_s_mem());
    check(r->ssl != NULL && r->in != NULL && r->out != NULL);
    SSL_set_bio(r->ssl, r->in, r->out);
    SSL_set_connect_state(r->ssl);
    SSL_set_app_data(r->ssl, r);
    if (SSL_set1_host(r->ssl, r->server_name) != 1 || SSL_set_tlsext_host_name(r->ssl, r->server_name) != 1) {
        return err_set(err, ERR_INVALID, "\"%s\" is no name of a server", r->server_name);
    }
    return true;
}

static bool begin(struct reach_test *r, uint16_t port, struct err *err) {
    struct sockaddr_storage to;
    if (uv_ip4_addr(r->address, port, (struct sockaddr_in *)&to) != 0 &&
        uv_ip6_addr(r->address, port, (struct sockaddr_in6 *)&to) != 0) {
        return err_set(err, ERR_INVALID, "\"%s\" is not an IP address", r->address);
    }
    if (!prepare_tls(r, err)) {
        return false;
    }
    r->began_ns = uv_hrtime();
    int rc = uv_tcp_connect(&r->connect, &r->tcp, (struct sockaddr *)&to, on_connect);
    return rc == 0 || err_set(err, ERR_UNAVAILABLE, "%s: %s", r->place, uv_strerror(rc));
}

struct io_question *io_reach_test(void *self, const struct io_target *t, int64_t timeout_ms,
                                  void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    struct io_real *x = self;
    struct reach_test *r = mem_alloc(sizeof *r);
    r->q.drop = reach_drop;
    r->x = x;
    r->fn = fn;
    r->ctx = ctx;
    r->timeout_ms = timeout_ms;
    r->address = mem_dup(t->address);
    r->place = io_trust_place(t->address, t->xds_port);
    r->server_name = mem_dup(t->server_name);
    r->ready_port = t->http_port;
    r->stage = "tcp";
    check(uv_tcp_init(loop_uv(x->loop), &r->tcp) == 0);
    r->tcp.data = r;
    r->failed = !begin(r, t->xds_port, &r->why);
    timer_set(x->sched, &r->deadline, sched_now(x->sched) + (r->failed ? 0 : timeout_ms), on_deadline, r);
    return &r->q;
}
