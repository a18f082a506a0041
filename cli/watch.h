/* Follows one upgrade until it ends: redraws on a terminal, a line a change elsewhere. */
#pragma once

#include "args.h"
#include "cluster.h"

/* The exit code of the program; *err is filled for EXIT_ERROR and EXIT_USAGE. */
enum exit_code watch(struct cluster *c, const struct args *a, struct err *err);
