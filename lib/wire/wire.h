/*
 * meshgate's own messages: packing, and unpacking with limits. protobuf-c takes invalid UTF-8, embedded NULs and any
 * enum number; everything that arrives is checked here before anybody looks at it.
 */
#pragma once

#include "../base/buf.h"
#include "../base/err.h"
#include "meshgate.pb-c.h"
#include "xds.pb-c.h"

/* Largest message between agent and gate; larger reports are cut in parts by the sender. */
#define WIRE_MAX_MESSAGE (1024 * 1024)
/* Memory that unpacking one message may take, whatever its bytes say. */
#define WIRE_MAX_UNPACKED (16 * 1024 * 1024)
/* Longest string in a message; senders cut longer ones (error texts of proxies). */
#define WIRE_MAX_TEXT (16 * 1024)

/* Unpack and check. NULL and *err: malformed, too large, bad text, a field out of range. Free with the functions below. */
Meshgate__V1__AgentMessage *wire_agent_message(const struct piece *pieces, size_t n, struct err *err);
Meshgate__V1__GateMessage *wire_gate_message(const struct piece *pieces, size_t n, struct err *err);
void wire_agent_free(Meshgate__V1__AgentMessage *m);
void wire_gate_free(Meshgate__V1__GateMessage *m);
/* Pack any protobuf-c message into b (reset first). */
void wire_pack(const ProtobufCMessage *m, struct buf *b);
/* A DiscoveryRequest for a debug question: node only in the first message of a stream (node_id NULL: leave out).
 * namespace_: metadata NAMESPACE, needed by istiod's identity check. resource may be NULL. */
void wire_debug_request(struct buf *b, const char *node_id, const char *namespace_, const char *type_url,
                        const char *resource);
