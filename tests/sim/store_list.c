#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "store_impl.h"

/* State of one key at an older resourceVersion, for the later pages of a list. */
struct then {
    char *key;
    json_t *o; /* borrowed from history; NULL: was not there */
    UT_hash_handle hh;
};

struct page {
    json_t *items;
    size_t limit, left;
    char *next; /* key to go on after */
    const struct store_select *select;
    bool builtin;
};

static char *change_key(const struct store_change *c) {
    return store_key(js_str(c->now, "metadata", "namespace", NULL), js_text(c->now, "metadata", "name", NULL));
}

static struct then *state_at(struct store *s, size_t res, uint64_t rv) {
    struct then *all = NULL;
    for (size_t i = store_changes_after(s, rv); i < s->n_changes; i++) {
        if (s->changes[i].res != res) {
            continue;
        }
        struct then *t;
        char *key = change_key(&s->changes[i]);
        HASH_FIND_STR(all, key, t);
        if (t) {
            free(key);
            continue;
        }
        t = mem_alloc(sizeof *t);
        t->key = key;
        t->o = s->changes[i].before;
        HASH_ADD_KEYPTR(hh, all, t->key, strlen(t->key), t);
    }
    return all;
}

static void state_free(struct then *all) {
    struct then *t, *next;
    HASH_ITER(hh, all, t, next) {
        HASH_DEL(all, t);
        free(t->key);
        free(t);
    }
}

static void page_add(struct page *p, const char *key, const json_t *o) {
    if (!store_select_matches(p->select, o)) {
        return;
    }
    if (p->limit && json_array_size(p->items) >= p->limit) {
        p->left++;
        return;
    }
    json_t *item = json_copy(store_mutable(o));
    if (p->builtin) {
        json_object_del(item, "kind");
        json_object_del(item, "apiVersion");
    }
    json_array_append_new(p->items, item);
    mem_set(&p->next, key);
}

struct row {
    const char *key;
    const json_t *o;
};

static int row_by_key(const void *a, const void *b) {
    return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

/* Objects as they were at rv, in order of their keys. */
static void walk(struct store *s, size_t res, uint64_t rv, const char *after, struct page *p) {
    struct then *old = rv < s->rv ? state_at(s, res, rv) : NULL;
    size_t n = HASH_COUNT(s->tables[res].head) + HASH_COUNT(old), k = 0;
    struct row *rows = mem_alloc((n + 1) * sizeof *rows);
    for (const struct store_obj *o = s->tables[res].head; o; o = o->hh.next) {
        struct then *t = NULL;
        HASH_FIND_STR(old, o->key, t);
        if (!t) {
            rows[k++] = (struct row){o->key, o->o};
        }
    }
    for (const struct then *t = old; t; t = t->hh.next) {
        if (t->o) {
            rows[k++] = (struct row){t->key, t->o};
        }
    }
    if (old) {
        qsort(rows, k, sizeof *rows, row_by_key);
    }
    for (size_t i = 0; i < k; i++) {
        if (!after || strcmp(rows[i].key, after) > 0) {
            page_add(p, rows[i].key, rows[i].o);
        }
    }
    free(rows);
    state_free(old);
}

/* The token is opaque to clients: resourceVersion and last key in hex. */
static char *token_make(uint64_t rv, const char *key) {
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "%016" PRIx64, rv);
    for (; *key; key++) {
        buf_printf(&b, "%02x", (unsigned char)*key);
    }
    return buf_take(&b);
}

static bool token_read(const char *token, uint64_t *rv, char **key) {
    size_t n = strlen(token);
    if (n < 16 || n % 2 || n > 2048 || strspn(token, "0123456789abcdef") != n) {
        return false;
    }
    *rv = 0;
    *key = mem_alloc(n / 2);
    for (size_t i = 0; i < n; i += 2) {
        char two[3] = {token[i], token[i + 1], 0};
        unsigned long v = strtoul(two, NULL, 16);
        if (i < 16) {
            *rv = *rv << 8 | v;
        } else {
            (*key)[i / 2 - 8] = (char)v;
        }
    }
    return true;
}

static void continue_expired(struct store *s, const char *after, struct store_reply *out) {
    json_t *o = store_status_object(410, "Expired", NULL,
                                    "The provided continue parameter is too old to display a consistent list result. You "
                                    "can start a new list without the "
                                    "continue parameter, or use the continue token in this response to retrieve the "
                                    "remainder of the results. Continuing "
                                    "with the provided token results in an inconsistent list - objects that were created, "
                                    "modified, or deleted between the "
                                    "time the first chunk was returned and now may show up in the list.");
    char *token = token_make(s->rv, after);
    json_object_set_new(o, "metadata", json_pack("{s:s}", "continue", token));
    store_answer(out, 410, o);
    free(token);
    json_decref(o);
}

static void finish(const struct store_res *r, struct page *p, uint64_t rv, struct store_reply *out) {
    json_t *meta = json_pack("{s:o}", "resourceVersion", json_sprintf("%" PRIu64, rv));
    if (p->left) {
        char *token = token_make(rv, p->next);
        json_object_set_new(meta, "continue", json_string(token));
        json_object_set_new(meta, "remainingItemCount", json_integer((json_int_t)p->left));
        free(token);
    }
    json_t *gv = *r->group ? json_sprintf("%s/%s", r->group, r->version) : json_string(r->version);
    json_t *o = json_pack("{s:o,s:o,s:o,s:O}", "kind", json_sprintf("%sList", r->kind), "apiVersion", gv, "metadata", meta,
                          "items", p->items);
    store_answer(out, 200, o);
    json_decref(o);
}

void store_list(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    const char *limit = store_call_param(c, "limit"), *token = store_call_param(c, "continue");
    const char *at = store_call_param(c, "resourceVersion");
    int64_t n = 0, least = 0;
    uint64_t rv = s->rv;
    char *after = NULL;
    struct store_select *select = NULL;
    if (limit && !text_int(limit, 0, 1000000, &n)) {
        store_status(out, 400, "BadRequest", NULL, "limit: Invalid value: \"%s\": must be a number that is not negative",
                     limit);
        return;
    }
    if (at && *at && !text_int(at, 0, INT64_MAX, &least)) {
        store_status(out, 400, "BadRequest", NULL,
                     "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": "
                     "invalid syntax",
                     at, at);
        return;
    }
    if ((uint64_t)least > s->rv) {
        store_too_new(out, (uint64_t)least, s->rv);
        return;
    }
    if (token && *token && !token_read(token, &rv, &after)) {
        store_status(out, 400, "BadRequest", NULL, "continue key is not valid: encoded token is not readable");
        return;
    }
    if (after && (rv < s->compacted || rv > s->rv)) {
        continue_expired(s, after, out);
        free(after);
        return;
    }
    select = store_select_new(c, out);
    if (select) {
        struct page p = {
            .items = json_array(), .limit = (size_t)n, .select = select, .builtin = strcmp(r->group, "meshgate.io")};
        store_sort(s, c->res);
        walk(s, c->res, rv, after, &p);
        finish(r, &p, rv, out);
        json_decref(p.items);
        free(p.next);
    }
    store_select_free(select);
    free(after);
}
