/* What the real io says of the way from a node to a revision, good or bad. */
#pragma once

#include "../sim/world.h"

/*
 * s: what the istiod at address would say, text: that in words; stream: of a real ADS stream. error: room for the text
 * that the result points to.
 */
struct io_reach ways_say(enum world_way way, bool stream, enum io_status s, const char *text, const char *address,
                         const char *server_name, char error[200]);
