/*
 * One report being put together: message structs and arrays belong to it, strings are borrowed from the tables until it has
 * been packed; strings that leave their table are handed over with report_keep().
 */
#pragma once

#include "lib/wire/wire.h"

/* Soft limit of a report's packed size; well below WIRE_MAX_MESSAGE, one entry may pass it. */
#define REPORT_BUDGET (256 * 1024)

struct report {
    Meshgate__V1__Report msg;
    Meshgate__V1__NodeScan scan;
    size_t bytes; /* estimate so far */
    char **kept;
    size_t n_kept;
};

void report_init(struct report *r);
void report_done(struct report *r);
bool report_full(const struct report *r);
/* Free s when the report is done; returns s. */
char *report_keep(struct report *r, char *s);
/* New, empty entries. Call report_count() with the entry's text sizes after filling it. */
Meshgate__V1__LocalProxy *report_local(struct report *r);
void report_local_gone(struct report *r, char *uid_taken);
Meshgate__V1__ReplicaReading *report_replica(struct report *r);
Meshgate__V1__ProxyOnReplica *report_proxy(struct report *r, Meshgate__V1__ReplicaReading *on);
void report_proxy_gone(struct report *r, Meshgate__V1__ReplicaReading *on, char *id_taken);
void report_namespace_age(struct report *r, Meshgate__V1__ReplicaReading *on, char *name, uint32_t age_ms);
/* Copies both names. */
void report_blocked(struct report *r, Meshgate__V1__ReplicaReading *on, const char *namespace_, const char *proxy,
                    uint32_t for_ms);
Meshgate__V1__Reach *report_reach(struct report *r);
void report_count(struct report *r, size_t bytes);
