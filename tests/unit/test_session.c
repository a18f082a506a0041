/* What is believed: tokens, Hello, sequence, reports. */
#include "session_peer.h"

static void good_agent(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    struct kube_call *c = fake_kube_find(&kube, "/apis/authentication.k8s.io/v1/tokenreviews");
    assert_string_equal(c->method, "POST");
    json_t *body = json_loads(c->body, 0, NULL);
    assert_string_equal(js_text(body, "kind", NULL), "TokenReview");
    assert_string_equal(js_text(body, "spec", "token", NULL), "secret");
    assert_string_equal(json_string_value(json_array_get(js_at(body, "spec", "audiences", NULL), 0)), "meshgate");
    json_decref(body);
    review(201, user_of("meshgate-agent", "n1"));
    assert_int_equal(sessions_count(sessions), 0);
    say_hello(&a, "n1");
    assert_int_equal(a.assignments, 1);
    assert_int_equal(sessions_count(sessions), 1);
    fake_kube_run(&kube, 200);
    assert_int_equal(a.reads, 1);
    assert_string_equal(sessions_reader(sessions, "istiod-uid"), "n1");
    say_report(&a, "pod-1", "istiod-uid");
    assert_int_equal(a.acked, 2);
    assert_int_equal(a.resyncs, 0);
    assert_non_null(evidence_local(evidence, "pod-1"));
    assert_non_null(evidence_replica(evidence, "istiod-uid"));
    assert_true(changes > 0);
    session_closed(a.session);
    a.session = NULL;
    assert_false(evidence_node(evidence, "n1")->connected);
    assert_int_equal(sessions_count(sessions), 0);
    fake_kube_run(&kube, 200);
    assert_null(sessions_reader(sessions, "istiod-uid"));
    peer_done(&a);
}

static void no_token(void **state) {
    (void)state;
    static const char *const headers[] = {NULL, "", "Bearer ", "Basic abc", "secret"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct peer a = {0};
        a.session = session_open(sessions, headers[i], &ops, &a);
        assert_false(a.ended);
        expect_end(&a, 16, "authorization: Bearer TOKEN");
        peer_done(&a);
    }
    assert_int_equal(kube.sent, 0);
    assert_true(counted("refused") == 5);
}

