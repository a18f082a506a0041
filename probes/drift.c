#include "drift.h"

#include <stddef.h>
#include <string.h>

struct version {
    int major, minor, patch;
};

struct row {
    const char *name, *from, *until, *what;
};

static const struct row rows[DRIFT_ROWS] = {
#define X(name, from, until, what, reader, source) {#name, from, until, what},
#include "drift.def"
#undef X
};

static const char *number(const char *s, int *out) {
    int v = 0;
    if (*s < '0' || *s > '9') {
        return NULL;
    }
    for (; *s >= '0' && *s <= '9'; s++) {
        v = v < 100000 ? v * 10 + (*s - '0') : v;
    }
    *out = v;
    return s;
}

/* Major and minor must be there; what follows the numbers is a build's name. */
static bool parse(const char *s, struct version *v) {
    *v = (struct version){0};
    s = number(s + (*s == 'v'), &v->major);
    if (s == NULL || *s != '.' || (s = number(s + 1, &v->minor)) == NULL) {
        return false;
    }
    if (*s == '.') {
        number(s + 1, &v->patch);
    }
    return true;
}

static int order(const struct version *a, const struct version *b) {
    int d = a->major != b->major ? a->major - b->major : a->minor != b->minor ? a->minor - b->minor : a->patch - b->patch;
    return d;
}

static bool since(const char *list, const struct version *v) {
    struct version from;
    for (const char *at = list; *at != '\0' && parse(at, &from); at += strspn(at, " ")) {
        at += strcspn(at, " ");
        bool last = *at == '\0';
        if (last || (from.major == v->major && from.minor == v->minor)) {
            return order(v, &from) >= 0;
        }
    }
    return true; /* "": always */
}

bool drift_has(const char *version, enum drift row) {
    struct version v, until;
    if (!parse(version, &v)) {
        v = (struct version){.major = 1000};
    }
    const struct row *r = &rows[row];
    return since(r->from, &v) && !(parse(r->until, &until) && order(&v, &until) >= 0);
}

const char *drift_name(enum drift row) {
    return rows[row].name;
}

const char *drift_what(enum drift row) {
    return rows[row].what;
}
