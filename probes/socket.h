/*
 * Which control plane a local proxy's process dials: /proc/PID of every pilot-agent (sidecars, gateways, waypoints) and
 * ztunnel, readable without privileges in the host PID namespace (istiod-facts 5). The socket says which revision it
 * dials; it never proves that it is served.
 */
#pragma once

#include "../lib/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dial_seen {
    char pod_uid[40];     /* from /proc/PID/cgroup: "kubepods...pod<uid>", dashes restored */
    char program[16];     /* pilot-agent, ztunnel */
    char pod_ip[46];      /* local address of the connection; without one the network namespace's; "" not found */
    char remote[56];      /* "IP:PORT" of an ESTABLISHED connection to xds_port, "" none */
    uint32_t connections; /* number of those */
    uint32_t ports;       /* their local ports added up: another sum, another connection */
    bool cut;             /* the table was too long to be read whole: that no connection was found means nothing */
    int32_t pid;
};

/*
 * Look at all proxies' processes under proc_root ("/proc"). One entry a pod (a second process of the same pod is merged);
 * what ends while it is looked at is left out. Returns the number handed to fn; -1 with *err when less than all can be
 * seen, because it would pass for fewer proxies: proc_root can't be read, shows only this PID namespace (hostPID is
 * missing) or hides what is in it, or there is more than we take.
 */
int64_t socket_scan(const char *proc_root, uint16_t xds_port, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx,
                    struct err *err);
/* Pieces of it, for tests and fuzzing. */
/* UID of the pod: 8-4-4-4-12 digits, of a static pod 32 without dashes (kubelet's hash of its file). */
bool socket_cgroup_uid(const char *text, char out[40]);
/* Entries of net/tcp or net/tcp6 in state 01 of user `uid` whose remote port is xds_port; fn may be called several times.
 */
int64_t socket_parse_tcp(const char *text, size_t len, uint32_t uid, uint16_t xds_port,
                         void (*fn)(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip),
                         void *ctx);
