#include "probes/socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define POD_UID "0f2c9d1e-7a6b-4c3d-8e5f-0123456789ab"
#define POD_SLICE "pod0f2c9d1e_7a6b_4c3d_8e5f_0123456789ab"
#define STATIC_UID "0f2c9d1e7a6b4c3d8e5f0123456789ab"

static const struct {
    const char *text, *want;
} cgroups[] = {
    {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-" POD_SLICE ".slice/cri-containerd-c0ffee.scope\n",
     POD_UID},
    {"0::/kubepods.slice/kubepods-" POD_SLICE ".slice/cri-containerd-c0ffee.scope\n", POD_UID},
    {"0::/kubepods/besteffort/pod" POD_UID "/c0ffee\n", POD_UID},
    {"0::/../kubepods-besteffort-" POD_SLICE ".slice/cri-containerd-c0ffee.scope\n", POD_UID},
    {"0::/../../pod" POD_UID "/c0ffee\n", POD_UID},
    {"12:memory:/kubepods/burstable/pod" POD_UID "/c0ffee\n11:cpu:/kubepods/burstable/pod" POD_UID "/c0ffee\n", POD_UID},
    {"0::/kubepods/pod11111111-1111-1111-1111-111111111111/x/kubelet/kubepods/pod" POD_UID "/y\n", POD_UID},
    {"0::/kubepods/pod" POD_UID, POD_UID},
    {"1:name=systemd:/system.slice/containerd.service/kubepods-burstable-" POD_SLICE ".slice:cri-containerd:c0ffee\n",
     POD_UID},
    {"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-" POD_SLICE ".slice/crio-c0ffee.scope/container\n",
     POD_UID},
    {"4:devices:/kubepods.slice/kubepods-" POD_SLICE ".slice/docker-c0ffee.scope\n3:pids:/\n", POD_UID},
    {"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-" POD_SLICE
     ".slice/cri-containerd-c0ffee.scope\n",
     POD_UID},
    {"0::/../kubepods-" POD_SLICE ".slice/crio-c0ffee.scope\n", POD_UID},
    {"0::/../../besteffort/pod" POD_UID "/c0ffee\n", POD_UID},
    {"0::/kubepods/burstable/pod" STATIC_UID "/c0ffee\n", STATIC_UID},
    {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC_UID ".slice/crio-c0ffee.scope\n",
     STATIC_UID},
    {"0::/../kubepods-pod" STATIC_UID ".slice/cri-containerd-c0ffee.scope\n", STATIC_UID},
    {"0::/kubepods/burstable/pod" STATIC_UID "0/c0ffee\n", NULL},
    {"0::/kubepods/burstable/pod0123456789abcdef/c0ffee\n", NULL},
    {"0::/kubepods/pod" POD_UID "0/y\n", NULL},
    {"0::/kubepods/pod0f2c9d1e-7a6b-4c3d-8e5f-0123456789a\n", NULL},
    {"0::/kubepods/pod0f2c9d1e-7a6b-4c3d-8e5f+0123456789ab\n", NULL},
    {"0::/user.slice/tripod" POD_UID "\n", NULL},
    {"0::/system.slice/sshd.service\n", NULL},
    {"0::/\n", NULL},
    {"", NULL},
};

static void test_cgroup(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
        char uid[40] = "";
        bool got = socket_cgroup_uid(cgroups[i].text, uid);
        if (got != (cgroups[i].want != NULL) || (got && strcmp(uid, cgroups[i].want) != 0)) {
            fail_msg("%s: '%s'", cgroups[i].text, uid);
        }
    }
}

