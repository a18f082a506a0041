/* Flags and help of the command line. */
#include "args.h"

const struct option_def args_defs[] = {
    {.type = OPTION_SECTION, .help = "Flags"},
    {.type = OPTION_STRING,
     .name = "output",
     .letter = 'o',
     .offset = offsetof(struct args, output_text),
     .def = "table",
     .arg = "FORMAT",
     .help = "table, wide or json; of status also yaml"},
    {.type = OPTION_STRING,
     .name = "kubeconfig",
     .offset = offsetof(struct args, kubeconfig),
     .arg = "FILE",
     .help = "handed to kubectl"},
    {.type = OPTION_STRING,
     .name = "context",
     .offset = offsetof(struct args, context),
     .arg = "NAME",
     .help = "handed to kubectl"},
    {.type = OPTION_STRING,
     .name = "kubectl",
     .env = "MESHGATE_KUBECTL",
     .offset = offsetof(struct args, kubectl),
     .def = "kubectl",
     .arg = "PATH",
     .help = "the kubectl that talks to the cluster"},
    {.type = OPTION_DURATION,
     .name = "request-timeout",
     .offset = offsetof(struct args, request_timeout_ms),
     .def = "30s",
     .min = 100,
     .max = 3600000,
     .help = "longest time for one call of kubectl"},
    {.type = OPTION_STRING,
     .name = "gate-namespace",
     .offset = offsetof(struct args, gate_namespace),
     .def = "istio-system",
     .arg = "NS",
     .help = "where the Service meshgate is"},
    {.type = OPTION_SECTION, .help = "Flags of proxies (several values by comma)"},
    {.type = OPTION_BOOL,
     .name = "stuck",
     .offset = offsetof(struct args, filter.stuck),
     .help = "only proxies with something wrong, and what to do about them"},
    {.type = OPTION_STRING,
     .name = "state",
     .offset = offsetof(struct args, filter.state),
     .arg = "STATE",
     .help = "only proxies in this state"},
    {.type = OPTION_STRING,
     .name = "reason",
     .offset = offsetof(struct args, filter.reason),
     .arg = "REASON",
     .help = "only proxies with this reason"},
    {.type = OPTION_STRING,
     .name = "namespace",
     .letter = 'n',
     .offset = offsetof(struct args, filter.namespace_),
     .arg = "NS",
     .help = "only proxies in this namespace; of explain: where the pod is"},
    {.type = OPTION_STRING,
     .name = "owner",
     .offset = offsetof(struct args, filter.owner),
     .arg = "OWNER",
     .help = "only proxies of this workload: KIND/NAME or NAME"},
    {.type = OPTION_STRING,
     .name = "node",
     .offset = offsetof(struct args, filter.node),
     .arg = "NODE",
     .help = "only proxies on this node"},
    {.type = OPTION_STRING,
     .name = "revision",
     .offset = offsetof(struct args, filter.revision),
     .arg = "REV",
     .help = "only proxies attached to this revision; none: to nobody"},
    {.type = OPTION_STRING,
     .name = "type",
     .offset = offsetof(struct args, filter.type),
     .arg = "TYPE",
     .help = "sidecar, gateway, waypoint or ztunnel"},
    {.type = OPTION_STRING,
     .name = "upgrade",
     .offset = offsetof(struct args, upgrade_flag),
     .arg = "UPGRADE",
     .help = "name of the MeshUpgrade; of proxies: only those that it concerns"},
    {.type = OPTION_SECTION, .help = "Flags of watch"},
    {.type = OPTION_DURATION,
     .name = "timeout",
     .offset = offsetof(struct args, timeout_ms),
     .min = 0,
     .max = 30LL * 86400000,
     .help = "leave after this time (default: none)"},
    {.type = OPTION_DURATION,
     .name = "interval",
     .offset = offsetof(struct args, interval_ms),
     .def = "2s",
     .min = 100,
     .max = 3600000,
     .help = "time between two looks"},
    {.type = OPTION_BOOL,
     .name = "until-held",
     .offset = offsetof(struct args, until_held),
     .help = "leave as well when the upgrade is held"},
    {0},
};

const char args_usage[] = "kubectl meshgate COMMAND [flags]";
const char args_summary[] =
    "Looks at the mesh, and at upgrades of it, and steers them. UPGRADE may be left out when there\n"
    "is only one.\n"
    "\n"
    "Commands:\n"
    "  status [UPGRADE]        phase, waves and what holds the upgrade, with remedies\n"
    "  watch [UPGRADE]         follow the upgrade until it is done\n"
    "  proxies                 every proxy: where it should be, is, and what it waits for\n"
    "  explain NS/POD          one proxy: what each witness says, what decided, what to do\n"
    "  istiods                 revisions, istiod replicas, and who reads them\n"
    "  check                   is everything well that a verdict stands on?\n"
    "  coverage                of how many proxies each witness is heard\n"
    "  pause [UPGRADE]         write nothing more until resume\n"
    "  resume [UPGRADE]        go on after a pause or after a bad signal was mended\n"
    "  approve [UPGRADE] WAVE  let a wave that waits for approval begin\n"
    "  version                 version of this program\n"
    "  help                    this text\n"
    "\n"
    "Exit codes, for scripts:\n"
    "  0  done; of status and watch: the upgrade is complete; of check: nothing failed\n"
    "  1  error: the cluster could not be asked, or it refused\n"
    "  2  wrong usage\n"
    "  3  of status and watch: held (paused, awaiting approval, or the gate is in doubt);\n"
    "     of check: something failed or is not known\n"
    "  4  of status and watch: in progress, moving or soaking";
