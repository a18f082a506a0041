/*
 * Which control plane a local proxy's process dials: /proc/PID of every pilot-agent, readable without privileges in the
 * host PID namespace (istiod-facts 5). The socket says which revision it dials; it never proves that it is served.
 */
#pragma once

#include "../lib/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct dial_seen {
    char pod_uid[40];     /* from /proc/PID/cgroup: "kubepods...pod<uid>", dashes restored */
    char pod_ip[46];      /* local address of the connection; "" without one */
    char remote[56];      /* "IP:PORT" of an ESTABLISHED connection to xds_port, "" none */
    uint32_t connections; /* number of those */
    int32_t pid;
};

/* Look at all processes called pilot-agent under proc_root ("/proc"). One entry a pod (a second process of the same pod is
 * merged). Returns the number handed to fn, -1 with *err when proc_root can't be read or shows only this PID namespace
 * (no foreign process at all: hostPID is missing). */
int64_t socket_scan(const char *proc_root, uint16_t xds_port, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx,
                    struct err *err);
/* Pieces of it, for tests and fuzzing. */
bool socket_cgroup_uid(const char *text, char out[40]);
/* Entries of net/tcp or net/tcp6 in state 01 of user `uid` whose remote port is xds_port; fn may be called several times.
 */
int64_t socket_parse_tcp(const char *text, size_t len, uint32_t uid, uint16_t xds_port,
                         void (*fn)(void *ctx, const char *local_ip, const char *remote_ip), void *ctx);