/* Lines of a real pilot-agent: listening, the one to istiod, somebody else's state, user and port. */
#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define TAIL " 00000000:00000000 02:000AC942 00000000 "
#define REST "        0 529433 2 000000007f6875c6 21 4 27 77 -1                   \n"
#define LISTEN "   0: 0100007F:3A98 00000000:0000 0A" TAIL " 1337" REST
#define ISTIOD "   9: 0C01F60A:BC16 10F9600A:3AA4 01" TAIL " 1337" REST
static const char tcp[] =
    HEAD LISTEN ISTIOD "  10: 0C01F60A:3A9E 0A01F60A:E102 01" TAIL " 1337" REST "  11: 0C01F60A:BC17 10F9600A:3AA4 06" TAIL
                       " 1337" REST "  12: 0C01F60A:BC18 10F9600A:3AA4 02" TAIL " 1337" REST
                       "  13: 0C01F60A:BC19 10F9600A:3AA4 01" TAIL "    0" REST "  14: garbage\n" ISTIOD;
static const char tcp6[] =
    HEAD "   0: 000000FD000000000000000001000000:BC16 000000FD000000000000000002000000:3AA4 01" TAIL " 1337" REST
         "   1: 0000000000000000FFFF00000C01F60A:BC16 0000000000000000FFFF000010F9600A:3AA4 01" TAIL " 1337" REST
         "   2: 00000000000000000000000000000000:3AAC 00000000000000000000000000000000:0000 0A" TAIL " 1337" REST;

static void on_line(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip) {
    char *text = ctx;
    assert_true(local_port == 0xBC16 || local_port == 0xBC19);
    sprintf(text + strlen(text), "%s>%s ", local_ip, remote_ip);
}

static void test_lines(void **state) {
    (void)state;
    char seen[512] = "";
    assert_int_equal(socket_parse_tcp(tcp, sizeof(tcp) - 1, 1337, 15012, on_line, seen), 2);
    assert_string_equal(seen, "10.246.1.12>10.96.249.16 10.246.1.12>10.96.249.16 ");
    seen[0] = '\0';
    assert_int_equal(socket_parse_tcp(tcp, sizeof(tcp) - 1, 0, 15012, on_line, seen), 1);
    assert_int_equal(socket_parse_tcp(tcp, sizeof(tcp) - 1, 1338, 15012, on_line, seen), 0);
    assert_int_equal(socket_parse_tcp(tcp, sizeof(tcp) - 1, 1337, 15013, on_line, seen), 0);
    seen[0] = '\0';
    assert_int_equal(socket_parse_tcp(tcp6, sizeof(tcp6) - 1, 1337, 15012, on_line, seen), 2);
    assert_string_equal(seen, "fd00::1>fd00::2 10.246.1.12>10.96.249.16 ");
    assert_int_equal(socket_parse_tcp("", 0, 1337, 15012, on_line, seen), 0);
}

/* A tree as the kernel shows it. */
static void put(const char *root, int pid, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%d", root, pid);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/%d/net", root, pid);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/%d/%s", root, pid, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void process(const char *root, int pid, const char *comm, const char *uid, const char *pod, const char *net) {
    char text[512];
    snprintf(text, sizeof(text), "%s\n", comm);
    put(root, pid, "comm", text);
    snprintf(text, sizeof(text), "Name:\t%s\nUmask:\t0022\nUid:\t%s\t%s\t%s\t%s\nGid:\t1\t1\t1\t1\n", comm, uid, uid, uid,
             uid);
    put(root, pid, "status", text);
    snprintf(text, sizeof(text), "0::/kubepods/burstable/pod%s/c0ffee\n", pod);
    put(root, pid, "cgroup", pod[0] != '\0' ? text : "0::/user.slice\n");
    if (net != NULL) {
        put(root, pid, "net/tcp", net);
        put(root, pid, "net/tcp6", HEAD);
    }
}

static void on_pod(void *ctx, const struct dial_seen *d) {
    char *text = ctx;
    sprintf(text + strlen(text), "%.4s ip=%s to=%s n=%u\n", d->pod_uid, d->pod_ip, d->remote, d->connections);
    assert_false(d->cut);
    if (d->program[0] != 'z') {
        assert_string_equal(d->program, "pilot-agent");
    } else {
        strcat(text, "ztunnel\n");
    }
}

