#include "probes/local_ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* As kernel 6.18 shows a pod's network namespace. */
static const char fib[] = "Main:\n"
                          "  +-- 0.0.0.0/0 3 0 5\n"
                          "     |-- 0.0.0.0\n"
                          "        /0 universe UNICAST\n"
                          "     +-- 127.0.0.0/8 2 0 2\n"
                          "        +-- 127.0.0.0/31 1 0 0\n"
                          "           |-- 127.0.0.0\n"
                          "              /8 host LOCAL\n"
                          "           |-- 127.0.0.1\n"
                          "              /32 host LOCAL\n"
                          "     +-- 10.246.1.0/24 2 0 2\n"
                          "        +-- 10.246.1.0/28 2 0 2\n"
                          "           |-- 10.246.1.0\n"
                          "              /24 link UNICAST\n"
                          "           |-- 10.246.1.12\n"
                          "              /32 host LOCAL\n"
                          "        |-- 10.246.1.255\n"
                          "           /32 link BROADCAST\n"
                          "Local:\n";

static void test_v4(void **state) {
    (void)state;
    char ip[46] = "";
    assert_true(local_ip_v4(fib, ip));
    assert_string_equal(ip, "10.246.1.12");
    assert_false(local_ip_v4("", ip));
    assert_false(local_ip_v4("     |-- 127.0.0.1\n        /32 host LOCAL\n", ip));
    assert_false(local_ip_v4("     |-- 10.1.1.1\n        /24 link UNICAST\n", ip));
    assert_false(local_ip_v4("     |-- nonsense\n        /32 host LOCAL\n", ip));
    assert_false(local_ip_v4("        /32 host LOCAL\n", ip));
}

static void test_v6(void **state) {
    (void)state;
    char ip[46] = "";
    assert_true(local_ip_v6("00000000000000000000000000000001 01 80 10 80       lo\n"
                            "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n"
                            "fd000000000000000000000000000002 04 40 00 82     eth0\n",
                            ip));
    assert_string_equal(ip, "fd00::2");
    assert_false(local_ip_v6("00000000000000000000000000000001 01 80 10 80       lo\n", ip));
    assert_false(local_ip_v6("fd00 04 40 00 82 eth0\nrubbish", ip));
    assert_false(local_ip_v6("", ip));
}

/* A cut text gives the address or none, never another. */
static void test_cuts(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof fib; n++) {
        char text[sizeof fib], ip[46] = "";
        memcpy(text, fib, n);
        text[n] = '\0';
        if (local_ip_v4(text, ip)) {
            assert_string_equal(ip, "10.246.1.12");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v4), cmocka_unit_test(test_v6), cmocka_unit_test(test_cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
