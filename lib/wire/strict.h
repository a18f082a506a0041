/*
 * What protobuf-c lets pass, found in the bytes before it sees them: bad UTF-8, NUL in strings, unknown enum numbers,
 * numbers that do not fit, singular fields given twice (it would merge them), the wrong wire type.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "../base/err.h"

/* Checks one message. Unknown fields are left to pass (the contract grows by adding some). Control characters in strings
 * become spaces in place, so that no text of a peer reaches a terminal as a command. */
bool strict_check(const ProtobufCMessageDescriptor *d, uint8_t *p, size_t n, struct err *err);
