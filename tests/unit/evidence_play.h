/* Reports as agents make them, for the tests of gate/evidence. Texts are constants. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/evidence.h"
#include "lib/base/mem.h"
#include "lib/wire/digest.h"

static struct evidence *e;

static bool local_allowed(void *ctx, const char *pod_uid, const char *node) {
    (void)ctx;
    (void)node;
    return strncmp(pod_uid, "foreign", 7) != 0;
}

static bool may_read(void *ctx, const char *replica, const char *node) {
    (void)ctx;
    (void)node;
    return strcmp(replica, "not-mine") != 0;
}

static size_t differences;

static void differs(void *ctx, const char *replica) {
    (void)ctx;
    (void)replica;
    differences++;
}

static const struct evidence_rules rules = {.local_allowed = local_allowed, .may_read = may_read, .differs = differs};

/* A report under construction; texts are constants. */
static Meshgate__V1__Report report;
static Meshgate__V1__NodeScan scan;
static Meshgate__V1__LocalProxy local[4], *locals[4];
static Meshgate__V1__ReplicaReading reading, *readings[1];
static Meshgate__V1__ProxyOnReplica proxy[4], *proxies[4];
static char *gone[4];

static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static int setup(void **state) {
    (void)state;
    e = evidence_new();
    differences = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    evidence_free(e);
    return 0;
}

static void begin(void) {
    meshgate__v1__report__init(&report);
    meshgate__v1__node_scan__init(&scan);
    meshgate__v1__replica_reading__init(&reading);
    scan.changed = locals;
    readings[0] = &reading;
    reading.changed = proxies;
    reading.gone = gone;
}

static void with_reading(const char *replica, uint32_t epoch) {
    report.n_replicas = 1;
    report.replicas = readings;
    reading.replica = text(replica);
    reading.epoch = epoch;
    reading.connections = MESHGATE__V1__READ_STATUS__READ_OK;
}

static void complete(uint32_t age_ms, uint64_t questions) {
    reading.has_connections = true;
    reading.connections_age_ms = age_ms;
    reading.questions = questions;
}

static Meshgate__V1__ProxyOnReplica *with_proxy(const char *id, const char *connection) {
    size_t i = reading.n_changed++;
    proxies[i] = &proxy[i];
    meshgate__v1__proxy_on_replica__init(&proxy[i]);
    proxy[i].id = text(id);
    proxy[i].connection = text(connection);
    return &proxy[i];
}

static Meshgate__V1__LocalProxy *with_local(const char *uid) {
    report.scan = &scan;
    size_t i = scan.n_changed++;
    locals[i] = &local[i];
    meshgate__v1__local_proxy__init(&local[i]);
    local[i].pod_uid = text(uid);
    return &local[i];
}

static uint32_t take(const char *node, int64_t now_ms) {
    return evidence_take(e, node, &report, &rules, now_ms);
}

__attribute__((unused)) static void hello(const char *node, int64_t now_ms) {
    Meshgate__V1__Hello h = MESHGATE__V1__HELLO__INIT;
    h.version = text("1.0");
    h.node = text(node);
    h.node_witness = true;
    evidence_hello(e, node, &h, now_ms);
}
