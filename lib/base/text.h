/* Small readers and writers of text that everybody needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* "1h30m", "15m", "10s", "300ms", "0s" as Go writes them, to milliseconds. Negative or unit-less: false. */
bool text_duration(const char *s, int64_t *out_ms);
/* Milliseconds to the short form people write: "15m", "1h30m", "10s", "250ms". */
void text_duration_format(int64_t ms, char *out, size_t cap);
/* An age for a table: "5s", "3m", "2h", "4d". */
void text_age(int64_t ms, char *out, size_t cap);
/* RFC 3339 (with or without fraction, Z or offset) to milliseconds since the epoch, and back ("2026-11-23T07:00:00Z"). */
bool text_rfc3339(const char *s, int64_t *out_ms);
void text_rfc3339_format(int64_t wall_ms, char *out, size_t cap);
/* A whole decimal number within [min,max]. */
bool text_int(const char *s, int64_t min, int64_t max, int64_t *out);
/* FNV-1a 64. For digests of tables and stable choices, not for security. */
uint64_t text_hash(uint64_t seed, const void *p, size_t n);
/* Read a small file whole (at most max bytes); *out is NUL-terminated and the caller's to free. */
bool text_read_file(const char *path, size_t max, char **out, size_t *out_len, struct err *err);
/* true for well-formed UTF-8 without NUL and control characters other than \t \n. */
bool text_is_clean(const char *p, size_t n);
/* Length of the well-formed UTF-8 character at p (at most n bytes), 0 when there is none. */
size_t text_utf8(const char *p, size_t n);
