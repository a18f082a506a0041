/*
 * Why proxies get stuck: how each cause is made, and what it must be called. One row a cause; everything in the mesh that
 * no row of its scene speaks of must be well.
 */
#pragma once

#include "../../core/types.h"

/* A mesh of its own. */
enum scene {
    SCENE_WATCHED,     /* no upgrade */
    SCENE_NODES,       /* what agents do not see */
    SCENE_DOWN,        /* one istiod a revision, that of canary dies */
    SCENE_FROZEN,      /* ... stands still */
    SCENE_UNINSTALLED, /* ... and its objects are removed */
    SCENE_QUIET,       /* no upgrade, no pushes, for a long time */
    SCENE_LOCKED,      /* somebody's protobuf syncz has locked a proxy */
    SCENE_SHADOWED,    /* somebody makes a tag canary that points to old */
    SCENE_IN_PLACE,    /* old is upgraded in place, canary is not */
    SCENE_UPGRADE,     /* namespaces app-00 ... are moved from old to canary */
    SCENES
};

struct cause {
    enum scene scene;
    const char *name;
    const char *before; /* actions before gate and agents start, with ';' between them; "" none */
    const char *first;  /* actions in the running mesh */
    const char *then;   /* actions a minute later */
    const char
        *where; /* "NS/PREFIX" of the pods, with a '~' behind it only those that no node has; "@NODE"; "" all others */
    enum proxy_state state;
    enum reason reason;
    const char *owner; /* "KIND/NAME"; NULL: of each pod's own */
};

#define TO_CANARY(NS) "label " NS " istio.io/rev=canary;unlabel " NS " istio-injection;delete pod " NS "/*;"
#define LABEL_CANARY(NS) "label " NS " istio.io/rev=canary;unlabel " NS " istio-injection;"

