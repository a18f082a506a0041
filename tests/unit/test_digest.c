#include <stdbool.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/wire/digest.h"

static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static Meshgate__V1__ProxyOnReplica proxy(const char *id) {
    Meshgate__V1__ProxyOnReplica p = MESHGATE__V1__PROXY_ON_REPLICA__INIT;
    p.id = text(id);
    p.connection = text("c-1");
    p.sync = MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
    p.types = text("SS---------");
    return p;
}

/* Every field that is state counts, none that is an age. */
static void state_counts_and_ages_do_not(void **state) {
    (void)state;
    Meshgate__V1__ProxyOnReplica a = proxy("a.shop"), b = a;
    b.pending_ms = 77;
    assert_true(wire_proxy_hash(&a) == wire_proxy_hash(&b));
    char **const texts[] = {&b.id,        &b.connection, &b.address,       &b.error,      &b.error_type,
                            &b.cds_acked, &b.lds_acked,  &b.istio_version, &b.proxy_type, &b.types};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *before = *texts[i];
        *texts[i] = text("other");
        assert_true(wire_proxy_hash(&a) != wire_proxy_hash(&b));
        *texts[i] = before;
    }
    b.copies = 2;
    assert_true(wire_proxy_hash(&a) != wire_proxy_hash(&b));
    b = a;
    b.sync = MESHGATE__V1__SYNC__SYNC_IS_PENDING;
    assert_true(wire_proxy_hash(&a) != wire_proxy_hash(&b));
    b = a;
    b.connected_at_ms = 1;
    assert_true(wire_proxy_hash(&a) != wire_proxy_hash(&b));
}

static void text_that_moves_to_the_next_field(void **state) {
    (void)state;
    Meshgate__V1__ProxyOnReplica a = proxy("a.shop"), b = a;
    a.cds_acked = text("xy");
    a.lds_acked = text("z");
    b.cds_acked = text("x");
    b.lds_acked = text("yz");
    assert_true(wire_proxy_hash(&a) != wire_proxy_hash(&b));
}

static void locals(void **state) {
    (void)state;
    Meshgate__V1__LocalProxy a = MESHGATE__V1__LOCAL_PROXY__INIT, b;
    a.pod_uid = text("u");
    b = a;
    b.cert_expiry_s = 5;
    b.first_seen_ms = 9;
    assert_true(wire_local_hash(&a) == wire_local_hash(&b));
    b.ready = true;
    assert_true(wire_local_hash(&a) != wire_local_hash(&b));
    b = a;
    b.csr_failures = 1;
    assert_true(wire_local_hash(&a) != wire_local_hash(&b));
}

/* Lost, doubled and changed entries are seen; what comes and goes leaves no trace. */
static void account(void **state) {
    (void)state;
    struct wire_digest told = {0}, held = {0};
    for (uint64_t h = 1; h <= 5; h++) {
        wire_digest_change(&told, 0, h * 7919);
        wire_digest_change(&held, 0, h * 7919);
    }
    assert_memory_equal(&told, &held, sizeof told);
    struct wire_digest lost = held;
    wire_digest_change(&lost, 7919, 0);
    assert_true(lost.sum != told.sum && lost.entries == 4);
    struct wire_digest changed = held;
    wire_digest_change(&changed, 7919, 7920);
    assert_true(changed.sum != told.sum && changed.entries == 5);
    struct wire_digest twice = held;
    wire_digest_change(&twice, 0, 7919);
    wire_digest_change(&twice, 0, 7919);
    assert_true(twice.sum == told.sum && twice.entries == 7); /* XOR alone would not see it */
    wire_digest_change(&held, 0, 99);
    wire_digest_change(&held, 99, 0);
    assert_memory_equal(&told, &held, sizeof told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_counts_and_ages_do_not),
        cmocka_unit_test(text_that_moves_to_the_next_field),
        cmocka_unit_test(locals),
        cmocka_unit_test(account),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
