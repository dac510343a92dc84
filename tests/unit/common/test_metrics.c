// SPDX-License-Identifier: MIT
/* Metrics: identity, the text format, buckets, quantiles, several threads. */
#include "tests/unit/test.h"

#include "common/metrics.h"

#include <math.h>
#include <pthread.h>

/* The page from the first line that starts with `from`; the caller frees. */
static char *page_from(const char *from)
{
    struct buf out;
    buf_init(&out);
    metrics_show(&out);
    const char *at = out.data == NULL ? NULL : strstr(out.data, from);
    char *copy = strdup(at == NULL ? "" : at);
    buf_done(&out);
    return copy;
}

static void check_page(const char *from, const char *expected)
{
    char *page = page_from(from);
    if (strlen(page) > strlen(expected)) {
        page[strlen(expected)] = '\0';
    }
    CHECK_STR(page, expected);
    free(page);
}

TEST(counter_and_labels)
{
    struct metric *plain = metrics_counter("t_sent_total", "What was\nsent \\ told", NULL);
    struct metric *other = metrics_counter("t_sent_total", "", "lane=\"slow\"");
    CHECK(plain != other);
    CHECK(metrics_counter("t_sent_total", "", "") == plain);
    CHECK(metrics_counter("t_sent_total", "", "lane=\"slow\"") == other);
    metric_inc(plain);
    metric_add(plain, 41);
    metric_add(other, 0);
    CHECK_INT(metric_value(plain), 42);
    check_page("# HELP t_sent", "# HELP t_sent_total What was\\nsent \\\\ told\n"
                                "# TYPE t_sent_total counter\n"
                                "t_sent_total 42\n"
                                "t_sent_total{lane=\"slow\"} 0\n");
}

TEST(gauge)
{
    struct metric *m = metrics_gauge("t_open", "Open ones", "kind=\"a\",side=\"b\"");
    metric_set(m, 10);
    metric_add(m, -15);
    metric_inc(m);
    CHECK_INT(metric_value(m), -4);
    check_page("# HELP t_open", "# HELP t_open Open ones\n"
                                "# TYPE t_open gauge\n"
                                "t_open{kind=\"a\",side=\"b\"} -4\n");
}

static double read_double(void *arg)
{
    return *(double *)arg;
}

TEST(gauge_that_is_asked)
{
    static double value = 1.5;
    metrics_gauge_fn("t_asked", "Asked", NULL, read_double, &value);
    check_page("# HELP t_asked", "# HELP t_asked Asked\n# TYPE t_asked gauge\nt_asked 1.5\n");
    value = 12345678901;
    check_page("t_asked 1", "t_asked 12345678901\n");
    value = NAN;
    check_page("t_asked N", "t_asked NaN\n");
    value = -INFINITY;
    check_page("t_asked -", "t_asked -Inf\n");
    static double newer = 7;
    metrics_gauge_fn("t_asked", "Asked", NULL, read_double, &newer);
    check_page("t_asked 7", "t_asked 7\n");
}

TEST(histogram_of_counts)
{
    struct metric *m = metrics_histogram_count("t_batch", "Sizes", "x=\"y\"");
    static const int64_t values[] = {0, 1, 2, 3, 4, 65536, 65537, 1000000};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        metric_observe(m, values[i]);
    }
    CHECK_INT(metric_value(m), 8);
    check_page("# HELP t_batch", "# HELP t_batch Sizes\n"
                                 "# TYPE t_batch histogram\n"
                                 "t_batch_bucket{x=\"y\",le=\"1\"} 2\n"
                                 "t_batch_bucket{x=\"y\",le=\"2\"} 3\n"
                                 "t_batch_bucket{x=\"y\",le=\"4\"} 5\n"
                                 "t_batch_bucket{x=\"y\",le=\"8\"} 5\n");
    check_page("t_batch_bucket{x=\"y\",le=\"65536\"}", "t_batch_bucket{x=\"y\",le=\"65536\"} 6\n"
                                                       "t_batch_bucket{x=\"y\",le=\"+Inf\"} 8\n"
                                                       "t_batch_sum{x=\"y\"} 1131083\n"
                                                       "t_batch_count{x=\"y\"} 8\n");
}

