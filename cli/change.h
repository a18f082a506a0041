/* What pause, resume and approve do to a MeshUpgrade. Pure: JSON in, JSON out. */
#pragma once

#include "cluster.h"

/* arg: NULL */
enum change_result change_pause(json_t *upgrade, const void *arg, struct err *err);
/* arg: NULL. Also acknowledges the hold that a bad signal left. */
enum change_result change_resume(json_t *upgrade, const void *arg, struct err *err);
/* arg: name of the wave */
enum change_result change_approve(json_t *upgrade, const void *arg, struct err *err);
