/* Times of day as text with milliseconds, for log lines. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { TIME_TEXT_CAP = 40 };

/* "2026-11-23T07:00:00.123Z" */
void time_text_ms(int64_t wall_ms, char *out, size_t cap);
