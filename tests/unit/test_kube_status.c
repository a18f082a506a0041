/* What an error answer becomes: a kind that says what to do next, and the server's own sentence. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/kube/kube.h"

static void kinds(void **state) {
    (void)state;
    static const struct {
        int status;
        enum err_code code;
    } rows[] = {
        {200, ERR_NONE},        {201, ERR_NONE},        {302, ERR_PROTOCOL},    {400, ERR_INVALID},
        {401, ERR_DENIED},      {403, ERR_DENIED},      {404, ERR_NOT_FOUND},   {409, ERR_CONFLICT},
        {410, ERR_INVALID},     {413, ERR_LIMIT},       {415, ERR_INVALID},     {422, ERR_INVALID},
        {429, ERR_UNAVAILABLE}, {500, ERR_UNAVAILABLE}, {503, ERR_UNAVAILABLE}, {504, ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        kube_status_error(rows[i].status, "", 0, "GET", "/x", &e);
        assert_int_equal(e.code, rows[i].code);
        assert_int_equal(e.text[0] == 0, rows[i].code == ERR_NONE);
    }
}

static void assert_text(int status, const char *body, const char *want) {
    struct err e;
    kube_status_error(status, body, strlen(body), "PATCH", "/api/v1/namespaces/a?fieldManager=b", &e);
    assert_string_equal(e.text, want);
}

static void texts(void **state) {
    (void)state;
    assert_text(409, "{\"kind\":\"Status\",\"message\":\"the object has been modified\"}",
                "PATCH /api/v1/namespaces/a: 409 Conflict: the object has been modified");
    assert_text(
        401, "{\"kind\":\"Status\",\"message\":\"Unauthorized\"}",
        "PATCH /api/v1/namespaces/a: 401 Unauthorized: Unauthorized (the API server does not accept our credentials: "
        "renew the token or certificate)");
    assert_text(502, "upstream gone\r\nmore", "PATCH /api/v1/namespaces/a: 502 Bad Gateway: upstream gone");
    assert_text(502, "\x01\x02", "PATCH /api/v1/namespaces/a: 502 Bad Gateway");
    assert_text(500, "{\"kind\":", "PATCH /api/v1/namespaces/a: 500 Internal Error: {\"kind\":");
    assert_text(418, "", "PATCH /api/v1/namespaces/a: 418 ");
}

static void long_message(void **state) {
    (void)state;
    char body[2000];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = 0;
    struct err e;
    kube_status_error(500, body, strlen(body), "GET", "/x", &e);
    assert_true(strlen(e.text) == sizeof e.text - 1);
}

static void escape(void **state) {
    (void)state;
    char *s = kube_escape("a-b.c_d~E9/+= \xc3\xa4&?");
    assert_string_equal(s, "a-b.c_d~E9%2F%2B%3D%20%C3%A4%26%3F");
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(texts),
        cmocka_unit_test(long_message),
        cmocka_unit_test(escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
