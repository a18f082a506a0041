/*
 * The gate's answer about proxies, read one proxy at a time: a mesh has tens of thousands, and as one tree they would take
 * several times the memory of the text.
 */
#pragma once

#include "filter.h"

struct proxies_seen {
    json_t *rows;   /* those that pass, by namespace and pod */
    json_t *counts; /* of all, by state */
    size_t total;
    json_t *upgrade; /* string or null */
};

/* whole: keep everything that was said of a proxy; else only what a narrow table needs. false and *err: no such answer. out
 * needs proxies_seen_done() in both cases. */
bool proxies_read(const char *text, size_t n, const struct filter *f, bool whole, struct proxies_seen *out,
                  struct err *err);
void proxies_seen_done(struct proxies_seen *s);
