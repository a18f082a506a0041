#include "push_version.h"

#include <string.h>

#include "../lib/base/text.h"

bool push_version_read(const char *text, struct push_version *out) {
    char time[48];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof time) {
        return false;
    }
    memcpy(time, text, (size_t)(slash - text));
    time[slash - text] = '\0';
    return text_rfc3339(time, &out->at_ms) && text_int(slash + 1, 0, INT64_MAX, &out->counter);
}

bool push_version_before(const char *a, const char *b) {
    struct push_version x, y;
    return push_version_read(a, &x) && push_version_read(b, &y) &&
           (x.at_ms < y.at_ms || (x.at_ms == y.at_ms && x.counter < y.counter));
}

int push_version_order(const char *a, const char *b) {
    struct push_version x, y;
    if (strcmp(a, b) == 0) {
        return 0;
    }
    if (!push_version_read(a, &x) || !push_version_read(b, &y)) {
        return -1;
    }
    return x.at_ms > y.at_ms || (x.at_ms == y.at_ms && x.counter > y.counter) ? 1 : -1;
}
