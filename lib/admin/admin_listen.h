/* The listening socket of lib/admin. */
#pragma once

#include "../base/err.h"

/* "HOST:PORT", "[V6]:PORT" or ":PORT" to a listening socket; -1 and *err. *out_port: the one it got. */
int admin_listen(const char *address, int *out_port, struct err *err);
