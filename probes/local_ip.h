/* The address of a pod from its network namespace as /proc/PID/net shows it, for a proxy that has no connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* First local address in net/fib_trie that is not of the loopback network; false: none. A text that is cut is fine. */
bool local_ip_v4(const char *fib_trie, char out[46]);
/* First address of global scope in net/if_inet6; false: none. */
bool local_ip_v6(const char *if_inet6, char out[46]);