static void remove_tree(const char *root) {
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void test_scan(void **state) {
    (void)state;
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "";
    struct err err = {0};
    assert_non_null(mkdtemp(root));
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.text, "hostPID"));

    process(root, 10, "envoy", "1337", "aaaa0000-0000-0000-0000-000000000000", tcp);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), 0);
    process(root, 11, "pilot-agent", "1337", "aaaa0000-0000-0000-0000-000000000000", tcp);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), 1);
    assert_string_equal(seen, "aaaa ip=10.246.1.12 to=10.96.249.16:15012 n=2\n");

    /* a second process of the same pod, a user without connections, no pod, one that is just ending */
    process(root, 12, "pilot-agent", "1337", "aaaa0000-0000-0000-0000-000000000000", tcp);
    process(root, 13, "pilot-agent", "1000", "aaaa0000-0000-0000-0000-000000000000", tcp);
    process(root, 14, "pilot-agent", "1337", "", tcp);
    put(root, 15, "comm", "pilot-agent\n");
    seen[0] = '\0';
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), 1);
    assert_string_equal(seen, "aaaa ip=10.246.1.12 to=10.96.249.16:15012 n=2\n");

    process(root, 16, "pilot-agent", "1338", "bbbb0000-0000-0000-0000-000000000000", tcp);
    process(root, 11, "pilot-agent", "1337", "", tcp);
    process(root, 12, "pilot-agent", "1337", "", tcp);
    process(root, 13, "pilot-agent", "1337", "", tcp);
    seen[0] = '\0';
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), 1);
    assert_string_equal(seen, "bbbb ip= to= n=0\n");
    remove_tree(root);

    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

/* The connection stands far behind the first chunk, and lines lie across chunks. */
static void test_long_table(void **state) {
    (void)state;
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "";
    assert_non_null(mkdtemp(root));
    process(root, 10, "pilot-agent", "1337", "cccc0000-0000-0000-0000-000000000000", HEAD);
    char path[512];
    snprintf(path, sizeof(path), "%s/10/net/tcp", root);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (int i = 0; i < 3000; i++) {
        fprintf(f, "%4d: 0C01F60A:BC16 10F9600A:0050 01" TAIL " 1337%*s" REST, i, i % 7, "");
        if (i % 1000 == 999) {
            fputs(ISTIOD, f);
        }
    }
    fclose(f);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, NULL), 1);
    assert_string_equal(seen, "cccc ip=10.246.1.12 to=10.96.249.16:15012 n=3\n");
    remove_tree(root);
}

static void put_bytes(const char *root, int pid, const char *name, const char *p, size_t n) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%d/%s", root, pid, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* ztunnel counts; pilot-agent's other commands (istio-init, hooks) and one that has just ended do not. */
static void test_programs(void **state) {
    (void)state;
    static const char proxy[] = "/usr/local/bin/pilot-agent\0proxy\0router", init[] = "pilot-agent\0istio-iptables\0-p";
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "";
    assert_non_null(mkdtemp(root));
    process(root, 10, "ztunnel", "1337", "aaaa0000-0000-0000-0000-000000000000", tcp);
    process(root, 11, "pilot-agent", "1337", "bbbb0000-0000-0000-0000-000000000000", HEAD ISTIOD);
    put_bytes(root, 11, "cmdline", proxy, sizeof proxy);
    process(root, 12, "pilot-agent", "1337", "cccc0000-0000-0000-0000-000000000000", HEAD);
    put_bytes(root, 12, "cmdline", init, sizeof init);
    process(root, 13, "pilot-agent", "1337", "dddd0000-0000-0000-0000-000000000000", HEAD);
    put_bytes(root, 13, "cmdline", "", 0);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, NULL), 2);
    assert_non_null(strstr(seen, "aaaa ip=10.246.1.12 to=10.96.249.16:15012 n=2\nztunnel\n"));
    assert_non_null(strstr(seen, "bbbb ip=10.246.1.12 to=10.96.249.16:15012 n=1\n"));
    remove_tree(root);
}

