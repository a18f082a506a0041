/*
 * A directory tree like /proc of each node of the embedded mesh:
 * DIR/NODE/PID/{comm,cmdline,cgroup,status,net/tcp,net/tcp6,net/fib_trie} in the kernel's formats, kept up to date with
 * what the world's proxies dial. Files are replaced whole, never half written.
 */
#pragma once

#include "world.h"

struct procfs;

/* Makes the tree for these nodes (NULL-terminated). */
struct procfs *procfs_new(const char *dir, struct world *world, char *const *nodes, struct err *err);
void procfs_free(struct procfs *p);
/* Write what changed since the last call. */
void procfs_update(struct procfs *p);
