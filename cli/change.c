#include "change.h"

#include <string.h>

static json_t *spec_of(json_t *upgrade, struct err *err) {
    json_t *spec = js_at(upgrade, "spec", NULL);
    if (!json_is_object(spec)) {
        err_set(err, ERR_PROTOCOL, "the MeshUpgrade has no spec");
        return NULL;
    }
    return spec;
}

enum change_result change_pause(json_t *upgrade, const void *arg, struct err *err) {
    (void)arg;
    json_t *spec = spec_of(upgrade, err);
    if (!spec) {
        return CHANGE_BAD;
    }
    if (js_bool(spec, false, "paused", NULL)) {
        return CHANGE_NONE;
    }
    json_object_set_new(spec, "paused", json_true());
    return CHANGE_MADE;
}

enum change_result change_resume(json_t *upgrade, const void *arg, struct err *err) {
    (void)arg;
    json_t *spec = spec_of(upgrade, err);
    if (!spec) {
        return CHANGE_BAD;
    }
    bool made = false;
    if (js_bool(spec, false, "paused", NULL)) {
        json_object_set_new(spec, "paused", json_false());
        made = true;
    }
    int64_t hold = js_int(upgrade, 0, "status", "hold", "id", NULL);
    if (js_bool(upgrade, false, "status", "hold", "active", NULL) && js_int(spec, -1, "resumeHold", NULL) != hold) {
        json_object_set_new(spec, "resumeHold", json_integer(hold));
        made = true;
    }
    return made ? CHANGE_MADE : CHANGE_NONE;
}

static bool has_wave(const json_t *waves, const char *name, struct buf *names) {
    size_t i;
    json_t *w;
    json_array_foreach(waves, i, w) {
        const char *n = js_text(w, "name", NULL);
        buf_printf(names, "%s%s", i ? ", " : "", n);
        if (strcmp(n, name) == 0) {
            return true;
        }
    }
    return false;
}

enum change_result change_approve(json_t *upgrade, const void *arg, struct err *err) {
    const char *wave = arg;
    json_t *spec = spec_of(upgrade, err);
    if (!spec) {
        return CHANGE_BAD;
    }
    struct buf names;
    buf_init(&names, 4096);
    bool known = has_wave(js_at(spec, "waves", NULL), wave, &names);
    if (!known) {
        err_set(err, ERR_NOT_FOUND, "%s has no wave \"%s\"; its waves: %s", js_text(upgrade, "metadata", "name", NULL),
                wave, names.len ? names.p : "none");
    }
    buf_done(&names);
    if (!known) {
        return CHANGE_BAD;
    }
    json_t *approved = js_at(spec, "approvedWaves", NULL);
    if (!json_is_array(approved)) {
        json_object_set_new(spec, "approvedWaves", json_array());
        approved = js_at(spec, "approvedWaves", NULL);
    }
    size_t i;
    json_t *a;
    json_array_foreach(approved, i, a) {
        if (strcmp(js_text(a, NULL), wave) == 0) {
            return CHANGE_NONE;
        }
    }
    json_array_append_new(approved, json_string(wave));
    return CHANGE_MADE;
}
