#include "curl_call.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../base/mem.h"
#include "../base/text.h"

enum {
    MAX_ANSWER = 64 << 20,
    MAX_TOKEN = 64 << 10,
    TOKEN_AGE_MS = 60000,
    CONNECT_MS = 10000,
    REQUEST_MS = 30000,
    SILENCE_MS = 90000,
    DEAD_PEER_MS = 30000, /* unacknowledged bytes for so long: the connection is dead */
};

/* --- the token --- */

static void token_refresh(struct curl_kube *self) {
    struct stat st;
    int64_t now = sched_now(self->kube.sched);
    if (!self->config.token_file || stat(self->config.token_file, &st) != 0) {
        return;
    }
    bool same = st.st_mtim.tv_sec == self->token_mtime.tv_sec && st.st_mtim.tv_nsec == self->token_mtime.tv_nsec;
    if (self->token && same && self->token_read_ms && now - self->token_read_ms < TOKEN_AGE_MS) {
        return;
    }
    char *text = NULL;
    /* A file that can't be read in the middle of its rotation is no reason to drop the token that we have. */
    if (text_read_file(self->config.token_file, MAX_TOKEN, &text, NULL, NULL)) {
        text[strcspn(text, "\r\n")] = 0;
        mem_set(&self->token, text);
        free(text);
        self->token_mtime = st.st_mtim;
        self->token_read_ms = now;
    }
}

static const char *token_now(struct curl_kube *self) {
    token_refresh(self);
    return self->config.token_file ? self->token : self->config.token;
}

/* --- what libcurl calls; none of these touches the multi handle --- */

bool curl_call_good(const struct kube_call *c) {
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static void heard(struct kube_call *c) {
    c->heard_ms = c->owner->heard_ms = sched_now(c->owner->kube.sched);
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct kube_call *c = ctx;
    heard(c);
    return buf_add(&c->in, p, size * n) ? size * n : 0;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx) {
    struct kube_call *c = ctx;
    heard(c);
    if (size * n <= 2 && (p[0] == '\r' || p[0] == '\n') && curl_call_good(c)) {
        c->opened = true;
    }
    return size * n;
}

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose) {
    (void)ctx;
    (void)purpose;
    unsigned ms = DEAD_PEER_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return CURL_SOCKOPT_OK;
}

/* --- making one --- */

static void set_text(CURL *e, CURLoption option, const char *v) {
    if (v) {
        check(curl_easy_setopt(e, option, v) == CURLE_OK);
    }
}

static void set_pem(CURL *e, CURLoption option, char *pem) {
    if (pem) {
        struct curl_blob blob = {pem, strlen(pem), CURL_BLOB_NOCOPY};
        check(curl_easy_setopt(e, option, &blob) == CURLE_OK);
    }
}

static void set_connection(struct kube_call *c) {
    struct curl_kube *self = c->owner;
    CURL *e = c->easy;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 20L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, 5L);
    if (self->config.ca_pem) {
        /* libcurl would trust the system's directory besides. */
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    }
    set_pem(e, CURLOPT_CAINFO_BLOB, self->config.ca_pem);
    set_pem(e, CURLOPT_SSLCERT_BLOB, self->config.cert_pem);
    set_pem(e, CURLOPT_SSLKEY_BLOB, self->config.key_pem);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, self->config.insecure ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, self->config.insecure ? 0L : 2L);
    if (self->connect_to) {
        curl_easy_setopt(e, CURLOPT_CONNECT_TO, self->connect_to);
    }
}

static void add_header(struct kube_call *c, const char *name, const char *value) {
    char *line = mem_printf("%s: %s", name, value);
    c->headers = curl_slist_append(c->headers, line);
    check(c->headers != NULL);
    free(line);
}

