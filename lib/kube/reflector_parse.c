#include "reflector_parse.h"

#include <string.h>

#include "../base/json.h"

enum { MAX_PAGE = 64 << 20, MAX_LINE = 4 << 20 };

static bool named(const json_t *object, struct err *err) {
    if (!*js_text(object, "metadata", "name", NULL)) {
        return err_set(err, ERR_PROTOCOL, "an object without a name");
    }
    return true;
}

static bool event_read(struct watch_event *e, struct err *err) {
    const char *type = js_text(e->tree, "type", NULL);
    e->object = js_at(e->tree, "object", NULL);
    e->version = js_text(e->object, "metadata", "resourceVersion", NULL);
    if (!json_is_object(e->object)) {
        return err_set(err, ERR_PROTOCOL, "a watch event without an object");
    }
    if (!strcmp(type, "ERROR")) {
        e->type = EVENT_ERROR;
        e->status = (int)js_int(e->object, 500, "code", NULL);
        return true;
    }
    if (!*e->version) {
        return err_set(err, ERR_PROTOCOL, "a watch event without a resourceVersion");
    }
    if (!strcmp(type, "BOOKMARK")) {
        e->type = EVENT_BOOKMARK;
        return true;
    }
    bool put = !strcmp(type, "ADDED") || !strcmp(type, "MODIFIED");
    if (!put && strcmp(type, "DELETED") != 0) {
        return err_set(err, ERR_PROTOCOL, "a watch event of unknown type \"%.40s\"", type);
    }
    e->type = put ? EVENT_PUT : EVENT_GONE;
    return named(e->object, err);
}

bool event_parse(const char *line, size_t len, struct watch_event *out, struct err *err) {
    *out = (struct watch_event){0};
    out->tree = js_parse(line, len, MAX_LINE, err);
    if (!out->tree) {
        return false;
    }
    if (!event_read(out, err)) {
        event_done(out);
        return false;
    }
    return true;
}

void event_done(struct watch_event *e) {
    json_decref(e->tree);
    *e = (struct watch_event){0};
}

static bool page_read(struct list_page *p, struct err *err) {
    p->items = js_at(p->tree, "items", NULL);
    p->version = js_text(p->tree, "metadata", "resourceVersion", NULL);
    p->next = js_str(p->tree, "metadata", "continue", NULL);
    if (p->next && !*p->next) {
        p->next = NULL;
    }
    if (!*p->version) {
        return err_set(err, ERR_PROTOCOL, "a list without a resourceVersion");
    }
    if (p->items && !json_is_array(p->items) && !json_is_null(p->items)) {
        return err_set(err, ERR_PROTOCOL, "a list whose items are no array");
    }
    size_t i;
    const json_t *o;
    json_array_foreach(p->items, i, o) {
        if (!named(o, err)) {
            return false;
        }
    }
    return true;
}

bool page_parse(const char *body, size_t len, struct list_page *out, struct err *err) {
    *out = (struct list_page){0};
    out->tree = js_parse(body, len, MAX_PAGE, err);
    if (!out->tree) {
        return false;
    }
    if (!page_read(out, err)) {
        page_done(out);
        return false;
    }
    return true;
}

void page_done(struct list_page *p) {
    json_decref(p->tree);
    *p = (struct list_page){0};
}
