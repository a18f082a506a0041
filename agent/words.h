/* Texts that many entries share (versions, kinds of proxy), kept once each and counted. */
#pragma once

struct words;

struct words *words_new(void);
void words_free(struct words *w);
/* The one copy of this text, valid until it was dropped as often as taken. Equal texts give equal pointers.
 * Not to be written to; without const because messages of protobuf-c borrow it. */
char *words_take(struct words *w, const char *text);
/* text as words_take() gave it; NULL: nothing happens. */
void words_drop(struct words *w, const char *text);
