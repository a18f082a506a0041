/* istiod's protobuf answers where they lie: the first byte chooses how the rest is cut into pieces. Cutting must not change
 * the outcome, and every field lies inside of its message. */
#include <stdlib.h>
#include <string.h>

#include "cut.h"
#include "lib/wire/skim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEEPEST = 6 };

struct sum {
    uint64_t fields, values;
};

/* All fields of a message; bodies are looked at as if they were messages, too. false: malformed. */
static bool walk(struct skim s, int depth, struct sum *sum) {
    struct skim_field f;
    struct err err;
    int x;
    while ((x = skim_next(&s, &f, &err)) == 1) {
        sum->fields++;
        sum->values = sum->values * 31 + f.number + f.value;
        if (f.wire == SKIM_BYTES) {
            char text[64];
            if (f.value != f.body.left) {
                abort();
            }
            sum->values += skim_text(&f.body, text, sizeof text) ? strlen(text) : 1000;
            sum->values += depth < DEEPEST && walk(f.body, depth + 1, sum);
        }
    }
    return x == 0;
}

/* The bytes that the pieces of a body hold. */
static size_t held(const struct skim *body) {
    size_t cap = body->n - body->i + 1, n, all = 0;
    struct piece *out = calloc(cap, sizeof *out);
    if (out == NULL) {
        return body->left;
    }
    n = skim_pieces(body, out, cap);
    for (size_t i = 0; i < n; i++) {
        all += out[i].len;
    }
    free(out);
    return all;
}

static bool answer(const struct piece *pieces, size_t n, struct skim_debug *out) {
    struct err err;
    memset(out, 0, sizeof *out);
    bool ok = skim_debug_response(pieces, n, out, &err);
    if (ok && out->resources > 0 && held(&out->body) != out->body.left) {
        abort();
    }
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct piece whole;
    size_t n;
    struct piece *cut = fuzz_cut(data, size, &whole, &n);
    struct skim_debug a, b;
    struct skim x, y;
    struct sum of_x = {0, 0}, of_y = {0, 0};
    skim_init(&x, &whole, 1);
    skim_init(&y, cut, n);
    bool same = walk(x, 0, &of_x) == walk(y, 0, &of_y) && memcmp(&of_x, &of_y, sizeof of_x) == 0;
    same = same && answer(&whole, 1, &a) == answer(cut, n, &b);
    same = same && a.resources == b.resources && a.body.left == b.body.left && strcmp(a.type_url, b.type_url) == 0 &&
           strcmp(a.nonce, b.nonce) == 0 && strcmp(a.version, b.version) == 0;
    if (!same) {
        abort();
    }
    free(cut);
    return 0;
}
