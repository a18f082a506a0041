/*
 * Everything the agent asks of the world outside. The real one is agent/io_real.c (gRPC, curl, OpenSSL, /proc); the
 * embedded mesh gives its own in scenario tests, where bytes and times are the same and only the sockets are missing.
 * Every callback comes exactly once unless the question was dropped, on the loop thread, never from inside the call.
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/err.h"
#include "../probes/socket.h"

enum io_status { IO_OK, IO_TIMEOUT, IO_UNREACHABLE, IO_DENIED, IO_REFUSED, IO_GARBLED, IO_BUSY };

/* An istiod process. Strings are borrowed for the call. */
struct io_target {
    const char *id;      /* pod UID: key of the stream that is kept */
    const char *address; /* IP */
    uint16_t xds_port, http_port;
    const char *server_name; /* name that its certificate must carry */
};

struct io_answer {
    enum io_status status;
    const char *error;        /* text when not OK */
    const struct piece *body; /* borrowed for the callback */
    size_t pieces, bytes;
};
/* The body in one piece, NUL-terminated; the caller's to free(). For small answers. */
char *io_text(const struct io_answer *a);
typedef void (*io_answer_fn)(void *ctx, const struct io_answer *a);

struct io_reach {
    bool ok;
    bool busy;         /* of stream(): istiod's admission limit turned it away, which says nothing of the way there */
    const char *stage; /* that was reached when ok, that failed otherwise: "tcp", "tls", "ready", "ads" */
    const char *error;
    uint32_t rtt_us;        /* of the TCP connection; 0 not known */
    uint32_t first_byte_us; /* of stream(): from dialling to the first answer; 0 without one */
    int64_t cert_expiry_s;  /* of istiod's certificate, negative: expired; 0 not known */
};

struct io_question;

/* In place of a resource name: the protobuf syncz, whose body is the whole DiscoveryResponse. */
#define IO_STATUS_SYNCZ "istio.io/debug/syncz"

struct agent_io {
    void *self;
    /* One debug question (type istio.io/debug, one resource name) on the ADS stream of a replica; the stream is opened when
     * needed and kept. One question at a time a replica. */
    struct io_question *(*ask)(void *self, const struct io_target *t, const char *resource, int64_t timeout_ms,
                               io_answer_fn fn, void *ctx);
    /* Close the stream to a replica (its open question is dropped). */
    void (*forget)(void *self, const char *id);
    /* GET http://ADDRESS:PORT/PATH with Accept: text/plain; at most 1 MiB. status OK for 200 only; BUSY for 503. */
    struct io_question *(*get)(void *self, const char *address, uint16_t port, const char *path, int64_t timeout_ms,
                               io_answer_fn fn, void *ctx);
    /* Test a revision's xDS endpoint: TCP, then TLS with root and name, then HTTP /ready on http_port when it is not 0 and
     * can be reached. */
    struct io_question *(*reach)(void *self, const struct io_target *t, int64_t timeout_ms,
                                 void (*fn)(void *ctx, const struct io_reach *r), void *ctx);
    /* Open a real ADS stream as a proxy does, wait for a first answer, close it. Costs istiod a token review and counts
     * against its limit of new streams: only by slot of the gate. */
    struct io_question *(*stream)(void *self, const struct io_target *t, int64_t timeout_ms,
                                  void (*fn)(void *ctx, const struct io_reach *r), void *ctx);
    /* No callback afterwards. */
    void (*drop)(void *self, struct io_question *q);
    /* Look at the local proxies' processes; synchronous, cheap. As socket_scan(). */
    int64_t (*scan)(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err);

    /* The line to the gate. One at a time. */
    struct {
        void (*open)(void *self); /* result: events below */
        bool (*send)(void *self, const void *p, size_t n);
        void (*close)(void *self); /* no event afterwards */
    } link;
};

/* What the line says; set by the agent before it opens it. */
struct link_events {
    void (*message)(void *ctx, const struct piece *pieces, size_t n);
    void (*closed)(void *ctx, int rpc_status, const char *text); /* also: could not be opened */
    void *ctx;
};
