/*
 * One multi handle on the loop. libcurl's callbacks only fill buffers; answers are handed on afterwards, when libcurl is
 * not on the stack, so that their receivers may ask and cancel as they like.
 */
#include "http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../base/mem.h"

enum { DEFAULT_BYTES = 1024 * 1024, DEFAULT_MS = 10000 };

struct watch {
    uv_poll_t poll;
    struct http *owner;
    curl_socket_t fd;
};

struct http {
    struct sched *sched;
    uv_loop_t *uv;
    CURLM *multi;
    struct timer timer;
    struct http_get *gets;
};

struct http_get {
    struct http *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    char *where; /* for errors */
    void (*fn)(void *ctx, const struct http_answer *a);
    void *ctx;
    bool ended;
    CURLcode result;
    char why[CURL_ERROR_SIZE];
    struct http_get *prev, *next;
};

static void get_free(struct http_get *g) {
    curl_easy_cleanup(g->easy);
    curl_slist_free_all(g->headers);
    buf_done(&g->body);
    free(g->where);
    free(g);
}

static void failure(const struct http_get *g, struct err *err) {
    const char *why = g->why[0] != '\0' ? g->why : curl_easy_strerror(g->result);
    enum err_code code = ERR_UNAVAILABLE;
    if (g->body.over) {
        err_set(err, ERR_LIMIT, "GET %s: the answer is larger than %zu bytes", g->where, g->body.max);
        return;
    }
    if (g->result == CURLE_OPERATION_TIMEDOUT) {
        code = ERR_TIMEOUT;
    } else if (g->result == CURLE_PARTIAL_FILE || g->result == CURLE_WEIRD_SERVER_REPLY ||
               g->result == CURLE_BAD_CONTENT_ENCODING || g->result == CURLE_UNSUPPORTED_PROTOCOL) {
        code = ERR_PROTOCOL;
    }
    err_set(err, code, "GET %s: %s", g->where, why);
}

static void tell(struct http_get *g) {
    struct http_answer a = {.body = g->body.p != NULL ? g->body.p : "", .len = g->body.len};
    if (g->result == CURLE_OK) {
        long status = 0;
        curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
        a.status = (int)status;
    } else {
        failure(g, &a.err);
    }
    DL_DELETE(g->owner->gets, g);
    g->fn(g->ctx, &a);
    get_free(g);
}

static void collect(struct http *h) {
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        struct http_get *g = NULL;
        CURL *easy = m->easy_handle;
        CURLcode result = m->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &g);
        g->ended = true;
        g->result = result;
        curl_multi_remove_handle(h->multi, easy);
    }
}

/* Receivers change the list: it is looked through from its head each time. */
static void tell_all(struct http *h) {
    struct http_get *g;
    do {
        collect(h);
        DL_SEARCH_SCALAR(h->gets, g, ended, true);
        if (g != NULL) {
            tell(g);
        }
    } while (g != NULL);
}

static void on_poll(uv_poll_t *p, int status, int events) {
    struct watch *w = p->data;
    struct http *h = w->owner;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    curl_multi_socket_action(h->multi, w->fd, flags, &running);
    tell_all(h);
}

static void on_timer(void *ctx) {
    struct http *h = ctx;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_all(h);
}

static int timer_wanted(CURLM *multi, long ms, void *ctx) {
    (void)multi;
    struct http *h = ctx;
    if (ms < 0) {
        timer_cancel(h->sched, &h->timer);
    } else {
        timer_set(h->sched, &h->timer, sched_now(h->sched) + ms, on_timer, h);
    }
    return 0;
}

static void watch_closed(uv_handle_t *handle) {
    free(handle->data);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *fd_ctx) {
    (void)easy;
    struct http *h = ctx;
    struct watch *w = fd_ctx;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            uv_close((uv_handle_t *)&w->poll, watch_closed);
            curl_multi_assign(h->multi, fd, NULL);
        }
        return 0;
    }
    if (w == NULL) {
        w = mem_alloc(sizeof *w);
        w->owner = h;
        w->fd = fd;
        check(uv_poll_init_socket(h->uv, &w->poll, fd) == 0);
        w->poll.data = w;
        curl_multi_assign(h->multi, fd, w);
    }
    int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    check(uv_poll_start(&w->poll, events, on_poll) == 0);
    return 0;
}

struct http *http_new(struct loop *loop) {
    struct http *h = mem_alloc(sizeof *h);
    check(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    h->sched = loop_sched(loop);
    h->uv = loop_uv(loop);
    h->multi = curl_multi_init();
    check(h->multi != NULL);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

void http_free(struct http *h) {
    if (h == NULL) {
        return;
    }
    while (h->gets != NULL) {
        http_cancel(h->gets);
    }
    curl_multi_cleanup(h->multi);
    timer_cancel(h->sched, &h->timer);
    free(h);
    curl_global_cleanup();
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct http_get *g = ctx;
    return buf_add(&g->body, p, size * n) ? size * n : 0;
}

static void set_text(CURL *e, CURLoption option, const char *v) {
    check(curl_easy_setopt(e, option, v) == CURLE_OK);
}

static void set_up(struct http_get *g, const struct http_request *req) {
    CURL *e = g->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, g);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, g->why);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, g);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    set_text(e, CURLOPT_PROTOCOLS_STR, "http");
    set_text(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    /* Hundreds of proxies, each asked now and then: a kept connection would cost both ends more than a new one. */
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(req->timeout_ms > 0 ? req->timeout_ms : DEFAULT_MS));
    char *accept = mem_printf("Accept: %s", req->accept != NULL ? req->accept : "text/plain");
    g->headers = curl_slist_append(NULL, accept);
    check(g->headers != NULL);
    free(accept);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, g->headers);
    char *url = mem_printf("http://%s%s", g->where, req->path);
    set_text(e, CURLOPT_URL, url);
    free(url);
}

struct http_get *http_get(struct http *h, const struct http_request *req,
                          void (*fn)(void *ctx, const struct http_answer *a), void *ctx) {
    struct http_get *g = mem_alloc(sizeof *g);
    g->owner = h;
    g->fn = fn;
    g->ctx = ctx;
    bool six = strchr(req->address, ':') != NULL;
    g->where = six ? mem_printf("[%s]:%u", req->address, req->port) : mem_printf("%s:%u", req->address, req->port);
    buf_init(&g->body, req->max_bytes > 0 ? req->max_bytes : DEFAULT_BYTES);
    g->easy = curl_easy_init();
    check(g->easy != NULL);
    set_up(g, req);
    /* where goes on with the path, without the query, from here on: for the text of errors */
    char *full = mem_printf("http://%s%.*s", g->where, (int)strcspn(req->path, "?"), req->path);
    mem_set(&g->where, full);
    free(full);
    DL_APPEND(h->gets, g);
    check(curl_multi_add_handle(h->multi, g->easy) == CURLM_OK);
    return g;
}

void http_cancel(struct http_get *g) {
    DL_DELETE(g->owner->gets, g);
    if (!g->ended) {
        curl_multi_remove_handle(g->owner->multi, g->easy);
    }
    get_free(g);
}
