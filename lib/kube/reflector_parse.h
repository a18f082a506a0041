/* Private to the reflector: pages of a list and lines of a watch, checked before anything is believed. */
#pragma once

#include <jansson.h>

#include "../base/err.h"

enum event_type { EVENT_BOOKMARK, EVENT_PUT, EVENT_GONE, EVENT_ERROR };

struct watch_event {
    json_t *tree; /* owned: event_done() */
    enum event_type type;
    const json_t *object;
    const char *version; /* metadata.resourceVersion; not of EVENT_ERROR */
    int status;          /* EVENT_ERROR: code of the Status */
};

bool event_parse(const char *line, size_t len, struct watch_event *out, struct err *err);
void event_done(struct watch_event *e);

struct list_page {
    json_t *tree; /* owned: page_done() */
    const json_t *items;
    const char *version;
    const char *next; /* continue token, NULL: this was the last page */
};

bool page_parse(const char *body, size_t len, struct list_page *out, struct err *err);
void page_done(struct list_page *p);
