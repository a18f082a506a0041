/* Inside of agent/reader: its life and its reports (reader.c), the rounds (reader_round.c), what is taken from the answers
 * (reader_take.c). */
#pragma once

#include "agent/reader.h"
#include "agent/reader_hunt.h"
#include "agent/replica.h"

/* More namespaces in focus than this are read cheaper by the whole syncz. */
#define FOCUS_MAX 8

enum rung { RUNG_METRICS, RUNG_CONNECTIONS, RUNG_SYNCZ, RUNG_STATUS, RUNG_NAMESPACE, RUNG_HUNT, RUNG_REST };

struct focus {
    char *name;
    int64_t read_ms; /* latest complete syncz of this namespace alone */
};

/* Sums over /metrics. */
struct rung0 {
    double rejects, streams, expired_nonces, uptime_s;
};

struct reader {
    const struct reader_env *env;
    char *id, *name, *address, *server_name;
    uint16_t xds_port, http_port;
    uint32_t period_ms, audit;
    bool idle;
    struct focus *focus;
    size_t n_focus;

    struct replica *replica;
    struct hunt *hunt;
    uint32_t epoch;
    enum rung rung;
    size_t at; /* next focus namespace of this round */
    struct hunt_question hunted;
    struct io_question *question;
    struct timer timer;
    int64_t round_ms, asked_ms, word_ms;

    Meshgate__V1__ReadStatus connections, syncz;
    char *error;
    int64_t connections_ms, syncz_ms; /* when the latest complete one was asked; 0 never in this epoch */
    int64_t refused_ms, status_ms;    /* JSON syncz was refused; the protobuf one was asked */
    struct rung0 now, at_connections, at_syncz;
    char version[64]; /* of istiod, "" not known */
    bool has_metrics, metrics_ok, want_syncz, status_only;
    bool second; /* the latest whole syncz was a second look */
    uint64_t bytes, questions;
    bool news, retell;
};

/* --- reader_round.c --- */
void reader_round(void *reader);
/* --- reader_take.c: each returns what came of the answer; the statuses of the reader are set --- */
void reader_take_metrics(struct reader *r, const struct io_answer *a);
enum io_status reader_take_connections(struct reader *r, const struct io_answer *a);
/* namespace_ NULL: the whole. */
enum io_status reader_take_syncz(struct reader *r, const struct io_answer *a, const char *namespace_);
enum io_status reader_take_status(struct reader *r, const struct io_answer *a);
