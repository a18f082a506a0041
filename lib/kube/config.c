/* Where the API server is: from a kubeconfig or from what a pod finds in its file system. */
#include "kube.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/json.h"
#include "../base/mem.h"
#include "../base/text.h"
#include "yaml.h"

enum { MAX_CONFIG = 4 << 20, MAX_FILE = 1 << 20 };

/* One kubeconfig while it is read; cluster and user are entries of it. */
struct reading {
    const char *path, *context;
    json_t *doc;
    const json_t *cluster, *user;
    const char *cluster_name, *user_name;
};

static const char default_dir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict but for line ends and blanks; NULL when it is no base64 or not text. */
static char *base64_text(const char *s) {
    char *out = mem_alloc(strlen(s) + 1);
    size_t n = 0, chars = 0, pad = 0;
    unsigned bits = 0;
    for (; *s; s++) {
        if (strchr(" \r\n\t", *s)) {
            continue;
        }
        int v = *s == '=' ? 0 : base64_value(*s);
        pad += *s == '=';
        if (v < 0 || (pad > 0 && *s != '=') || pad > 2) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (unsigned)v;
        if (++chars % 4 == 0) {
            out[n++] = (char)(bits >> 16 & 255);
            out[n++] = (char)(bits >> 8 & 255);
            out[n++] = (char)(bits & 255);
        }
    }
    n -= n >= pad ? pad : n;
    if (chars == 0 || chars % 4 != 0 || memchr(out, 0, n)) {
        free(out);
        return NULL;
    }
    out[n] = 0;
    return out;
}

static bool fail(const struct reading *r, struct err *err, const char *entry, const char *name, const char *field,
                 const char *what) {
    return err_set(err, ERR_INVALID, "kubeconfig %s: context \"%s\": %s \"%s\": %s %s", r->path, r->context, entry, name,
                   field, what);
}

/* A file name in a kubeconfig is relative to the kubeconfig. */
static char *beside(const char *kubeconfig, const char *file) {
    if (file[0] == '/') {
        return mem_dup(file);
    }
    char *copy = mem_dup(kubeconfig);
    char *out = mem_printf("%s/%s", dirname(copy), file);
    free(copy);
    return out;
}

/* PEM from FIELD-data (base64) or from the file that FIELD names; data wins, as with kubectl. Absent: true, *out NULL. */
static bool pem_field(const struct reading *r, const json_t *o, const char *entry, const char *name, const char *field,
                      char **out, struct err *err) {
    char data_field[64];
    snprintf(data_field, sizeof data_field, "%s-data", field);
    const char *data = js_str(o, data_field, NULL), *file = js_str(o, field, NULL);
    *out = NULL;
    if (data) {
        *out = base64_text(data);
        if (*out && strstr(*out, "-----BEGIN ")) {
            return true;
        }
        return fail(r, err, entry, name, data_field,
                    "is not base64 of a PEM text; take it from `kubectl config view --raw`");
    }
    if (!file) {
        return true;
    }
    char *path = beside(r->path, file);
    struct err why;
    bool ok = text_read_file(path, MAX_FILE, out, NULL, &why);
    if (!ok) {
        fail(r, err, entry, name, field, why.text);
    } else if (!strstr(*out, "-----BEGIN ")) {
        ok = fail(r, err, entry, name, field, "names a file that holds no PEM text");
    }
    free(path);
    return ok;
}

/* The entry {name: NAME, KIND: {...}} of the list, or NULL. */
static const json_t *entry_named(const json_t *doc, const char *list, const char *kind, const char *name) {
    size_t i;
    const json_t *e;
    json_array_foreach(js_at(doc, list, NULL), i, e) {
        if (!strcmp(js_text(e, "name", NULL), name)) {
            return js_at(e, kind, NULL);
        }
    }
    return NULL;
}

static void context_names(const json_t *doc, char *out, size_t cap) {
    struct buf b;
    buf_init(&b, cap - 1);
    size_t i;
    const json_t *e;
    json_array_foreach(js_at(doc, "contexts", NULL), i, e) {
        buf_printf(&b, "%s%s", i ? ", " : "", js_text(e, "name", NULL));
    }
    snprintf(out, cap, "%s", b.len ? b.p : "none");
    buf_done(&b);
}

static bool pick_context(struct reading *r, const char *context, struct kube_config *out, struct err *err) {
    char names[120];
    r->context = context && *context ? context : js_text(r->doc, "current-context", NULL);
    context_names(r->doc, names, sizeof names);
    if (!*r->context) {
        return err_set(err, ERR_INVALID, "kubeconfig %s: no current-context; choose one of its contexts: %s", r->path,
                       names);
    }
    const json_t *c = entry_named(r->doc, "contexts", "context", r->context);
    if (!c) {
        return err_set(err, ERR_NOT_FOUND, "kubeconfig %s: no context \"%s\"; it has: %s", r->path, r->context, names);
    }
    r->cluster_name = js_text(c, "cluster", NULL);
    r->user_name = js_text(c, "user", NULL);
    r->cluster = entry_named(r->doc, "clusters", "cluster", r->cluster_name);
    r->user = entry_named(r->doc, "users", "user", r->user_name);
    out->namespace_ = mem_dup(*js_text(c, "namespace", NULL) ? js_text(c, "namespace", NULL) : "default");
    if (!r->cluster) {
        return fail(r, err, "cluster", r->cluster_name, "clusters", "has no entry of this name");
    }
    if (!r->user) {
        return fail(r, err, "user", r->user_name, "users", "has no entry of this name");
    }
    return true;
}

