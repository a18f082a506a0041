/* Streams over loopback, server and client in one loop. */
#include "rpc_pair.h"

static struct rpc_server *serving;
static struct rpc_channel *channel;

static int setup(void **state) {
    pair_setup(state);
    serving = pair_serve(NULL, 32 << 20);
    channel = pair_dial(rpc_server_port(serving), NULL, NULL, 32 << 20);
    return 0;
}

static int teardown(void **state) {
    rpc_stream_close(client.stream);
    rpc_channel_free(channel);
    rpc_server_free(serving);
    return pair_teardown(state);
}

static void messages_keep_their_order(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Talk", NULL);
    for (int i = 0; i < 500; i++) {
        assert_true(rpc_stream_send(client.stream, &i, sizeof i));
    }
    for (int i = 0; i < 500; i++) {
        until(&client.messages, (size_t)i + 1);
    }
    int last;
    memcpy(&last, client.last.p, sizeof last);
    assert_int_equal(last, 499);
    assert_int_equal(rpc_stream_pending(client.stream), 0);
}

static void large_message_comes_in_pieces(void **state) {
    (void)state;
    size_t n = 20 << 20;
    char *big = mem_alloc(n);
    for (size_t i = 0; i < n; i++) {
        big[i] = (char)(i % 251);
    }
    pair_open(channel, "/test.Service/Talk", NULL);
    assert_true(rpc_stream_send(client.stream, big, n));
    until(&client.messages, 1);
    assert_int_equal(client.bytes, n);
    assert_true(client.pieces > 1);
    assert_memory_equal(client.last.p, big, n);
    free(big);
}

static void empty_message(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Talk", NULL);
    assert_true(rpc_stream_send(client.stream, "", 0));
    until(&client.messages, 1);
    assert_int_equal(client.bytes, 0);
}

static void queue_has_a_limit(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *mb = mem_alloc(n);
    pair_open(channel, "/test.Service/Talk", NULL);
    size_t taken = 0;
    while (rpc_stream_send(client.stream, mb, n)) {
        taken++;
        assert_true(taken < 10);
    }
    /* The fifth passes the 4 MiB; nothing has been sent before the loop turns. */
    assert_int_equal(taken, 5);
    assert_int_equal(rpc_stream_pending(client.stream), 5 * n);
    until(&client.messages, 5);
    assert_true(rpc_stream_send(client.stream, mb, n));
    until(&client.messages, 6);
    free(mb);
}

static void message_above_the_limit_ends_the_stream(void **state) {
    (void)state;
    struct rpc_server *small = pair_serve(NULL, 1000);
    struct rpc_channel *c = pair_dial(rpc_server_port(small), NULL, NULL, 0);
    char text[1001] = {0};
    pair_open(c, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, text, 1000);
    until(&client.messages, 1);
    rpc_stream_send(client.stream, text, 1001);
    until_ended();
    assert_int_equal(client.status, RPC_RESOURCE_EXHAUSTED);
    until(&server.closed, 1);
    assert_int_equal(server.messages, 1);
    rpc_channel_free(c);
    rpc_server_free(small);
}

static void status_and_text_reach_the_client(void **state) {
    (void)state;
    server.echo = false;
    pair_open(channel, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "x", 1);
    until(&server.messages, 1);
    rpc_server_stream_send(server.stream, "last words", 10);
    rpc_server_stream_end(server.stream, RPC_PERMISSION_DENIED, "node n1 expected");
    assert_false(rpc_server_stream_send(server.stream, "more", 4));
    until_ended();
    assert_int_equal(client.status, RPC_PERMISSION_DENIED);
    assert_string_equal(client.text, "node n1 expected");
    assert_string_equal(client.last.p, "last words");
    until(&server.closed, 1);
}

static void refused_in_open(void **state) {
    (void)state;
    server.refuse = true;
    pair_open(channel, "/test.Service/Talk", "Bearer x");
    until_ended();
    assert_int_equal(client.status, RPC_UNAUTHENTICATED);
    assert_string_equal(client.text, "who are you?");
    assert_int_equal(server.closed, 0);
}

static void unknown_method(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Other", NULL);
    until_ended();
    assert_int_equal(client.status, RPC_UNIMPLEMENTED);
    assert_int_equal(server.opened, 0);
}

