/* The agents' port: streams reach sessions and back; certificates are replaced while it runs. The gate behind it is played.
 */
#include <stdio.h>
#include <unistd.h>

#include "gate/listen.h"
#include "lib/base/log.h"
#include "rpc_pair.h"

struct session {
    const struct session_ops *ops;
    void *peer;
    char *authorization;
};

static size_t sessions_open, sessions_closed, got_messages, got_bytes;
static struct session *latest;

struct session *gate_session_open(struct gate *g, const char *authorization, const struct session_ops *ops, void *peer) {
    (void)g;
    struct session *s = mem_alloc(sizeof *s);
    s->ops = ops;
    s->peer = peer;
    s->authorization = mem_dup(authorization);
    sessions_open++;
    latest = s;
    return s;
}

void gate_session_message(struct session *s, const struct piece *pieces, size_t n) {
    got_messages++;
    for (size_t i = 0; i < n; i++) {
        got_bytes += pieces[i].len;
    }
    if (got_bytes > 0 && pieces[0].p[0] == 'q') {
        s->ops->end(s->peer, RPC_PERMISSION_DENIED, "as asked");
    } else {
        s->ops->send(s->peer, "ack", 3);
    }
}

void gate_session_closed(struct session *s) {
    sessions_closed++;
    free(s->authorization);
    free(s);
    latest = NULL;
}

static char folder[] = "/tmp/meshgate-listen-XXXXXX";
static char cert_file[64], key_file[64];
static struct pem first, second;
static struct listen *listening;

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct listen *begin(struct err *err) {
    struct listen_opts o = {.address = "127.0.0.1:0", .cert_file = cert_file, .key_file = key_file, .reload_ms = 20};
    return listen_new(rpc, loop, NULL, &o, err);
}

static int setup(void **state) {
    pair_setup(state);
    sessions_open = sessions_closed = got_messages = got_bytes = 0;
    put(cert_file, first.cert);
    put(key_file, first.key);
    struct err err = {0};
    listening = begin(&err);
    assert_string_equal(err.text, "");
    return 0;
}

static int teardown(void **state) {
    rpc_stream_close(client.stream);
    listen_free(listening);
    return pair_teardown(state);
}

static void stream_reaches_a_session(void **state) {
    (void)state;
    struct rpc_channel *c = pair_dial(listen_port(listening), first.ca, "gate.test", 0);
    pair_open(c, "/meshgate.v1.Gate/Connect", "Bearer abc");
    rpc_stream_send(client.stream, "hello", 5);
    until(&client.messages, 1);
    assert_string_equal(client.last.p, "ack");
    assert_string_equal(latest->authorization, "Bearer abc");
    rpc_stream_send(client.stream, "quit", 4);
    until_ended();
    assert_int_equal(client.status, RPC_PERMISSION_DENIED);
    assert_string_equal(client.text, "as asked");
    until(&sessions_closed, 1);
    rpc_channel_free(c);
}

static void agent_that_goes_closes_its_session(void **state) {
    (void)state;
    struct rpc_channel *c = pair_dial(listen_port(listening), first.ca, "gate.test", 0);
    pair_open(c, "/meshgate.v1.Gate/Connect", NULL);
    rpc_stream_send(client.stream, "hello", 5);
    until(&client.messages, 1);
    assert_null(latest->authorization);
    rpc_stream_close(client.stream);
    client.stream = NULL;
    until(&sessions_closed, 1);
    pair_open(c, "/meshgate.v1.Other/Connect", NULL);
    until_ended();
    assert_int_equal(client.status, RPC_UNIMPLEMENTED);
    rpc_channel_free(c);
}

static void message_above_the_limit(void **state) {
    (void)state;
    struct rpc_channel *c = pair_dial(listen_port(listening), first.ca, "gate.test", 0);
    char *big = mem_alloc(3 << 20);
    pair_open(c, "/meshgate.v1.Gate/Connect", "Bearer abc");
    rpc_stream_send(client.stream, big, 3 << 20);
    until_ended();
    assert_int_equal(client.status, RPC_RESOURCE_EXHAUSTED);
    until(&sessions_closed, 1);
    assert_int_equal(got_messages, 0);
    free(big);
    rpc_channel_free(c);
}

static void stop_with_open_sessions(void **state) {
    (void)state;
    struct rpc_channel *c = pair_dial(listen_port(listening), first.ca, "gate.test", 0);
    pair_open(c, "/meshgate.v1.Gate/Connect", "Bearer abc");
    rpc_stream_send(client.stream, "hello", 5);
    until(&client.messages, 1);
    listen_free(listening);
    listening = NULL;
    assert_int_equal(sessions_closed, 1);
    until_ended();
    assert_int_equal(client.status, RPC_UNAVAILABLE);
    rpc_channel_free(c);
}

/* Dial until the server shows a certificate of this authority. */
static void until_shown(const char *root) {
    size_t before = client.messages;
    for (int i = 0; i < 500 && client.messages == before; i++) {
        struct rpc_channel *c = pair_dial(listen_port(listening), root, "gate.test", 0);
        pair_open(c, "/meshgate.v1.Gate/Connect", NULL);
        rpc_stream_send(client.stream, "hello", 5);
        while (!client.ended && client.messages == before) {
            uv_run(loop_uv(loop), UV_RUN_ONCE);
        }
        rpc_stream_close(client.stream);
        client.stream = NULL;
        rpc_channel_free(c);
    }
    assert_int_equal(client.messages, before + 1);
}

static void certificate_files_are_replaced(void **state) {
    (void)state;
    until_shown(first.ca);
    /* Only one of the two so far: the old pair goes on. */
    put(cert_file, second.cert);
    until_shown(first.ca);
    put(key_file, second.key);
    until_shown(second.ca);
}

static void files_that_cannot_be_used(void **state) {
    (void)state;
    struct err err = {0};
    put(key_file, second.key);
    assert_null(begin(&err));
    assert_non_null(strstr(err.text, cert_file));
    assert_non_null(strstr(err.text, "does not belong to the certificate"));
    unlink(cert_file);
    assert_null(begin(&err));
    assert_non_null(strstr(err.text, cert_file));
}

int main(void) {
    log_setup("test", LOG_ERROR);
    check(mkdtemp(folder) != NULL);
    snprintf(cert_file, sizeof cert_file, "%s/tls.crt", folder);
    snprintf(key_file, sizeof key_file, "%s/tls.key", folder);
    pem_init(&first, "DNS:gate.test");
    pem_init(&second, "DNS:gate.test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stream_reaches_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(agent_that_goes_closes_its_session, setup, teardown),
        cmocka_unit_test_setup_teardown(message_above_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_with_open_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(certificate_files_are_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_used, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(cert_file);
    unlink(key_file);
    rmdir(folder);
    pem_done(&first);
    pem_done(&second);
    return failed;
}
