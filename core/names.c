#include "decide.h"

#include <string.h>

struct reason_text {
    const char *name, *sentence, *remedy;
    enum severity severity;
    enum whose whose;
};

static const struct reason_text REASONS[REASON_COUNT] = {
#define X(NAME, Name, severity, whose, sentence, remedy) [REASON_##NAME] = {#Name, sentence, remedy, severity, whose},
#include "reasons.def"
#undef X
};

static const struct {
    const char *name, *meaning;
} STATES[STATE_COUNT] = {
#define X(NAME, Name, final, meaning) [STATE_##NAME] = {#Name, meaning},
#include "states.def"
#undef X
};

static const char *const VERDICTS[] = {
    [VERDICT_UNKNOWN] = "Unknown", [VERDICT_WAIT] = "Wait", [VERDICT_FAIL] = "Fail", [VERDICT_PASS] = "Pass"};

static const char *const PHASES[] = {
    [PHASE_HOLD] = "Hold",     [PHASE_AWAITING_APPROVAL] = "AwaitingApproval",
    [PHASE_MOVING] = "Moving", [PHASE_SOAKING] = "Soaking",
    [PHASE_PAUSED] = "Paused", [PHASE_COMPLETED] = "Completed",
};

static const struct reason_text *text_of(enum reason r) {
    static const struct reason_text NOBODY = {"?", "?", "", SEV_UNKNOWN, WHOSE_NOBODY};
    return (unsigned)r < REASON_COUNT ? &REASONS[r] : &NOBODY;
}

const char *state_name(enum proxy_state s) {
    return (unsigned)s < STATE_COUNT ? STATES[s].name : "?";
}

const char *state_meaning(enum proxy_state s) {
    return (unsigned)s < STATE_COUNT ? STATES[s].meaning : "?";
}

const char *reason_name(enum reason r) {
    return text_of(r)->name;
}

const char *reason_sentence(enum reason r) {
    return text_of(r)->sentence;
}

const char *reason_remedy(enum reason r) {
    return text_of(r)->remedy;
}

enum severity reason_severity(enum reason r) {
    return text_of(r)->severity;
}

enum whose reason_whose(enum reason r) {
    return text_of(r)->whose;
}

const char *whose_name(enum whose w) {
    static const char *const names[] = {
        [WHOSE_NOBODY] = "nobody", [WHOSE_OPERATOR] = "operator",   [WHOSE_PLATFORM] = "platform",
        [WHOSE_NODE] = "node",     [WHOSE_NAMESPACE] = "namespace", [WHOSE_OWNER] = "owner"};
    return (unsigned)w < sizeof names / sizeof *names ? names[w] : "?";
}

const char *verdict_name(enum verdict v) {
    return (unsigned)v < sizeof VERDICTS / sizeof *VERDICTS ? VERDICTS[v] : "?";
}

const char *phase_name(enum phase p) {
    return (unsigned)p < sizeof PHASES / sizeof *PHASES ? PHASES[p] : "?";
}

enum reason reason_from_name(const char *name) {
    for (unsigned r = 0; name && r < REASON_COUNT; r++) {
        if (strcmp(REASONS[r].name, name) == 0) {
            return (enum reason)r;
        }
    }
    return REASON_NONE;
}
