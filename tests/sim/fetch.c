#include "fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../lib/base/buf.h"
#include "../../lib/base/mem.h"

#define MAX_ANSWER (64u * 1024 * 1024)
#define DEADLINE_MS 10000

struct fetch {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    char *request;
    struct buf answer;
    char piece[65536];
    struct err err;
    int handles;
    bool done;
    void (*fn)(void *ctx, int status, const char *type, const char *body, size_t len, const struct err *err);
    void *ctx;
};

static void on_closed(uv_handle_t *h) {
    struct fetch *f = h->data;
    if (--f->handles == 0) {
        buf_done(&f->answer);
        free(f->request);
        free(f);
    }
}

static const char *header(char *head, const char *name) {
    size_t n = strlen(name);
    for (char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (!strncasecmp(line, name, n) && line[n] == ':') {
            char *v = line + n + 1 + strspn(line + n + 1, " ");
            v[strcspn(v, "\r\n")] = 0;
            return v;
        }
    }
    return NULL;
}

/* The answer is there, or what came is all that will come. */
static void finish(struct fetch *f) {
    if (f->done) {
        return;
    }
    f->done = true;
    int status = 0;
    char *end = f->answer.p ? strstr(f->answer.p, "\r\n\r\n") : NULL;
    if (f->err.code == ERR_NONE && (!end || sscanf(f->answer.p, "HTTP/1.%*d %d", &status) != 1 || f->answer.over)) {
        err_set(&f->err, ERR_PROTOCOL, "no readable HTTP answer");
    }
    if (f->err.code == ERR_NONE) {
        *end = 0;
        const char *type = header(f->answer.p, "Content-Type");
        f->fn(f->ctx, status, type ? type : "text/plain", end + 4, f->answer.len - (size_t)(end + 4 - f->answer.p),
              &f->err);
    } else {
        f->fn(f->ctx, 0, "", "", 0, &f->err);
    }
    uv_close((uv_handle_t *)&f->tcp, on_closed);
    uv_close((uv_handle_t *)&f->timer, on_closed);
}

static void give_up(struct fetch *f, int code) {
    if (!f->done) {
        err_set(&f->err, ERR_UNAVAILABLE, "%s", uv_strerror(code));
        finish(f);
    }
}

static void on_deadline(uv_timer_t *t) {
    give_up(t->data, UV_ETIMEDOUT);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *b) {
    struct fetch *f = h->data;
    (void)size;
    *b = uv_buf_init(f->piece, sizeof f->piece);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    struct fetch *f = s->data;
    if (n == UV_EOF) {
        finish(f);
    } else if (n < 0) {
        give_up(f, (int)n);
    } else {
        buf_add(&f->answer, b->base, (size_t)n);
    }
}

static void on_written(uv_write_t *w, int status) {
    struct fetch *f = w->data;
    if (status < 0) {
        give_up(f, status);
    }
}

static void on_connected(uv_connect_t *c, int status) {
    struct fetch *f = c->data;
    if (status < 0) {
        give_up(f, status);
        return;
    }
    uv_buf_t b = uv_buf_init(f->request, (unsigned)strlen(f->request));
    f->write.data = f;
    uv_read_start((uv_stream_t *)&f->tcp, on_alloc, on_read);
    int bad = uv_write(&f->write, (uv_stream_t *)&f->tcp, &b, 1, on_written);
    if (bad) {
        give_up(f, bad);
    }
}

static void on_bad_address(uv_timer_t *t) {
    give_up(t->data, UV_EINVAL);
}

void fetch(struct loop *loop, const char *ip, int port, const char *target,
           void (*fn)(void *ctx, int status, const char *type, const char *body, size_t len, const struct err *err),
           void *ctx) {
    struct fetch *f = mem_alloc(sizeof *f);
    struct sockaddr_in to;
    f->fn = fn;
    f->ctx = ctx;
    f->handles = 2;
    f->request = mem_printf("GET %s HTTP/1.0\r\nHost: %s:%d\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
                            target, ip, port);
    buf_init(&f->answer, MAX_ANSWER);
    uv_tcp_init(loop_uv(loop), &f->tcp);
    uv_timer_init(loop_uv(loop), &f->timer);
    f->tcp.data = f->timer.data = f->connect.data = f;
    if (uv_ip4_addr(ip, port, &to) || uv_tcp_connect(&f->connect, &f->tcp, (const struct sockaddr *)&to, on_connected)) {
        uv_timer_start(&f->timer, on_bad_address, 0, 0);
    } else {
        uv_timer_start(&f->timer, on_deadline, DEADLINE_MS, 0);
    }
}