TEST(histogram_of_time)
{
    struct metric *m = metrics_histogram_us("t_time_seconds", "Time", NULL);
    metric_observe(m, 100);
    metric_observe(m, 101);
    metric_observe(m, 1500000);
    metric_observe(m, 99000000);
    check_page("# HELP t_time", "# HELP t_time_seconds Time\n"
                                "# TYPE t_time_seconds histogram\n"
                                "t_time_seconds_bucket{le=\"0.0001\"} 1\n"
                                "t_time_seconds_bucket{le=\"0.000178\"} 2\n");
    check_page("t_time_seconds_bucket{le=\"1\"}", "t_time_seconds_bucket{le=\"1\"} 2\n"
                                                  "t_time_seconds_bucket{le=\"1.78\"} 3\n");
    check_page("t_time_seconds_bucket{le=\"10\"}", "t_time_seconds_bucket{le=\"10\"} 3\n"
                                                   "t_time_seconds_bucket{le=\"+Inf\"} 4\n"
                                                   "t_time_seconds_sum 100.500201\n"
                                                   "t_time_seconds_count 4\n");
}

TEST(quantiles)
{
    struct metric *m = metrics_histogram_us("t_quantile_seconds", "Q", NULL);
    CHECK_INT(metric_quantile(m, 0.5), 0);
    for (int64_t us = 1; us <= 10000; us++) {
        metric_observe(m, us);
    }
    for (int percent = 0; percent <= 100; percent += 5) {
        int64_t q = metric_quantile(m, percent / 100.0);
        CHECK(llabs(q - percent * 100) <= 60); /* even within the widest bucket */
    }
    CHECK_INT(metric_quantile(m, 1), 10000);
    for (int i = 0; i < 1000000; i++) {
        metric_observe(m, 60000000);
    }
    CHECK_INT(metric_quantile(m, 0.99), 10000000); /* above all bounds: the last bound */
}

TEST(quantile_of_one)
{
    struct metric *m = metrics_histogram_count("t_one", "One", NULL);
    metric_observe(m, 7);
    CHECK(metric_quantile(m, 0.5) > 4 && metric_quantile(m, 0.5) <= 8);
    CHECK_INT(metric_quantile(m, 1), 8);
}

static void *hammer(void *arg)
{
    struct metric **all = arg;
    for (int i = 0; i < 20000; i++) {
        metric_inc(all[0]);
        metric_add(all[1], i % 2 == 0 ? 1 : -1);
        metric_observe(all[2], i);
    }
    return NULL;
}

TEST(threads_lose_nothing)
{
    struct metric *all[] = {metrics_counter("t_threads_total", "T", NULL),
                            metrics_gauge("t_threads", "T", NULL),
                            metrics_histogram_count("t_threads_size", "T", NULL)};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, hammer, all);
    }
    for (int i = 0; i < 20; i++) {
        free(page_from("# HELP"));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(metric_value(all[0]), 80000);
    CHECK_INT(metric_value(all[1]), 0);
    CHECK_INT(metric_value(all[2]), 80000);
}

/* Each name has one HELP and one TYPE line, before its values; the page ends with a newline. */
TEST(page_is_well_formed)
{
    char *page = page_from("# HELP");
    size_t len = strlen(page);
    CHECK(len > 0 && page[len - 1] == '\n');
    CHECK(strstr(page, "\n\n") == NULL);
    int helps = 0, types = 0;
    for (const char *at = page; (at = strstr(at, "# HELP ")) != NULL; at++) {
        helps++;
    }
    for (const char *at = page; (at = strstr(at, "# TYPE ")) != NULL; at++) {
        types++;
    }
    CHECK_INT(helps, types);
    free(page);
}