static bool read_cluster(const struct reading *r, struct kube_config *out, struct err *err) {
    const char *server = js_text(r->cluster, "server", NULL),
               *insecure = js_text(r->cluster, "insecure-skip-tls-verify", NULL);
    if (strncmp(server, "https://", 8) != 0 || !server[8]) {
        return fail(r, err, "cluster", r->cluster_name, "server", "must be https://HOST:PORT");
    }
    if (js_str(r->cluster, "proxy-url", NULL)) {
        return fail(r, err, "cluster", r->cluster_name, "proxy-url", "is not supported");
    }
    if (*insecure && strcmp(insecure, "true") != 0 && strcmp(insecure, "false") != 0) {
        return fail(r, err, "cluster", r->cluster_name, "insecure-skip-tls-verify", "must be true or false");
    }
    out->server = mem_dup(server);
    for (size_t n = strlen(out->server); out->server[n - 1] == '/'; n--) {
        out->server[n - 1] = 0;
    }
    out->insecure = !strcmp(insecure, "true");
    out->tls_server_name = mem_dup(js_str(r->cluster, "tls-server-name", NULL));
    return pem_field(r, r->cluster, "cluster", r->cluster_name, "certificate-authority", &out->ca_pem, err);
}

static bool read_user(const struct reading *r, struct kube_config *out, struct err *err) {
    static const char *const refused[][2] = {
        {"exec", "logs in by running a command, which is not supported: use a token, tokenFile or client certificate"},
        {"auth-provider", "is not supported: use a token, tokenFile or client certificate"},
        {"username", "(password login) is not supported: use a token, tokenFile or client certificate"},
        {"as", "(impersonation) is not supported"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (json_object_get(r->user, refused[i][0])) {
            return fail(r, err, "user", r->user_name, refused[i][0], refused[i][1]);
        }
    }
    if (!pem_field(r, r->user, "user", r->user_name, "client-certificate", &out->cert_pem, err) ||
        !pem_field(r, r->user, "user", r->user_name, "client-key", &out->key_pem, err)) {
        return false;
    }
    if (!out->cert_pem != !out->key_pem) {
        return fail(r, err, "user", r->user_name, out->cert_pem ? "client-key" : "client-certificate",
                    "is missing: the two belong together");
    }
    const char *token_file = js_str(r->user, "tokenFile", NULL);
    if (token_file) {
        out->token_file = beside(r->path, token_file);
    } else {
        out->token = mem_dup(js_str(r->user, "token", NULL));
    }
    if (!out->cert_pem && !out->token && !out->token_file) {
        return fail(r, err, "user", r->user_name, "token", "is missing, and so are tokenFile and client-certificate");
    }
    return true;
}

bool kube_config_load(const char *path, const char *context, struct kube_config *out, struct err *err) {
    struct reading r = {.path = path, .context = context ? context : ""};
    struct err why;
    char *text = NULL;
    size_t len = 0;
    *out = (struct kube_config){0};
    bool ok = text_read_file(path, MAX_CONFIG, &text, &len, &why);
    if (!ok) {
        err_set(err, why.code, "kubeconfig %s: %s; give another file or run inside a cluster", path, why.text);
        goto out;
    }
    r.doc = yaml_parse(text, len, &why);
    if (!json_is_object(r.doc)) {
        ok = err_set(err, ERR_INVALID, "kubeconfig %s: %s", path, r.doc ? "is not a YAML map" : why.text);
        goto out;
    }
    ok = pick_context(&r, context, out, err) && read_cluster(&r, out, err) && read_user(&r, out, err);
out:
    json_decref(r.doc);
    free(text);
    if (!ok) {
        kube_config_done(out);
    }
    return ok;
}

bool kube_config_from_dir(const char *dir, struct kube_config *out, struct err *err) {
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    *out = (struct kube_config){0};
    if (!host || !*host || !port || !*port) {
        return err_set(err, ERR_NOT_FOUND,
                       "not inside a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are "
                       "not set; give a kubeconfig");
    }
    char *ca = mem_printf("%s/ca.crt", dir), *ns = mem_printf("%s/namespace", dir), *probe = NULL;
    out->token_file = mem_printf("%s/token", dir);
    bool six = strchr(host, ':') != NULL;
    out->server = mem_printf("https://%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", port);
    bool ok = text_read_file(out->token_file, MAX_FILE, &probe, NULL, err) &&
              text_read_file(ca, MAX_FILE, &out->ca_pem, NULL, err);
    if (!ok) {
        err_wrap(err, "service account of this pod (is automountServiceAccountToken off?)");
    } else if (!strstr(out->ca_pem, "-----BEGIN ")) {
        ok = err_set(err, ERR_INVALID, "%s holds no PEM text", ca);
    } else if (text_read_file(ns, MAX_FILE, &out->namespace_, NULL, NULL)) {
        out->namespace_[strcspn(out->namespace_, "\r\n")] = 0;
    }
    mem_set(&probe, NULL);
    free(ca);
    free(ns);
    if (!ok) {
        kube_config_done(out);
    }
    return ok;
}

bool kube_config_in_cluster(struct kube_config *out, struct err *err) {
    return kube_config_from_dir(default_dir, out, err);
}

void kube_config_done(struct kube_config *c) {
    char **all[] = {&c->server, &c->ca_pem,     &c->cert_pem,        &c->key_pem,
                    &c->token,  &c->token_file, &c->tls_server_name, &c->namespace_};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mem_set(all[i], NULL);
    }
}
