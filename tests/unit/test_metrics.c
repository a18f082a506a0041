#include <math.h>
#include <stdio.h>

#include "cmocka_all.h"
#include "lib/base/metrics.h"

static void writes_the_text_format(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    struct buf labels, out;
    buf_init(&labels, 200);
    buf_init(&out, 4096);
    metrics_label(&labels, "type", "CDS");
    metrics_label(&labels, "text", "a\"b\\c\nd");
    metric_add(metric_get(m, METRIC_COUNTER, "meshgate_reports_total", "Reports\nreceived.", labels.p), 2);
    metric_add(metric_get(m, METRIC_COUNTER, "meshgate_reports_total", "other help", NULL), 1);
    metric_set(metric_get(m, METRIC_GAUGE, "meshgate_age_seconds", "Age.", NULL), 0.5);
    metric_set(metric_get(m, METRIC_GAUGE, "meshgate_inf", "Inf.", NULL), (double)INFINITY);
    metrics_write(m, &out);
    assert_string_equal(out.p, "# HELP meshgate_age_seconds Age.\n# TYPE meshgate_age_seconds gauge\n"
                               "meshgate_age_seconds 0.5\n"
                               "# HELP meshgate_inf Inf.\n# TYPE meshgate_inf gauge\nmeshgate_inf +Inf\n"
                               "# HELP meshgate_reports_total Reports\\nreceived.\n# TYPE meshgate_reports_total counter\n"
                               "meshgate_reports_total 1\n"
                               "meshgate_reports_total{type=\"CDS\",text=\"a\\\"b\\\\c\\nd\"} 2\n");
    buf_done(&labels);
    buf_done(&out);
    metrics_free(m);
}

static void series_are_made_once(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    struct metric *first[40];
    char label[32];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(label, sizeof(label), "n=\"%d\"", (i * 7) % 40);
        first[i] = metric_get(m, METRIC_GAUGE, "meshgate_x", "X.", label);
        metric_set(first[i], i);
    }
    for (int i = 0; i < 40; i++) {
        (void)snprintf(label, sizeof(label), "n=\"%d\"", (i * 7) % 40);
        assert_ptr_equal(metric_get(m, METRIC_GAUGE, "meshgate_x", "X.", label), first[i]);
        assert_true(metric_value(first[i]) == i);
    }
    metric_clear(m, "meshgate_x");
    metric_clear(m, "meshgate_unknown");
    struct buf out;
    buf_init(&out, 4096);
    metrics_write(m, &out);
    assert_int_equal(out.len, 0);
    assert_true(metric_value(metric_get(m, METRIC_GAUGE, "meshgate_x", "X.", "n=\"1\"")) == 0);
    buf_done(&out);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_the_text_format), cmocka_unit_test(series_are_made_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
