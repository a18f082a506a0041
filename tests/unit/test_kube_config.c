/* kubeconfigs that people have, and those that can't be followed: each refusal names file, context and field. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"
#include "lib/kube/kube.h"

static char dir[] = "/tmp/kube-config-XXXXXX";
static char *path;

#define PEM "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
#define PEM64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="

static void write_file(const char *name, const char *text) {
    char *full = mem_printf("%s/%s", dir, name);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(full);
}

static int setup(void **state) {
    (void)state;
    if (!mkdtemp(dir)) {
        return -1;
    }
    path = mem_printf("%s/config", dir);
    write_file("ca.pem", PEM);
    write_file("nopem", "hello\n");
    write_file("token", "secret\n");
    write_file("ca.crt", PEM);
    write_file("namespace", "mesh\n");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    static const char *const names[] = {"config", "ca.pem", "nopem", "token", "ca.crt", "namespace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *full = mem_printf("%s/%s", dir, names[i]);
        unlink(full);
        free(full);
    }
    free(path);
    return rmdir(dir);
}

#define HEAD "apiVersion: v1\nkind: Config\ncurrent-context: prod\n"
#define CONTEXTS                                                                                                         \
    "contexts:\n- name: prod\n  context: {cluster: c1, user: u1, namespace: shop}\n- name: other\n  context: {cluster: " \
    "c2, user: u1}\n"
#define CLUSTERS \
    "clusters:\n- name: c1\n  cluster:\n    server: https://10.0.0.1:6443/\n    certificate-authority-data: " PEM64 "\n"
#define USERS "users:\n- name: u1\n  user: "

static bool load(const char *text, const char *context, struct kube_config *c, struct err *err) {
    write_file("config", text);
    return kube_config_load(path, context, c, err);
}

static void good(void **state) {
    (void)state;
    struct kube_config c;
    struct err err;
    assert_true(load(HEAD CONTEXTS CLUSTERS USERS "{token: abc}\n", NULL, &c, &err));
    assert_string_equal(c.server, "https://10.0.0.1:6443");
    assert_string_equal(c.ca_pem, PEM);
    assert_string_equal(c.token, "abc");
    assert_string_equal(c.namespace_, "shop");
    assert_false(c.insecure);
    assert_null(c.cert_pem);
    kube_config_done(&c);
}

static void files_and_json(void **state) {
    (void)state;
    struct kube_config c;
    struct err err;
    assert_true(
        load("{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}],"
             "\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h\",\"certificate-authority\":\"ca.pem\","
             "\"insecure-skip-tls-verify\":true,\"tls-server-name\":\"kube\"}}],\"users\":[{\"name\":\"u\",\"user\":"
             "{\"client-certificate\":\"./ca.pem\",\"client-key-data\":\"" PEM64 "\",\"tokenFile\":\"token\"}}]}",
             "", &c, &err));
    assert_string_equal(c.ca_pem, PEM);
    assert_string_equal(c.cert_pem, PEM);
    assert_string_equal(c.key_pem, PEM);
    assert_string_equal(c.tls_server_name, "kube");
    assert_string_equal(c.namespace_, "default");
    assert_true(c.insecure);
    char *want = mem_printf("%s/token", dir);
    assert_string_equal(c.token_file, want);
    free(want);
    kube_config_done(&c);
}

struct row {
    const char *text, *context;
    const char *want[3]; /* besides the file's name */
};

