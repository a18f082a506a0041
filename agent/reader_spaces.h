/* Inside of agent/reader_hunt: the namespaces that a replica's proxies are in, what is known of each, and whom to suspect.
 */
#pragma once

#include "agent/replica.h"
#include "uthash.h"

enum { SPACE_NAMED = 4, SPACES_MAX = 2048 };

struct space_named {
    char *id, *connection;
    int64_t since_ms;
};

struct space {
    char *name;
    int64_t read_ms;  /* latest complete syncz of it alone, 0 never */
    int64_t hung_ms;  /* when its syncz hung last; 0: ask it again at once */
    int64_t since_ms; /* when the trouble was noticed, 0: none */
    int64_t sent_ms;  /* when somebody in it was last seen to be sent something */
    uint32_t hangs;   /* in a row */
    bool rests;       /* until the next round */
    bool suspect;     /* hung just now, whether istiod answers at all is to be asked */
    bool lags;        /* it has a proxy that its neighbours leave behind */
    bool told;        /* read_ms */
    bool here;
    struct space_named named[SPACE_NAMED];
    size_t n_named;
    UT_hash_handle hh;
};

struct suspect {
    char *id, *connection;
    bool lags;
    int64_t sent_ms;
    uint32_t hangs;
};

/* In the order in which they are to be asked. */
struct suspects {
    struct suspect *all;
    size_t n, next;
};

struct spaces;

struct spaces *spaces_new(struct replica *r);
void spaces_free(struct spaces *s);
/* As the replica's proxies are now; those whose namespace is gone are dropped, and names whose stream is over. Returns the
 * namespace `keep` (NULL: none) if it is still there. */
struct space *spaces_refresh(struct spaces *s, const char *keep);
/* Forget every trouble. */
void spaces_clear(struct spaces *s);
struct space *spaces_get(const struct spaces *s, const char *name);
struct space *spaces_suspect(const struct spaces *s);
bool spaces_blocked(const struct spaces *s);
bool spaces_has_laggards(const struct spaces *s);
/* The one to ask next of those not read since before_ms, or blocked and not asked for a while; NULL: none. oldest: those
 * read longest ago first, else those where most goes on. */
struct space *spaces_due(const struct spaces *s, int64_t before_ms, bool oldest, int64_t now_ms);
void space_answered(struct space *s, int64_t now_ms);
void space_hung(struct space *s, int64_t now_ms);
/* This proxy hangs. */
void spaces_name(struct spaces *s, const char *id, const char *connection, int64_t now_ms);
void spaces_spare(struct spaces *s, const char *id);
/* All, by name. */
struct space *spaces_first(const struct spaces *s);

/* Proxies of a namespace, NULL: those of all that lag. */
void suspects_load(struct suspects *x, const struct spaces *s, const struct space *of);
void suspects_clear(struct suspects *x);