#define WATCHED(NAME, FIRST, THEN, WHERE, STATE, REASON, OWNER) \
    { SCENE_WATCHED, NAME, "", FIRST, THEN, WHERE, STATE_##STATE, REASON_##REASON, OWNER }

static const struct cause causes[] = {
    /* ---- the proxy and its control plane ---- */
    WATCHED("no way to any istiod", "fault cut app-01/web-", "", "app-01/web-", DETACHED, NO_STREAM, "Deployment/web"),
    /* Of one that has a certificate it cannot be said from outside why it is not let in; the remedy names the token. */
    WATCHED("token refused when it comes back", "fault refused app-02/web-", "", "app-02/web-", DETACHED, NO_STREAM,
            "Deployment/web"),
    WATCHED("token refused from the start", "fault refused app-04/web-;delete pod app-04/web-*", "", "app-04/web-",
            DETACHED, CREDENTIALS_REFUSED, "Deployment/web"),
    WATCHED("discovery address of another revision", "fault misdirected app-03/web- canary", "", "app-03/web-", MISPLACED,
            WRONG_CONTROL_PLANE, "Deployment/web"),
    WATCHED("newer proxies on an older istiod", TO_CANARY("app-43"), "fault misdirected app-43/web- old", "app-43/web-",
            MISPLACED, WRONG_CONTROL_PLANE, "Deployment/web"),
    WATCHED("certificates from another revision", "fault foreign-ca app-06/web- canary", "", "app-06/web-", CONFLICT,
            DIAL_DISAGREES, "Deployment/web"),
    WATCHED("certificate expired", "fault expired app-07/web-", "", "app-07/web-", CONFLICT, CERT_EXPIRED,
            "Deployment/web"),
    WATCHED("in a sandbox that hides its processes", "fault hidden app-09/web-", "", "app-09/web-", UNKNOWN, NODE_NOT_SEEN,
            "Deployment/web"),
    WATCHED("stats ports closed", "fault mute app-11/web-", "", "app-11/web-", UNKNOWN, VERSION_UNSEEN, "Deployment/web"),
    WATCHED("no acknowledgements any more", "fault withhold app-14/web-", "", "app-14/web-", STALE, ACK_OVERDUE,
            "Deployment/web"),
    WATCHED("configuration rejected", TO_CANARY("app-17"), "nack app-17", "app-17/web-", NACKING, NACK, "Deployment/web"),
    WATCHED("configuration rejected from the start", "nack app-18;" TO_CANARY("app-18"), "", "app-18/web-", NACKING, NACK,
            "Deployment/web"),
    /* ---- containers ---- */
    WATCHED("image of the application", "fault sick app-19/web- ImagePullBackOff;delete pod app-19/*", "", "app-19/web-",
            SYNCING, IMAGE_PULL, "Deployment/web"),
    WATCHED("image of the sidecar", "fault no-sidecar app-21/web- ErrImagePull;delete pod app-21/*", "", "app-21/web-",
            DETACHED, IMAGE_PULL, "Deployment/web"),
    WATCHED("application crashes", "fault sick app-22/web- CrashLoopBackOff", "", "app-22/web-", SYNCING, CRASH_LOOP,
            "Deployment/web"),
    WATCHED("a ConfigMap of the sidecar is missing",
            "fault no-sidecar app-23/web- CreateContainerConfigError;delete pod app-23/*", "", "app-23/web-", DETACHED,
            CONFIG_MISSING, "Deployment/web"),
    WATCHED("no node has room", "fault sick app-26/web- Unschedulable;delete pod app-26/*", "", "app-26/web-", SYNCING,
            UNSCHEDULABLE, "Deployment/web"),
    WATCHED("application not ready", "fault sick app-27/web- NotReady", "", "app-27/web-", SYNCING, NOT_READY,
            "Deployment/web"),
    /* ---- intent ---- */
    WATCHED("pods older than the label", "create namespace late;create deployment late/shop", "label late istio.io/rev=old",
            "late/shop-", UNINJECTED, NO_SIDECAR, "Deployment/shop"),
    WATCHED("label of a revision that is not there",
            "label app-28 istio.io/rev=nosuch;unlabel app-28 istio-injection;delete pod app-28/*", "", "app-28/web-",
            UNINJECTED, NOT_INSTALLED, "Deployment/web"),
    WATCHED("label of a tag without a target", "label app-29 istio.io/rev=prod;delete pod app-29/*", "", "app-29/web-",
            UNINJECTED, NOT_INSTALLED, "Deployment/web"),
    WATCHED("two injectors", "create injector extra canary app-31", "", "app-31/web-", CONFLICT, TWO_INJECTORS,
            "Deployment/web"),
    WATCHED("an injector on a condition of its own", "create injector odd canary app-34 odd", "", "app-34/web-", UNKNOWN,
            EXPECTED_UNKNOWN, "Deployment/web"),
    WATCHED("on the host's network", "create deployment app-33/host hostnetwork", "", "app-33/host-", UNINJECTED,
            HOST_NETWORK, "Deployment/host"),
    WATCHED("opted out", "create deployment app-33/out label=sidecar.istio.io/inject=false", "", "app-33/out-", UNINJECTED,
            OPTED_OUT, "Deployment/out"),
    WATCHED("own label without effect", "create deployment app-37/own label=istio.io/rev=canary", "", "app-37/own-",
            SETTLED, POD_LABEL_IGNORED, "Deployment/own"),
    WATCHED("own proxy image", "create deployment app-37/image annotation=sidecar.istio.io/proxyImage=registry.local/own:1",
            "", "app-37/image-", SETTLED, CUSTOM_IMAGE, "Deployment/image"),
    WATCHED("labels taken away", "unlabel app-38 istio-injection", "", "app-38/web-", SETTLED, NO_LONGER_INJECTED,
            "Deployment/web"),
    WATCHED("well: its own label names a tag",
            "create namespace free;create deployment free/tagged label=istio.io/rev=default", "", "free/tagged-", SETTLED,
            NONE, "Deployment/tagged"),
    WATCHED("well: injected although the namespace has no label",
            "create deployment free/asks label=sidecar.istio.io/inject=true", "", "free/asks-", SETTLED, NONE,
            "Deployment/asks"),
    WATCHED("counts for nothing: a Job that has ended", "create job app-33/done", "finish app-33/done-x7k2p",
            "app-33/done-", UNKNOWN, NONE, "Job/done"),
    /* ---- owners: all of a namespace that asks for another revision than before ---- */
    WATCHED("not restarted", "", LABEL_CANARY("app-36"), "app-36/web-", RESTART_PENDING, RESTART_NEEDED, "Deployment/web"),
    WATCHED("a gateway that was moved by accident",
            "create namespace edge label=istio.io/rev=canary;create deployment edge/ingress", "label edge istio.io/rev=old",
            "edge/ingress-", RESTART_PENDING, RESTART_NEEDED, "Deployment/ingress"),
    WATCHED("a bare pod", "create bare app-36/loner", "", "app-36/loner", RESTART_PENDING, BARE_POD, "Pod/loner"),
    WATCHED("a Job's pod", "create job app-36/import", "", "app-36/import-", RESTART_PENDING, JOB, "Job/import"),
    WATCHED("a CronJob's pod", "create job app-36/nightly-1 cronjob=nightly", "", "app-36/nightly-", RESTART_PENDING, JOB,
            "CronJob/nightly"),
    WATCHED("a ReplicaSet alone", "create replicaset app-36/set", "", "app-36/set-", RESTART_PENDING, REPLICASET,
            "ReplicaSet/set"),
    WATCHED("an Argo Rollout", "create rollout app-36/blue", "", "app-36/blue-", RESTART_PENDING, ROLLOUT, "Rollout/blue"),
    WATCHED("a foreign kind", "create cloneset app-36/clones", "", "app-36/clones-", RESTART_PENDING, OTHER_OWNER,
            "CloneSet/clones"),
    WATCHED("a paused Deployment", "create deployment app-36/halted paused", "", "app-36/halted-", RESTART_PENDING,
            WORKLOAD_PAUSED, "Deployment/halted"),
    WATCHED("a DaemonSet OnDelete", "create daemonset app-36/sticky ondelete", "", "app-36/sticky-", RESTART_PENDING,
            ON_DELETE, "DaemonSet/sticky"),
    WATCHED("a StatefulSet OnDelete", "create statefulset app-36/queue ondelete", "", "app-36/queue-", RESTART_PENDING,
            ON_DELETE, "StatefulSet/queue"),
    /* ---- new pods are not taken ---- */
    WATCHED("quota used up",
            "refuse app-39 pods \"web-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=4, limited: "
            "pods=4",
            LABEL_CANARY("app-39") "restart app-39/web", "app-39/web-", RESTART_PENDING, QUOTA_EXCEEDED, "Deployment/web"),
    WATCHED("refused by a policy",
            "refuse app-41 admission webhook \"validate.kyverno.svc-fail\" denied the request: no init containers here",
            LABEL_CANARY("app-41") "restart app-41/web", "app-41/web-", RESTART_PENDING, ADMISSION_DENIED,
            "Deployment/web"),
    /* ---- what agents do not see ---- */
    {SCENE_NODES, "no agent on the node", "node node-02 dark", "", "", "@node-02", STATE_UNKNOWN, REASON_NODE_NO_AGENT,
     NULL},
    {SCENE_NODES, "agent without hostPID", "node node-04 blind", "", "", "@node-04", STATE_UNKNOWN, REASON_NODE_NO_WITNESS,
     NULL},
    {SCENE_NODES, "agent has gone silent", "", "node node-06 dark", "", "@node-06", STATE_UNKNOWN, REASON_NODE_STALE, NULL},
    /* ---- control planes ---- */
    {SCENE_DOWN, "no istiod is left", "", TO_CANARY("app-01"), "istiod canary/0 kill", "app-01/web-", STATE_DETACHED,
     REASON_CONTROL_PLANE_DOWN, "Deployment/web"},
    {SCENE_DOWN, "injector without an istiod", "", "", LABEL_CANARY("app-03") "restart app-03/web", "app-03/web-",
     STATE_RESTART_PENDING, REASON_INJECTOR_AWAY, "Deployment/web"},
    {SCENE_FROZEN, "istiod stands still", "", TO_CANARY("app-01"), "istiod canary/0 freeze", "app-01/web-", STATE_UNKNOWN,
     REASON_REPLICA_SILENT, "Deployment/web"},
    {SCENE_UNINSTALLED, "injected by a revision that is gone", "", TO_CANARY("app-01"),
     "uninstall canary;label app-01 istio.io/rev=old", "app-01/web-", STATE_RESTART_PENDING, REASON_REVISION_GONE,
     "Deployment/web"},
    {SCENE_UNINSTALLED, "still labelled with a revision that is gone", "", TO_CANARY("app-03"), "", "app-03/web-",
     STATE_UNINJECTED, REASON_NOT_INSTALLED, "Deployment/web"},
    /* ---- when nothing else happens ---- */
    {SCENE_QUIET, "stream dead, istiod has not noticed", "", "", "fault half app-01/web-", "app-01/web-", STATE_CONFLICT,
     REASON_NODE_LOST_XDS, "Deployment/web"},
    {SCENE_QUIET, "new pods that no node takes", "", "fault sick app-03/web- Unschedulable",
     LABEL_CANARY("app-03") "restart app-03/web", "app-03/web-~", STATE_SYNCING, REASON_UNSCHEDULABLE, "Deployment/web"},
    {SCENE_QUIET, "a rollout beyond its deadline", "", "", "", "app-03/web-", STATE_RESTART_PENDING, REASON_ROLLOUT_OVERDUE,
     "Deployment/web"},
    {SCENE_LOCKED, "locked by its istiod", "", "", "lock app-01/web-", "app-01/web-", STATE_STALE,
     REASON_PROXY_PUSH_BLOCKED, "Deployment/web"},
    /* ---- names ---- */
    {SCENE_SHADOWED, "a tag with the name of a revision", "", TO_CANARY("app-01"), "create tag canary old", "app-01/web-",
     STATE_CONFLICT, REASON_TWO_INJECTORS, "Deployment/web"},
    {SCENE_IN_PLACE, "well: a revision that was left alone", "", TO_CANARY("app-01"), "version old 1.29.7", "app-01/web-",
     STATE_SETTLED, REASON_NONE, "Deployment/web"},
    {SCENE_IN_PLACE, "upgraded in place, not restarted", "", "", "", "", STATE_SETTLED, REASON_OLD_BUILD, NULL},
    /* ---- on the way to another revision ---- */
    {SCENE_UPGRADE, "label istio-injection set back", "", "", "label app-00 istio-injection=enabled", "app-00/",
     STATE_CONFLICT, REASON_LEFTOVER_LABEL, NULL},
    {SCENE_UPGRADE, "label istio.io/rev set back", "", "", "label app-02 istio.io/rev=old", "app-02/", STATE_CONFLICT,
     REASON_NS_RELABEL_LOST, "Deployment/web"},
    {SCENE_UPGRADE, "a bare pod in a moved namespace", "create bare app-04/loner", "", "", "app-04/loner",
     STATE_RESTART_PENDING, REASON_BARE_POD, "Pod/loner"},
    {SCENE_UPGRADE, "a paused Deployment in a moved namespace", "create deployment app-04/halted paused", "", "",
     "app-04/halted-", STATE_RESTART_PENDING, REASON_WORKLOAD_PAUSED, "Deployment/halted"},
    {SCENE_UPGRADE, "rejects the new revision's configuration", "", "", "nack app-06", "app-06/", STATE_NACKING,
     REASON_NACK, "Deployment/web"},
    {SCENE_UPGRADE, "Envoy stands still behind its agent", "", "", "fault stuck app-12/web-", "app-12/", STATE_CONFLICT,
     REASON_VERSION_DISAGREES, "Deployment/web"},
    {SCENE_UPGRADE, "cut off after the move", "", "", "fault cut app-07/web-", "app-07/", STATE_DETACHED, REASON_NO_STREAM,
     "Deployment/web"},
};

#undef WATCHED
#undef TO_CANARY
#undef LABEL_CANARY