static void refusals(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"a: [1, 2\nb: c\n", NULL, {"line 2"}},
        {"\tx: y\n", NULL, {"line 1"}},
        {"", NULL, {"empty"}},
        {"just text", NULL, {"not a YAML map"}},
        {"a: 1\na: 2\n", NULL, {"line 2", "twice"}},
        {"? [a]\n: b\n", NULL, {"key"}},
        {"a: &x [*x]\n", NULL, {"too deeply"}},
        {"contexts: []\n", NULL, {"no current-context", "none"}},
        {CONTEXTS, NULL, {"no current-context", "prod, other"}},
        {HEAD CONTEXTS CLUSTERS USERS "{token: a}\n", "nosuch", {"no context \"nosuch\"", "prod, other"}},
        {HEAD CONTEXTS CLUSTERS USERS "{token: a}\n", "other", {"\"other\"", "cluster \"c2\"", "no entry"}},
        {HEAD CONTEXTS CLUSTERS "users: []\n", NULL, {"\"prod\"", "user \"u1\"", "no entry"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'http://h:1'}}\n" USERS "{token: a}\n",
         NULL,
         {"\"c1\"", "server", "https://"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'https://h', proxy-url: 'http://p'}}\n" USERS
                       "{token: a}\n",
         NULL,
         {"proxy-url"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'https://h', insecure-skip-tls-verify: yes}}\n" USERS
                       "{token: a}\n",
         NULL,
         {"insecure-skip-tls-verify", "true or false"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'https://h', certificate-authority-data: '@@@@'}}\n" USERS
                       "{token: a}\n",
         NULL,
         {"\"prod\"", "certificate-authority-data", "base64"}},
        {HEAD CONTEXTS
         "clusters:\n- {name: c1, cluster: {server: 'https://h', certificate-authority-data: aGVsbG8=}}\n" USERS
         "{token: a}\n",
         NULL,
         {"certificate-authority-data", "PEM"}},
        {HEAD CONTEXTS
         "clusters:\n- {name: c1, cluster: {server: 'https://h', certificate-authority-data: aGVsbG8}}\n" USERS
         "{token: a}\n",
         NULL,
         {"base64"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'https://h', certificate-authority: nopem}}\n" USERS
                       "{token: a}\n",
         NULL,
         {"certificate-authority", "no PEM"}},
        {HEAD CONTEXTS "clusters:\n- {name: c1, cluster: {server: 'https://h', certificate-authority: missing.pem}}\n" USERS
                       "{token: a}\n",
         NULL,
         {"certificate-authority", "missing.pem", "No such file"}},
        {HEAD CONTEXTS CLUSTERS USERS "{exec: {command: aws}}\n", NULL, {"user \"u1\"", "exec", "not supported"}},
        {HEAD CONTEXTS CLUSTERS USERS "{auth-provider: {name: gcp}}\n", NULL, {"user \"u1\"", "auth-provider"}},
        {HEAD CONTEXTS CLUSTERS USERS "{username: a, password: b}\n", NULL, {"username"}},
        {HEAD CONTEXTS CLUSTERS USERS "{client-certificate-data: " PEM64 "}\n", NULL, {"client-key", "missing"}},
        {HEAD CONTEXTS CLUSTERS USERS "{client-key-data: " PEM64 "}\n", NULL, {"client-certificate", "missing"}},
        {HEAD CONTEXTS CLUSTERS USERS "{client-certificate-data: '====', client-key-data: " PEM64 "}\n",
         NULL,
         {"client-certificate-data", "base64"}},
        {HEAD CONTEXTS CLUSTERS USERS "{}\n", NULL, {"user \"u1\"", "token", "missing"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_config c;
        struct err err = {0};
        if (load(rows[i].text, rows[i].context, &c, &err)) {
            fail_msg("row %zu was taken", i);
        }
        assert_null(c.server);
        if (!strstr(err.text, path)) {
            fail_msg("row %zu: no file in: %s", i, err.text);
        }
        for (size_t k = 0; k < 3 && rows[i].want[k]; k++) {
            if (!strstr(err.text, rows[i].want[k])) {
                fail_msg("row %zu: no \"%s\" in: %s", i, rows[i].want[k], err.text);
            }
        }
    }
}

static void aliases_do_not_explode(void **state) {
    (void)state;
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; i++) {
        char line[200];
        snprintf(line, sizeof line, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                 i - 1, i - 1, i - 1, i - 1);
        strcat(text, line);
    }
    struct kube_config c;
    struct err err;
    assert_false(load(text, NULL, &c, &err));
    assert_non_null(strstr(err.text, "too large"));
}

static void missing_and_unreadable(void **state) {
    (void)state;
    struct kube_config c;
    struct err err;
    assert_false(kube_config_load("/nonexistent/kubeconfig", NULL, &c, &err));
    assert_non_null(strstr(err.text, "/nonexistent/kubeconfig"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_false(kube_config_load(dir, NULL, &c, &err));
    assert_non_null(strstr(err.text, dir));
}

static void in_cluster(void **state) {
    (void)state;
    struct kube_config c;
    struct err err;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_false(kube_config_from_dir(dir, &c, &err));
    assert_non_null(strstr(err.text, "KUBERNETES_SERVICE_HOST"));
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_true(kube_config_from_dir(dir, &c, &err));
    assert_string_equal(c.server, "https://[fd00::1]:443");
    assert_string_equal(c.ca_pem, PEM);
    assert_string_equal(c.namespace_, "mesh");
    assert_null(c.token);
    assert_non_null(strstr(c.token_file, "/token"));
    kube_config_done(&c);
    assert_false(kube_config_from_dir("/nonexistent", &c, &err));
    assert_non_null(strstr(err.text, "service account"));
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(files_and_json),
        cmocka_unit_test(refusals),
        cmocka_unit_test(aliases_do_not_explode),
        cmocka_unit_test(missing_and_unreadable),
        cmocka_unit_test(in_cluster),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