static void header_with_a_line_feed(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Talk", "Bearer abc\n");
    until_ended();
    assert_int_equal(client.status, RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(client.text, "header authorization"));
}

static void nobody_listens(void **state) {
    (void)state;
    int port = rpc_server_port(serving);
    rpc_server_free(serving);
    rpc_channel_free(channel);
    channel = pair_dial(port, NULL, NULL, 0);
    pair_open(channel, "/test.Service/Talk", NULL);
    until_ended();
    assert_int_equal(client.status, RPC_UNAVAILABLE);
    assert_true(client.text[0] != '\0');
    serving = pair_serve(NULL, 0);
}

static void server_goes_with_open_streams(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "x", 1);
    until(&client.messages, 1);
    rpc_server_free(serving);
    assert_int_equal(server.closed, 1);
    until_ended();
    assert_int_equal(client.status, RPC_UNAVAILABLE);
    assert_string_equal(client.text, "the server is stopping");
    serving = pair_serve(NULL, 0);
}

/* The channel finds a server that comes back on the same port. */
static void channel_reconnects(void **state) {
    (void)state;
    pair_open(channel, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "x", 1);
    until(&client.messages, 1);
    int port = rpc_server_port(serving);
    rpc_server_free(serving);
    until_ended();
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct rpc_server_opts o = {.address = address, .methods = pair_methods};
    struct err err = {0};
    serving = rpc_server_new(rpc, &o, &server_ops, &server, &err);
    assert_non_null(serving);
    for (int i = 0; i < 200 && client.messages < 2; i++) {
        pair_open(channel, "/test.Service/Talk", NULL);
        rpc_stream_send(client.stream, "y", 1);
        while (!client.ended && client.messages < 2) {
            uv_run(loop_uv(loop), UV_RUN_ONCE);
        }
    }
    assert_int_equal(client.messages, 2);
}

static void port_in_use(void **state) {
    (void)state;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", rpc_server_port(serving));
    struct rpc_server_opts o = {.address = address, .methods = pair_methods};
    struct err err = {0};
    assert_null(rpc_server_new(rpc, &o, &server_ops, &server, &err));
    assert_non_null(strstr(err.text, address));
}

static void close_in_message(struct client_side *c) {
    rpc_stream_close(c->stream);
    c->stream = NULL;
}

static void closing_inside_a_callback(void **state) {
    (void)state;
    client.on_message = close_in_message;
    pair_open(channel, "/test.Service/Talk", NULL);
    for (int i = 0; i < 5; i++) {
        rpc_stream_send(client.stream, "x", 1);
    }
    until(&server.closed, 1);
    assert_int_equal(client.messages, 1);
    assert_false(client.ended);
}

static void many_streams_on_one_connection(void **state) {
    (void)state;
    enum { STREAMS = 50 };
    struct client_side many[STREAMS] = {{0}};
    struct rpc_stream *streams[STREAMS];
    server.echo = false;
    for (int i = 0; i < STREAMS; i++) {
        buf_init(&many[i].last, 100);
        streams[i] = rpc_stream_open(channel, "/test.Service/Talk", NULL, 0, 5000, &client_ops, &many[i]);
        rpc_stream_send(streams[i], "x", 1);
    }
    until(&server.messages, STREAMS);
    for (int i = 0; i < STREAMS; i++) {
        rpc_stream_close(streams[i]);
        buf_done(&many[i].last);
    }
    until(&server.closed, STREAMS);
}

/* A client that does not read cannot hold the end of its stream back for ever. */
static void stop_with_everything_open(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *mb = mem_alloc(n);
    pair_open(channel, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "x", 1);
    until(&server.opened, 1);
    while (rpc_server_stream_send(server.stream, mb, n)) {
    }
    assert_true(rpc_server_stream_pending(server.stream) > 4 << 20);
    free(mb);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(large_message_comes_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_message, setup, teardown),
        cmocka_unit_test_setup_teardown(queue_has_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(message_above_the_limit_ends_the_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(status_and_text_reach_the_client, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_in_open, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_method, setup, teardown),
        cmocka_unit_test_setup_teardown(header_with_a_line_feed, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(server_goes_with_open_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(channel_reconnects, setup, teardown),
        cmocka_unit_test_setup_teardown(port_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_inside_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(many_streams_on_one_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_with_everything_open, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
