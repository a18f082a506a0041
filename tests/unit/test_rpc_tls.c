/* Identity on the line: names, authorities, replacement of certificates, garbage instead of TLS. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc_pair.h"

static void right_name_and_authority(void **state) {
    (void)state;
    struct pem pem;
    pem_init(&pem, "DNS:istiod-canary.istio-system.svc");
    struct rpc_server *s = pair_serve(&pem, 0);
    struct rpc_channel *c = pair_dial(rpc_server_port(s), pem.ca, "istiod-canary.istio-system.svc", 0);
    pair_open(c, "/test.Service/Talk", "Bearer abc");
    assert_true(rpc_stream_send(client.stream, "hello", 5));
    until(&client.messages, 1);
    assert_string_equal(client.last.p, "hello");
    assert_string_equal(server.authorization, "Bearer abc");
    assert_int_equal(strncmp(server.peer, "127.0.0.1:", 10), 0);
    rpc_stream_close(client.stream);
    until(&server.closed, 1);
    rpc_channel_free(c);
    rpc_server_free(s);
    pem_done(&pem);
}

/* Ends UNAVAILABLE and says something about the reason; the server has never seen the stream. */
static void refused(int port, const char *root, const char *name, const char *text) {
    struct rpc_channel *c = pair_dial(port, root, name, 0);
    pair_open(c, "/test.Service/Talk", NULL);
    until_ended();
    assert_int_equal(client.status, RPC_UNAVAILABLE);
    if (strstr(client.text, text) == NULL) {
        fail_msg("'%s' is not in '%s'", text, client.text);
    }
    assert_int_equal(server.opened, 0);
    rpc_channel_free(c);
}

static void wrong_name_and_authority(void **state) {
    (void)state;
    struct pem pem, other;
    pem_init(&pem, "DNS:istiod-canary.istio-system.svc");
    pem_init(&other, "DNS:istiod-canary.istio-system.svc");
    struct rpc_server *s = pair_serve(&pem, 0);
    refused(rpc_server_port(s), pem.ca, "istiod-old.istio-system.svc",
            "istiod-old.istio-system.svc is not in peer certificate");
    refused(rpc_server_port(s), other.ca, "istiod-canary.istio-system.svc", "certificate verify failed");
    refused(rpc_server_port(s), "no certificate at all", "istiod-canary.istio-system.svc", "");
    rpc_server_free(s);
    pem_done(&pem);
    pem_done(&other);
}

static void plaintext_meets_tls(void **state) {
    (void)state;
    struct pem pem;
    pem_init(&pem, "IP:127.0.0.1");
    struct rpc_server *s = pair_serve(&pem, 0);
    refused(rpc_server_port(s), NULL, NULL, "");
    rpc_server_free(s);
    pem_done(&pem);
}

static void certificate_is_replaced(void **state) {
    (void)state;
    struct pem first, second;
    pem_init(&first, "DNS:a.test");
    pem_init(&second, "DNS:a.test");
    struct rpc_server *s = pair_serve(&first, 0);
    struct rpc_channel *c = pair_dial(rpc_server_port(s), first.ca, "a.test", 0);
    pair_open(c, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "1", 1);
    until(&client.messages, 1);
    rpc_server_set_cert(s, second.cert, second.key);
    /* The open connection stays; new ones see the new certificate. */
    rpc_stream_send(client.stream, "2", 1);
    until(&client.messages, 2);
    rpc_stream_close(client.stream);
    rpc_channel_free(c);
    c = pair_dial(rpc_server_port(s), second.ca, "a.test", 0);
    pair_open(c, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "3", 1);
    until(&client.messages, 3);
    rpc_stream_close(client.stream);
    rpc_channel_free(c);
    rpc_server_free(s);
    pem_done(&first);
    pem_done(&second);
}

static void unusable_certificates(void **state) {
    (void)state;
    struct pem a, b;
    pem_init(&a, "DNS:a.test");
    pem_init(&b, "DNS:b.test");
    const struct {
        const char *cert, *key, *says;
    } rows[] = {
        {"garbage", a.key, "no PEM text with a certificate"},
        {a.cert, "garbage", "unencrypted private key"},
        {a.cert, b.key, "does not belong to the certificate"},
        {"", "", "no PEM text with a certificate"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct rpc_server_opts o = {
            .address = "127.0.0.1:0", .cert_pem = rows[i].cert, .key_pem = rows[i].key, .methods = pair_methods};
        assert_null(rpc_server_new(rpc, &o, &server_ops, &server, &err));
        assert_non_null(strstr(err.text, rows[i].says));
        assert_int_equal(err.code, ERR_INVALID);
    }
    pem_done(&a);
    pem_done(&b);
}

/* Push bytes at the port until they are all taken or the server hangs up. */
static void throw_garbage(int port, size_t total) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    char junk[65536];
    for (size_t i = 0; i < sizeof junk; i++) {
        junk[i] = (char)(i * 2654435761u >> 13);
    }
    bool open = true;
    for (size_t sent = 0; sent < total && open;) {
        ssize_t n = send(fd, junk, sizeof junk, MSG_NOSIGNAL);
        open = n >= 0 || errno == EAGAIN;
        sent += n > 0 ? (size_t)n : 0;
        uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    }
    close(fd);
}

static void ten_megabytes_of_garbage(void **state) {
    (void)state;
    struct pem pem;
    pem_init(&pem, "DNS:a.test");
    struct rpc_server *s = pair_serve(&pem, 0);
    for (int i = 0; i < 3; i++) {
        throw_garbage(rpc_server_port(s), 10 << 20);
    }
    assert_int_equal(server.opened, 0);
    struct rpc_channel *c = pair_dial(rpc_server_port(s), pem.ca, "a.test", 0);
    pair_open(c, "/test.Service/Talk", NULL);
    rpc_stream_send(client.stream, "still here", 10);
    until(&client.messages, 1);
    rpc_stream_close(client.stream);
    rpc_channel_free(c);
    rpc_server_free(s);
    pem_done(&pem);
}

/* A port that takes the connection and never says a word. */
static void silent_peer_ends_at_the_connect_timeout(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    struct pem pem;
    pem_init(&pem, "DNS:a.test");
    struct rpc_channel *c = pair_dial(ntohs(at.sin_port), pem.ca, "a.test", 0);
    uv_update_time(loop_uv(loop));
    client.stream = rpc_stream_open(c, "/test.Service/Talk", NULL, 0, 200, &client_ops, &client);
    until_ended();
    assert_int_equal(client.status, RPC_UNAVAILABLE);
    assert_string_equal(client.text, "no connection within 200 ms");
    rpc_channel_free(c);
    close(fd);
    pem_done(&pem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(right_name_and_authority, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(wrong_name_and_authority, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(plaintext_meets_tls, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(certificate_is_replaced, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(unusable_certificates, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(ten_megabytes_of_garbage, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(silent_peer_ends_at_the_connect_timeout, pair_setup, pair_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