static void set_request(struct kube_call *c, const struct kube_request *req) {
    CURL *e = c->easy;
    char *url = mem_printf("%s%s", c->owner->base, req->path);
    set_text(e, CURLOPT_URL, url);
    free(url);
    add_header(c, "Accept", req->accept ? req->accept : "application/json");
    const char *token = token_now(c->owner);
    if (token) {
        char *value = mem_printf("Bearer %s", token);
        add_header(c, "Authorization", value);
        free(value);
    }
    if (req->body) {
        add_header(c, "Content-Type", req->content_type ? req->content_type : "application/json");
        c->headers = curl_slist_append(c->headers, "Expect:");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(req->body));
        check(curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, req->body) == CURLE_OK);
    }
    set_text(e, CURLOPT_CUSTOMREQUEST, req->method);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    if (c->stream) {
        c->silence_ms = req->timeout_ms > 0 ? req->timeout_ms : SILENCE_MS;
    } else {
        curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(req->timeout_ms > 0 ? req->timeout_ms : REQUEST_MS));
        curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip");
    }
}

struct kube_call *curl_call_new(struct curl_kube *self, const struct kube_request *req, const struct kube_handler *h,
                                void *ctx) {
    struct kube_call *c = mem_alloc(sizeof *c);
    c->owner = self;
    c->handler = *h;
    c->ctx = ctx;
    c->method = mem_dup(req->method);
    c->path = mem_dup(req->path);
    c->stream = req->stream;
    c->started_ms = c->heard_ms = sched_now(self->kube.sched);
    buf_init(&c->in, MAX_ANSWER);
    c->easy = curl_easy_init();
    check(c->easy != NULL);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    set_connection(c);
    set_request(c, req);
    return c;
}

void curl_call_free(struct kube_call *c) {
    timer_cancel(c->owner->kube.sched, &c->silence);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_done(&c->in);
    free(c->method);
    free(c->path);
    free(c);
}

/* --- what came of it --- */

static void transport_error(const struct kube_call *c, struct err *err) {
    const char *why = c->why[0] ? c->why : curl_easy_strerror(c->result);
    int path_len = (int)strcspn(c->path, "?");
    if (c->forced == ERR_TIMEOUT) {
        err_set(err, ERR_TIMEOUT, "%s %.*s: no byte for %lld s", c->method, path_len, c->path,
                (long long)c->silence_ms / 1000);
    } else if (c->in.over) {
        err_set(err, ERR_LIMIT, "%s %.*s: answer larger than %d MiB", c->method, path_len, c->path, MAX_ANSWER >> 20);
    } else if (c->result == CURLE_PEER_FAILED_VERIFICATION) {
        err_set(err, ERR_DENIED,
                "%s: the server's certificate is not accepted (%s): check server and certificate-authority",
                c->owner->config.server, why);
    } else if (c->result == CURLE_SSL_CERTPROBLEM || c->result == CURLE_SSL_CACERT_BADFILE) {
        err_set(err, ERR_INVALID, "%s: our certificate, key or CA can't be used: %s", c->owner->config.server, why);
    } else if (c->result == CURLE_OPERATION_TIMEDOUT) {
        err_set(err, ERR_TIMEOUT, "%s %s%.*s: %s", c->method, c->owner->config.server, path_len, c->path, why);
    } else {
        err_set(err, ERR_UNAVAILABLE, "%s %s%.*s: %s", c->method, c->owner->config.server, path_len, c->path, why);
    }
}

void curl_call_result(struct kube_call *c, struct kube_response *r) {
    long status = 0;
    curl_off_t after = 0;
    *r = (struct kube_response){.body = ""};
    if (c->forced || c->result != CURLE_OK) {
        transport_error(c, &r->err);
        return;
    }
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
    r->status = (int)status;
    r->retry_after_ms = after > 0 && after < 86400 ? (int64_t)after * 1000 : 0;
    r->body = c->in.p ? c->in.p : "";
    r->len = c->in.len;
    kube_status_error(r->status, r->body, r->len, c->method, c->path, &r->err);
    if (status == 401) {
        c->owner->token_read_ms = 0;
    }
}
