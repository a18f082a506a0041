#include "relay.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"

struct half;

struct pair {
    struct relay *relay;
    struct half *side; /* [0] client, [1] endpoint */
    uv_connect_t connect;
    int open;
    bool closing;
    struct pair *prev, *next;
};

struct half {
    uv_tcp_t tcp;
    struct pair *pair;
    char bytes[16384];
    uv_write_t write;
};

struct relay {
    uv_tcp_t listener;
    struct loop *loop;
    const char *(*pick)(void *ctx);
    void *ctx;
    int port;
    bool gone;
    struct pair *pairs;
};

static void maybe_free(struct relay *r) {
    if (r->gone && !r->pairs && !uv_is_active((uv_handle_t *)&r->listener)) {
        free(r);
    }
}

static void on_closed(uv_handle_t *h) {
    struct pair *p = ((struct half *)h->data)->pair;
    if (--p->open) {
        return;
    }
    struct relay *r = p->relay;
    if (p->prev) {
        p->prev->next = p->next;
    } else {
        r->pairs = p->next;
    }
    if (p->next) {
        p->next->prev = p->prev;
    }
    free(p->side);
    free(p);
    maybe_free(r);
}

static void pair_close(struct pair *p) {
    if (!p->closing) {
        p->closing = true;
        uv_close((uv_handle_t *)&p->side[0].tcp, on_closed);
        uv_close((uv_handle_t *)&p->side[1].tcp, on_closed);
    }
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *b) {
    struct half *x = h->data;
    (void)size;
    *b = uv_buf_init(x->bytes, sizeof x->bytes);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b);

static void on_written(uv_write_t *w, int status) {
    struct half *from = w->data;
    if (status < 0 || from->pair->closing || uv_read_start((uv_stream_t *)&from->tcp, on_alloc, on_read)) {
        pair_close(from->pair);
    }
}

/* One piece under way in each direction: the endpoint's pace holds the client back. */
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    struct half *from = s->data;
    struct half *to = from == &from->pair->side[0] ? &from->pair->side[1] : &from->pair->side[0];
    if (n < 0) {
        pair_close(from->pair);
    } else if (n > 0) {
        uv_buf_t out = uv_buf_init(b->base, (unsigned)n);
        uv_read_stop(s);
        from->write.data = from;
        if (uv_write(&from->write, (uv_stream_t *)&to->tcp, &out, 1, on_written)) {
            pair_close(from->pair);
        }
    }
}

static void on_connected(uv_connect_t *c, int status) {
    struct pair *p = c->data;
    bool bad = status < 0 || p->closing || uv_read_start((uv_stream_t *)&p->side[0].tcp, on_alloc, on_read) ||
               uv_read_start((uv_stream_t *)&p->side[1].tcp, on_alloc, on_read);
    if (bad) {
        pair_close(p);
    }
}

static void on_client(uv_stream_t *listener, int status) {
    struct relay *r = listener->data;
    struct sockaddr_in to;
    if (status < 0) {
        return;
    }
    struct pair *p = mem_alloc(sizeof *p);
    p->side = mem_alloc(2 * sizeof *p->side);
    p->relay = r;
    p->open = 2;
    p->connect.data = p;
    p->next = r->pairs;
    if (p->next) {
        p->next->prev = p;
    }
    r->pairs = p;
    for (int i = 0; i < 2; i++) {
        uv_tcp_init(loop_uv(r->loop), &p->side[i].tcp);
        p->side[i].tcp.data = &p->side[i];
        p->side[i].pair = p;
    }
    const char *ip = r->pick(r->ctx);
    if (uv_accept(listener, (uv_stream_t *)&p->side[0].tcp) || !ip || uv_ip4_addr(ip, r->port, &to) ||
        uv_tcp_connect(&p->connect, &p->side[1].tcp, (const struct sockaddr *)&to, on_connected)) {
        pair_close(p);
    }
}

struct relay *relay_new(struct loop *loop, const char *ip, int port, const char *(*pick)(void *ctx), void *ctx,
                        struct err *err) {
    struct relay *r = mem_alloc(sizeof *r);
    struct sockaddr_in at;
    r->loop = loop;
    r->pick = pick;
    r->ctx = ctx;
    r->port = port;
    uv_tcp_init(loop_uv(loop), &r->listener);
    r->listener.data = r;
    int bad = uv_ip4_addr(ip, port, &at);
    bad = bad ? bad : uv_tcp_bind(&r->listener, (const struct sockaddr *)&at, 0);
    bad = bad ? bad : uv_listen((uv_stream_t *)&r->listener, 128, on_client);
    if (bad) {
        err_set(err, ERR_UNAVAILABLE, "cannot listen on %s:%d: %s", ip, port, uv_strerror(bad));
        relay_free(r);
        return NULL;
    }
    return r;
}

static void on_listener_closed(uv_handle_t *h) {
    maybe_free(h->data);
}

void relay_free(struct relay *r) {
    if (r) {
        r->gone = true;
        for (struct pair *p = r->pairs; p; p = p->next) {
            pair_close(p);
        }
        uv_close((uv_handle_t *)&r->listener, on_listener_closed);
    }
}
