/*
 * istiod's push version "RFC 3339 time/counter": prefix of its nonces, version_info of its answers, and what Envoy shows as
 * version_text once it has accepted a push (istiod-facts 5; pilot/pkg/xds/discovery.go NextVersion).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct push_version {
    int64_t at_ms, counter;
};

/* false: the text is of another form. */
bool push_version_read(const char *text, struct push_version *out);
/* Both are push versions, and the first is earlier. */
bool push_version_before(const char *a, const char *b);
/* 0 equal, 1 the first is later, -1 it is earlier or the two cannot be compared. */
int push_version_order(const char *a, const char *b);
