#include "control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/base/mem.h"

#define MAX_LINE 4096
#define MAX_ANSWER (16u * 1024 * 1024)

struct client {
    uv_pipe_t pipe;
    struct control *control;
    char line[MAX_LINE];
    size_t len;
    char piece[1024];
    struct client *prev, *next;
};

struct control {
    uv_pipe_t listener;
    struct loop *loop;
    char *path;
    void (*answer)(void *ctx, const char *line, struct buf *out);
    void *ctx;
    struct client *clients;
    bool gone, listening;
};

static void maybe_free(struct control *c) {
    if (c->gone && !c->clients && !c->listening) {
        free(c->path);
        free(c);
    }
}

static void on_client_closed(uv_handle_t *h) {
    struct client *x = h->data;
    struct control *c = x->control;
    if (x->prev) {
        x->prev->next = x->next;
    } else {
        c->clients = x->next;
    }
    if (x->next) {
        x->next->prev = x->prev;
    }
    free(x);
    maybe_free(c);
}

static void client_close(struct client *x) {
    if (!uv_is_closing((uv_handle_t *)&x->pipe)) {
        uv_close((uv_handle_t *)&x->pipe, on_client_closed);
    }
}

struct answer {
    uv_write_t write;
    char *text;
};

static void on_written(uv_write_t *w, int status) {
    struct answer *a = w->data;
    (void)status;
    free(a->text);
    free(a);
}

static void answer_line(struct client *x) {
    struct buf b;
    struct answer *a = mem_alloc(sizeof *a);
    buf_init(&b, MAX_ANSWER);
    x->control->answer(x->control->ctx, x->line, &b);
    buf_str(&b, "\n");
    uv_buf_t out = uv_buf_init(NULL, (unsigned)b.len);
    a->text = buf_take(&b);
    out.base = a->text;
    a->write.data = a;
    if (uv_write(&a->write, (uv_stream_t *)&x->pipe, &out, 1, on_written)) {
        on_written(&a->write, -1);
        client_close(x);
    }
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *b) {
    struct client *x = h->data;
    (void)size;
    *b = uv_buf_init(x->piece, sizeof x->piece);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    struct client *x = s->data;
    if (n < 0) {
        client_close(x);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (b->base[i] == '\n') {
            x->line[x->len] = 0;
            x->len = 0;
            answer_line(x);
        } else if (x->len + 1 < sizeof x->line) {
            x->line[x->len++] = b->base[i];
        } else {
            client_close(x);
            return;
        }
    }
}

static void on_client(uv_stream_t *listener, int status) {
    struct control *c = listener->data;
    if (status < 0) {
        return;
    }
    struct client *x = mem_alloc(sizeof *x);
    x->control = c;
    x->next = c->clients;
    if (x->next) {
        x->next->prev = x;
    }
    c->clients = x;
    uv_pipe_init(loop_uv(c->loop), &x->pipe, 0);
    x->pipe.data = x;
    if (uv_accept(listener, (uv_stream_t *)&x->pipe) || uv_read_start((uv_stream_t *)&x->pipe, on_alloc, on_read)) {
        client_close(x);
    }
}

struct control *control_new(struct loop *loop, const char *path,
                            void (*answer)(void *ctx, const char *line, struct buf *out), void *ctx, struct err *err) {
    struct control *c = mem_alloc(sizeof *c);
    c->loop = loop;
    c->path = mem_dup(path);
    c->answer = answer;
    c->ctx = ctx;
    unlink(path);
    uv_pipe_init(loop_uv(loop), &c->listener, 0);
    c->listener.data = c;
    c->listening = true;
    int bad = uv_pipe_bind(&c->listener, path);
    bad = bad ? bad : uv_listen((uv_stream_t *)&c->listener, 8, on_client);
    if (bad) {
        err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: %s", path, uv_strerror(bad));
        control_free(c);
        return NULL;
    }
    return c;
}

static void on_listener_closed(uv_handle_t *h) {
    struct control *c = h->data;
    c->listening = false;
    maybe_free(c);
}

void control_free(struct control *c) {
    if (c) {
        c->gone = true;
        for (struct client *x = c->clients; x; x = x->next) {
            client_close(x);
        }
        uv_close((uv_handle_t *)&c->listener, on_listener_closed);
    }
}
