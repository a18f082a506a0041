/*
 * What keeps a pod from starting, what its proxy is, and why a controller cannot create pods; read from the fields that
 * kubelet, scheduler and controllers write (reasons as in Kubernetes 1.28 ... 1.36: pkg/kubelet/images/types.go,
 * pkg/kubelet/kuberuntime and pkg/kubelet/container/sync_result.go).
 */
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "inventory_tables.h"

enum { TEXT_MAX = 300 }; /* bytes kept of what others wrote */

/* --- what runs in it --- */

static const struct {
    const char *text;
    enum pod_type type;
} roles[] = {{"sidecar", POD_SIDECAR}, {"router", POD_GATEWAY}, {"waypoint", POD_WAYPOINT}, {"ztunnel", POD_ZTUNNEL}};

/* Istio's charts start every proxy as "proxy ROLE ...". */
static bool type_of_args(const json_t *proxy, enum pod_type *out) {
    const json_t *args = js_at(proxy, "args", NULL);
    const char *verb = json_string_value(json_array_get(args, 0)), *role = json_string_value(json_array_get(args, 1));
    if (!verb || !role || strcmp(verb, "proxy") != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!strcmp(role, roles[i].text)) {
            *out = roles[i].type;
            return true;
        }
    }
    return false;
}

/* Does the list of names in text ("a,b") hold the word? */
static bool names(const char *text, const char *word) {
    size_t len = strlen(word);
    for (const char *p = text; *p; p += strcspn(p, ",")) {
        p += strspn(p, ", ");
        if (!strncmp(p, word, len) && (p[len] == '\0' || p[len] == ',' || p[len] == ' ')) {
            return true;
        }
    }
    return false;
}

enum pod_type inventory_pod_type(const json_t *pod, const json_t *proxy) {
    enum pod_type type;
    if (type_of_args(proxy, &type)) {
        return type;
    }
    const json_t *labels = js_at(pod, "metadata", "labels", NULL);
    const char *managed = js_text(labels, "gateway.istio.io/managed", NULL);
    if (!strcmp(managed, "istio.io-mesh-controller")) {
        return POD_WAYPOINT;
    }
    if (*managed || js_str(labels, "gateway.networking.k8s.io/gateway-name", NULL) ||
        names(js_text(pod, "metadata", "annotations", "inject.istio.io/templates", NULL), "gateway")) {
        return POD_GATEWAY;
    }
    return strcmp(js_text(labels, "app", NULL), "ztunnel") ? POD_SIDECAR : POD_ZTUNNEL;
}

/* --- what keeps it from starting --- */

/* Takes text; cut at a character's end, without control characters. */
static char *shorten(char *text) {
    size_t len = 0, step;
    while (len < TEXT_MAX && (step = text_utf8(text + len, strlen(text + len))) > 0) {
        if (step == 1 && (unsigned char)text[len] < ' ') {
            text[len] = ' ';
        }
        len += step;
    }
    text[len] = '\0';
    return text;
}

static enum pod_trouble trouble_of(const char *reason) {
    static const struct {
        const char *reason;
        enum pod_trouble trouble;
    } known[] = {
        {"ErrImagePull", TROUBLE_IMAGE},
        {"ImagePullBackOff", TROUBLE_IMAGE},
        {"InvalidImageName", TROUBLE_IMAGE},
        {"ErrImageNeverPull", TROUBLE_IMAGE},
        {"ImageInspectError", TROUBLE_IMAGE},
        {"RegistryUnavailable", TROUBLE_IMAGE},
        {"SignatureValidationFailed", TROUBLE_IMAGE},
        {"CrashLoopBackOff", TROUBLE_CRASH},
        {"RunContainerError", TROUBLE_CRASH},
        {"PostStartHookError", TROUBLE_CRASH},
        {"CreateContainerConfigError", TROUBLE_CONFIG},
        {"CreateContainerError", TROUBLE_CONFIG},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!strcmp(reason, known[i].reason)) {
            return known[i].trouble;
        }
    }
    return TROUBLE_NONE;
}

/* The message of a back-off holds its growing delay: news that is none. */
static void take_container(struct inv_pod *p, const json_t *status) {
    const char *reason = js_text(status, "state", "waiting", "reason", NULL);
    enum pod_trouble trouble = trouble_of(reason);
    if (trouble == TROUBLE_NONE || p->trouble != TROUBLE_NONE) {
        return;
    }
    const char *message = trouble == TROUBLE_CRASH ? "" : js_text(status, "state", "waiting", "message", NULL);
    p->trouble = trouble;
    p->trouble_text =
        shorten(mem_printf("container %s: %s%s%s", js_text(status, "name", NULL), reason, *message ? ": " : "", message));
}

/* One pass for the proxy, one for the others: proxy true or false. */
static void take_list(struct inv_pod *p, const json_t *list, bool proxy) {
    size_t i;
    const json_t *status;
    json_array_foreach(list, i, status) {
        if (!strcmp(js_text(status, "name", NULL), "istio-proxy") == proxy) {
            take_container(p, status);
            p->proxy_ready |= proxy && js_bool(status, false, "ready", NULL);
        }
    }
}

static void take_schedule(struct inv_pod *p, const json_t *o) {
    const json_t *c = NULL;
    if (p->trouble != TROUBLE_NONE || p->node || !inventory_read_condition(o, "PodScheduled", "False", &c)) {
        return;
    }
    const char *reason = js_text(c, "reason", NULL), *message = js_text(c, "message", NULL);
    p->trouble = TROUBLE_UNSCHEDULABLE;
    p->trouble_text = shorten(mem_printf("%s%s%s", *reason ? reason : "not scheduled", *message ? ": " : "", message));
}

void inventory_read_trouble(struct inv_pod *p, const json_t *o) {
    for (int proxy = 1; proxy >= 0; proxy--) {
        take_list(p, js_at(o, "status", "initContainerStatuses", NULL), proxy);
        take_list(p, js_at(o, "status", "containerStatuses", NULL), proxy);
    }
    take_schedule(p, o);
}

/* --- why pods cannot be created --- */

/* The webhook in `... webhook "NAME" ...` is Istio's. */
static bool by_injector(const char *text, const char *before) {
    const char *at = strstr(text, before), *end = at ? strchr(at + strlen(before), '"') : NULL;
    static const char suffix[] = "istio.io";
    size_t want = sizeof suffix - 1;
    return end && (size_t)(end - at) >= strlen(before) + want && !strncmp(end - want, suffix, want);
}

enum create_trouble inventory_create_trouble(const char *text) {
    if (by_injector(text, "failed calling webhook \"") || by_injector(text, "admission webhook \"")) {
        return CREATE_INJECTOR;
    }
    if (strstr(text, "exceeded quota: ") || strstr(text, "failed quota: ") || strstr(text, "insufficient quota")) {
        return CREATE_QUOTA;
    }
    bool refused = strstr(text, "denied the request") || strstr(text, "violates PodSecurity") ||
                   strstr(text, "' resulted in error: ") || /* a matchCondition */
                   (strstr(text, "ValidatingAdmissionPolicy") && strstr(text, "denied request")) ||
                   strstr(text, "unable to validate against any security context constraint") ||
                   strstr(text, "per Pod is"); /* LimitRange: "maximum cpu usage per Pod is 1" */
    return refused || strstr(text, "per Container is") ? CREATE_DENIED : CREATE_OTHER;
}