static void reviews_that_refuse(void **state) {
    (void)state;
    static const char bad_user[] =
        "{\"status\":{\"authenticated\":true,\"audiences\":[\"meshgate\"],\"user\":{\"username\":\"admin\"}}}";
    static const char no_node[] = "{\"status\":{\"authenticated\":true,\"audiences\":[\"meshgate\"],\"user\":{\"username\":"
                                  "\"system:serviceaccount:istio-system:meshgate-agent\"}}}";
    static const char wrong_audience[] =
        "{\"status\":{\"authenticated\":true,\"audiences\":[\"api\"],\"user\":{\"username\":"
        "\"system:serviceaccount:istio-system:meshgate-agent\",\"extra\":"
        "{\"authentication.kubernetes.io/node-name\":[\"n1\"]}}}}";
    static const struct {
        int http;
        const char *body;
        int status;
        const char *says;
    } rows[] = {
        {201, "{\"status\":{\"authenticated\":false,\"error\":\"token has expired\"}}", 16, "token has expired"},
        {201, "{\"status\":{\"authenticated\":\"yes\"}}", 16, "no reason given"},
        {201, wrong_audience, 16, "audience meshgate"},
        {201, bad_user, 7, "the token is of admin; agents must run as system:serviceaccount:istio-system:meshgate-agent"},
        {201, no_node, 7, "not bound to a pod on a node"},
        {201, "{\"kind\":\"TokenReview\"}", 14, "has no status"},
        {201, "<html>", 14, "has no status"},
        {403, "{\"message\":\"tokenreviews is forbidden\"}", 14, "could not be reviewed"},
        {500, "", 14, "could not be reviewed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer a;
        dial(&a);
        review(rows[i].http, rows[i].body);
        expect_end(&a, rows[i].status, rows[i].says);
        peer_done(&a);
    }
    assert_int_equal(sessions_count(sessions), 0);
}

static void api_server_away(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    fake_kube_break(fake_kube_find(&kube, "tokenreviews"), ERR_TIMEOUT, "no answer within 10s");
    expect_end(&a, 14, "no answer within 10s");
    peer_done(&a);
}

static void wrong_node(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    review(201, user_of("meshgate-agent", "n1"));
    say_hello(&a, "n2");
    expect_end(&a, 7, "bound to node n1, so the Hello must say n1, not n2");
    assert_null(evidence_node(evidence, "n2"));
    peer_done(&a);
}

static void messages_wait_for_the_review(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    say_hello(&a, "n1");
    say_report(&a, "pod-1", NULL);
    assert_int_equal(a.acks, 0);
    assert_null(evidence_node(evidence, "n1"));
    review(201, user_of("meshgate-agent", "n1"));
    assert_int_equal(a.acked, 2);
    assert_non_null(evidence_local(evidence, "pod-1"));
    peer_done(&a);
    /* Nothing of a stream that is refused is believed. */
    dial(&a);
    say_hello(&a, "n2");
    say_report(&a, "pod-2", NULL);
    review(201, "{\"status\":{\"authenticated\":false}}");
    expect_end(&a, 16, "no reason given");
    assert_null(evidence_node(evidence, "n2"));
    peer_done(&a);
}

static void waiting_messages_are_bounded(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    size_t n = 1 << 20;
    uint8_t *mb = mem_alloc(n);
    struct piece piece = {mb, n};
    for (int i = 0; i < 4; i++) {
        session_message(a.session, &piece, 1);
    }
    turn();
    assert_false(a.ended);
    piece.len = 1;
    session_message(a.session, &piece, 1);
    session_message(a.session, &piece, 1);
    expect_end(&a, 8, "before the token was reviewed");
    free(mb);
    peer_done(&a);
}

/* Ten megabytes that are no message, as one and as many. */
static void garbage(void **state) {
    (void)state;
    size_t n = 10 << 20;
    uint8_t *junk = mem_alloc(n);
    for (size_t i = 0; i < n; i++) {
        junk[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    static const size_t sizes[] = {10 << 20, 1000, 1, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct peer a;
        join(&a, "n1");
        for (size_t at = 0; at + sizes[i] <= n && at < 100 * sizes[i] + 1; at += sizes[i] + 1) {
            struct piece piece = {junk + at, sizes[i]};
            session_message(a.session, &piece, 1);
        }
        expect_end(&a, 3, "cannot be read");
        peer_done(&a);
    }
    assert_true(counted("garbage") == 4);
    free(junk);
}

static void sequence(void **state) {
    (void)state;
    static const struct {
        int64_t step;
        const char *says;
    } rows[] = {
        {0, "message 2 came where 3 was expected"},  /* a replay */
        {-1, "message 1 came where 3 was expected"}, /* an older one */
        {2, "message 4 came where 3 was expected"},  /* a gap */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer a;
        join(&a, "n1");
        say_report(&a, "pod-1", NULL);
        assert_int_equal(a.acked, 2);
        a.seq = (uint64_t)((int64_t)a.seq + rows[i].step - 1);
        say_report(&a, "pod-1", NULL);
        expect_end(&a, 3, rows[i].says);
        peer_done(&a);
    }
    assert_true(counted("sequence") == 3);
}

static void order_of_messages(void **state) {
    (void)state;
    struct peer a;
    dial(&a);
    review(201, user_of("meshgate-agent", "n1"));
    say_report(&a, "pod-1", NULL);
    expect_end(&a, 3, "begins with a Hello");
    peer_done(&a);
    join(&a, "n1");
    say_hello(&a, "n1");
    expect_end(&a, 3, "second Hello");
    peer_done(&a);
    dial(&a);
    review(201, user_of("meshgate-agent", "n1"));
    fake_kube_run(&kube, 30000);
    expect_end(&a, 4, "no Hello within 30 s");
    peer_done(&a);
}

static void lying_agent(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    join(&b, "n2");
    struct peer *reader = strcmp(sessions_reader(sessions, "istiod-uid"), "n1") == 0 ? &a : &b;
    struct peer *other = reader == &a ? &b : &a;
    say_report(other, NULL, "istiod-uid");
    assert_null(evidence_replica(evidence, "istiod-uid"));
    say_report(other, NULL, "no-such-replica");
    say_report(&a, "pod-2", NULL);
    assert_null(evidence_local(evidence, "pod-2"));
    assert_true(counted("not_reader") == 2);
    assert_true(counted("foreign_pod") == 1);
    assert_true(counted("unknown_pod") == 0);
    assert_true(evidence_node(evidence, "n1")->disbelieved_ms > 0);
    assert_int_equal(evidence_node(evidence, "n2")->disbelieved_ms, 0);
    /* Counted, not cut off: a reassignment under way looks the same. */
    assert_false(a.ended || b.ended);
    say_report(reader, NULL, "istiod-uid");
    assert_non_null(evidence_replica(evidence, "istiod-uid"));
    peer_done(&a);
    peer_done(&b);
}

static void unknown_pod_is_asked_for_again(void **state) {
    (void)state;
    struct peer a;
    join(&a, "n1");
    say_report(&a, "pod-new", NULL);
    assert_int_equal(a.resyncs, 1);
    /* At once again: not before 5 s have passed, but then also without a new mention. */
    say_report(&a, "pod-new", NULL);
    fake_kube_run(&kube, 4000);
    say_report(&a, "pod-1", NULL);
    assert_int_equal(a.resyncs, 1);
    fake_kube_run(&kube, 1000);
    say_report(&a, "pod-1", NULL);
    assert_int_equal(a.resyncs, 2);
    /* Less often while it does not help. */
    fake_kube_run(&kube, 5000);
    say_report(&a, "pod-new", NULL);
    assert_int_equal(a.resyncs, 2);
    fake_kube_run(&kube, 5000);
    say_report(&a, "pod-1", NULL);
    assert_int_equal(a.resyncs, 3);
    assert_true(counted("unknown_pod") == 3);
    peer_done(&a);
}

int main(void) {
    log_setup("test", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(no_token, setup, teardown),
        cmocka_unit_test_setup_teardown(reviews_that_refuse, setup, teardown),
        cmocka_unit_test_setup_teardown(api_server_away, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_node, setup, teardown),
        cmocka_unit_test_setup_teardown(messages_wait_for_the_review, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_messages_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(sequence, setup, teardown),
        cmocka_unit_test_setup_teardown(order_of_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(lying_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_pod_is_asked_for_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
