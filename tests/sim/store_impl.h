/* Inside of the embedded API server; included by store*.c and simkube.c only. */
#pragma once

#include <uthash.h>

#include "../../lib/base/buf.h"
#include "../../lib/base/err.h"
#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "store.h"

/* A resource that is served. */
struct store_res {
    const char *group, *version, *plural, *kind, *short_name;
    bool namespaced, status, generation, create_only;
};

struct store_obj {
    char *key; /* "NS/NAME"; "/NAME" for cluster-wide ones */
    json_t *o; /* never changed in place: history and watches share it */
    UT_hash_handle hh;
};

struct store_table {
    struct store_obj *head;
    bool sorted;
};

enum store_event { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };

struct store_change {
    uint64_t rv;
    size_t res;
    enum store_event event;
    json_t *now, *before; /* before NULL: was not there */
};

struct store_token {
    char *token, *namespace_, *account, *audience, *node, *pod, *user;
    struct store_token *next;
};

struct store_fault_rule {
    char *user;
    int status;
    struct store_fault_rule *next;
};

#define STORE_RES_MAX 32

struct store {
    struct sched *sched;
    struct store_table tables[STORE_RES_MAX];
    uint64_t rv, compacted, ids;
    struct store_change *changes;
    size_t n_changes, cap_changes;
    struct store_watch *watches;
    int emitting;
    bool sweep;
    struct store_token *tokens;
    struct store_fault_rule *faults;
    void (*on_change)(void *ctx, const char *resource, const char *event, const json_t *obj);
    void *on_change_ctx;
    bool (*on_admit)(void *ctx, json_t *pod, struct err *err);
    void *on_admit_ctx;
    bool (*on_proxy)(void *ctx, const char *ns, const char *service, const char *path, struct store_reply *out);
    void *on_proxy_ctx;
};

#define STORE_CALL_SEGMENTS 16
#define STORE_CALL_PARAMS 24

/* A request taken apart. */
struct store_call {
    char *text;
    char *seg[STORE_CALL_SEGMENTS];
    size_t n_seg;
    struct {
        const char *key, *value;
    } param[STORE_CALL_PARAMS];
    size_t n_param;
    const char *method, *content_type;
    const char *body;
    size_t len;
    const struct store_user *user;
    size_t res;                         /* index of the resource; valid when route is STORE_ROUTE_RES */
    const char *ns, *name, *sub, *rest; /* rest: raw path behind .../proxy/ */
};

/* store_types.c */
extern const struct store_res store_resources[];
size_t store_resource_count(void);
/* false when unknown. group may be NULL: any. */
bool store_resource_find(const char *group, const char *version, const char *plural, size_t *out);
/* Discovery; false: no such document. */
bool store_discovery(const struct store_call *c, struct store_reply *out);

/* store_status.c */
void store_answer(struct store_reply *out, int status, const json_t *o);
/* A Status object. details may be NULL and is taken. */
void store_status(struct store_reply *out, int code, const char *reason, json_t *details, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
json_t *store_status_object(int code, const char *reason, json_t *details, const char *message);
void store_plain(struct store_reply *out, int status, const char *text);
json_t *store_details(const struct store_res *r, const char *name);
/* "pods", "deployments.apps" */
void store_qualified(const struct store_res *r, char *out, size_t cap);
void store_not_found(struct store_reply *out, const struct store_res *r, const char *name);
/* A resourceVersion that does not exist yet. */
void store_too_new(struct store_reply *out, uint64_t wanted, uint64_t have);
void store_conflict(struct store_reply *out, const struct store_res *r, const char *name, const char *why);

/* store_objects.c */
json_t *store_mutable(const json_t *o); /* drops const; for refcounts */
char *store_key(const char *ns, const char *name);
struct store_obj *store_find(struct store *s, size_t res, const char *ns, const char *name);
/* Store a whole object (taken). Fills server fields. Returns what is stored now (borrowed). */
const json_t *store_commit(struct store *s, size_t res, json_t *obj);
void store_remove(struct store *s, size_t res, struct store_obj *o);
void store_sort(struct store *s, size_t res);
/* Index of the first change after rv. */
size_t store_changes_after(const struct store *s, uint64_t rv);
void store_random_name(struct store *s, char out[6]);

/* store_list.c */
struct store_select;
/* NULL + *out (400) for a selector that cannot be read. Borrows c. */
struct store_select *store_select_new(const struct store_call *c, struct store_reply *out);
void store_select_free(struct store_select *x);
bool store_select_matches(const struct store_select *x, const json_t *o);
void store_list(struct store *s, const struct store_call *c, struct store_reply *out);

/* store_watch.c */
void store_watch_emit(struct store *s, const struct store_change *c);
void store_watch_done_all(struct store *s);

/* store_patch.c: changes that come as requests. */
void store_create(struct store *s, const struct store_call *c, struct store_reply *out);
void store_update(struct store *s, const struct store_call *c, struct store_reply *out);
void store_delete_call(struct store *s, const struct store_call *c, struct store_reply *out);
/* RFC 7386; returns a new object. */
json_t *store_merge(const json_t *target, const json_t *patch);

/* store_validate.c: what the CRD's schema would refuse. true: fine; false: *out is the 422. Fills defaults. */
bool store_validate(const struct store_res *r, json_t *obj, const json_t *old, struct store_reply *out);

/* openAPIV3Schema of the MeshUpgrade CRD; lives for ever. */
const json_t *store_crd_schema(void);

/* store_special.c */
void store_token_review(struct store *s, const struct store_call *c, struct store_reply *out);
void store_token_request(struct store *s, const struct store_call *c, struct store_reply *out);
void store_evict(struct store *s, const struct store_call *c, struct store_reply *out);
void store_proxy(struct store *s, const struct store_call *c, struct store_reply *out);
int store_fault_of(const struct store *s, const struct store_user *user);
void store_special_done(struct store *s);

/* store.c */
bool store_call_parse(struct store_call *c, const char *path_query);
void store_call_done(struct store_call *c);
const char *store_call_param(const struct store_call *c, const char *key); /* NULL absent */
/* Resource, namespace, name, subresource from the path; false: *out is the 404. */
bool store_call_route(struct store_call *c, struct store_reply *out);