/* Without a connection the address is the network namespace's, so that the proxy can be asked why. */
static void test_address(void **state) {
    (void)state;
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "";
    assert_non_null(mkdtemp(root));
    process(root, 10, "pilot-agent", "1337", "aaaa0000-0000-0000-0000-000000000000", HEAD);
    put(root, 10, "net/fib_trie", "Local:\n     |-- 10.244.3.7\n        /32 host LOCAL\n");
    process(root, 11, "pilot-agent", "1337", "bbbb0000-0000-0000-0000-000000000000", HEAD);
    put(root, 11, "net/if_inet6", "fd000000000000000000000000000002 04 40 00 82     eth0\n");
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, NULL), 2);
    assert_non_null(strstr(seen, "aaaa ip=10.244.3.7 to= n=0\n"));
    assert_non_null(strstr(seen, "bbbb ip=fd00::2 to= n=0\n"));
    remove_tree(root);
}

static void test_v6_only(void **state) {
    (void)state;
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "";
    assert_non_null(mkdtemp(root));
    process(root, 10, "pilot-agent", "1337", "aaaa0000-0000-0000-0000-000000000000", HEAD);
    put(root, 10, "net/tcp6",
        HEAD "   0: 000000FD000000000000000001000000:BC16 000000FD000000000000000002000000:3AA4 01" TAIL " 1337" REST);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, NULL), 1);
    assert_string_equal(seen, "aaaa ip=fd00::1 to=[fd00::2]:15012 n=1\n");
    remove_tree(root);
}

/* Less than all must not pass for fewer proxies. */
static void test_forbidden(void **state) {
    (void)state;
    char root[] = "/tmp/meshgate-proc-XXXXXX", seen[1024] = "", path[600];
    struct err err = {0};
    assert_non_null(mkdtemp(root));
    process(root, 10, "pilot-agent", "1337", "aaaa0000-0000-0000-0000-000000000000", HEAD ISTIOD);
    process(root, 11, "pilot-agent", "1337", "bbbb0000-0000-0000-0000-000000000000", HEAD ISTIOD);
    uid_t me = geteuid();
    assert_int_equal(chmod(root, 0755), 0);
    for (int pid = 10; pid <= 11; pid++) {
        snprintf(path, sizeof path, "%s/%d", root, pid);
        assert_int_equal(chmod(path, 0755), 0);
        snprintf(path, sizeof path, "%s/%d/net", root, pid);
        assert_int_equal(chmod(path, 0755), 0);
    }
    snprintf(path, sizeof path, "%s/11/net/tcp", root);
    assert_int_equal(chmod(path, 0), 0);
    if (me == 0) {
        assert_int_equal(seteuid(65534), 0);
    }
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.text, "/11/net/tcp"));
    assert_string_equal(seen, "");
    assert_int_equal(seteuid(me), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), 2);
    for (int pid = 10; pid <= 11; pid++) { /* as hidepid=1 does */
        snprintf(path, sizeof path, "%s/%d/comm", root, pid);
        assert_int_equal(chmod(path, 0), 0);
    }
    if (me == 0) {
        assert_int_equal(seteuid(65534), 0);
    }
    assert_int_equal(socket_scan(root, 15012, on_pod, seen, &err), -1);
    assert_non_null(strstr(err.text, "hidepid"));
    assert_int_equal(seteuid(me), 0);
    remove_tree(root);
}

/* The kernel's own files, of this very process. */
static void test_real_proc(void **state) {
    (void)state;
    char seen[4096] = "";
    struct err err = {0};
    int64_t n = socket_scan("/proc", 15012, on_pod, seen, &err);
    assert_true(n >= 0 || err.code == ERR_DENIED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cgroup),     cmocka_unit_test(test_lines),     cmocka_unit_test(test_scan),
        cmocka_unit_test(test_long_table), cmocka_unit_test(test_real_proc), cmocka_unit_test(test_programs),
        cmocka_unit_test(test_address),    cmocka_unit_test(test_v6_only),   cmocka_unit_test(test_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
