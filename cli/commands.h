/* The commands that ask the cluster once. */
#pragma once

#include "args.h"
#include "cluster.h"

/* The exit code of the program; *err is filled for EXIT_ERROR and EXIT_USAGE. */
enum exit_code commands_run(struct cluster *c, const struct args *a, struct err *err);
