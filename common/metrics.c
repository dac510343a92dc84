// SPDX-License-Identifier: MIT
/*
 * The registry: families by name, each with its metrics by label text. Making and showing take the
 * lock; changing a metric is one relaxed atomic addition (a histogram's: two), so that it may stand
 * on any hot path. Nothing is ever freed: a pointer, once given out, stays good.
 *
 * A histogram counts each observation in one bucket only; the sums that Prometheus wants are made
 * when it is shown, so that its count and its +Inf bucket always agree.
 */
#include "common/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MAX 21

enum kind { COUNTER, GAUGE, GAUGE_FN, HISTOGRAM_US, HISTOGRAM_COUNT };

struct metric {
    struct metric *next; /* in its family, oldest first */
    struct family *family;
    char *labels;          /* "" when there are none */
    _Atomic int64_t value; /* a histogram's: the sum of what was observed */
    double (*read)(void *arg);
    void *arg;
    _Atomic uint64_t
        buckets[BUCKETS_MAX + 1]; /* each on its own; the last one is above all bounds */
};

struct family {
    struct family *next; /* oldest first, so that a page keeps its order */
    enum kind kind;
    char *name, *help;
    struct metric *metrics;
};

static const int64_t bounds_us[] = {100,    178,    316,     562,     1000,    1780,    3160,
                                    5620,   10000,  17800,   31600,   56200,   100000,  178000,
                                    316000, 562000, 1000000, 1780000, 3160000, 5620000, 10000000};
static const int64_t bounds_count[] = {1,   2,    4,    8,    16,   32,    64,    128,  256,
                                       512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families; /* under the lock */

_Static_assert(sizeof(bounds_us) / sizeof(bounds_us[0]) == BUCKETS_MAX, "buckets");

static const int64_t *bounds_of(const struct metric *m, size_t *n_out)
{
    if (m->family->kind == HISTOGRAM_US) {
        *n_out = sizeof(bounds_us) / sizeof(bounds_us[0]);
        return bounds_us;
    }
    *n_out = sizeof(bounds_count) / sizeof(bounds_count[0]);
    return bounds_count;
}

static bool is_histogram(const struct metric *m)
{
    return m->family->kind == HISTOGRAM_US || m->family->kind == HISTOGRAM_COUNT;
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL) {
        abort();
    }
    return p;
}

static char *duplicate(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(allocate(size), s, size);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, as the format demands. */
static bool name_is_valid(const char *name)
{
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";
    return *name != '\0' && strspn(name, all) == strlen(name) && (*name < '0' || *name > '9');
}

static struct family *family_find(const char *name, const char *help, enum kind kind)
{
    struct family **at = &families;
    for (; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            assert((*at)->kind == kind); /* one name, one kind */
            return *at;
        }
    }
    assert(name_is_valid(name));
    struct family *family = allocate(sizeof(*family));
    family->kind = kind;
    family->name = duplicate(name);
    family->help = duplicate(help);
    *at = family;
    return family;
}

static struct metric *metric_find(struct family *family, const char *labels)
{
    struct metric **at = &family->metrics;
    for (; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->labels, labels) == 0) {
            return *at;
        }
    }
    struct metric *m = allocate(sizeof(*m));
    m->family = family;
    m->labels = duplicate(labels);
    *at = m;
    return m;
}

static struct metric *get(const char *name, const char *help, const char *labels, enum kind kind)
{
    pthread_mutex_lock(&lock);
    struct metric *m = metric_find(family_find(name, help, kind), labels == NULL ? "" : labels);
    pthread_mutex_unlock(&lock);
    return m;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels)
{
    return get(name, help, labels, COUNTER);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels)
{
    return get(name, help, labels, GAUGE);
}

struct metric *metrics_histogram_us(const char *name, const char *help, const char *labels)
{
    return get(name, help, labels, HISTOGRAM_US);
}

struct metric *metrics_histogram_count(const char *name, const char *help, const char *labels)
{
    return get(name, help, labels, HISTOGRAM_COUNT);
}

/* Made again (a module restarted in a test, say), the newest reader is asked. */
void metrics_gauge_fn(const char *name, const char *help, const char *labels,
                      double (*read)(void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    struct metric *m = metric_find(family_find(name, help, GAUGE_FN), labels == NULL ? "" : labels);
    m->read = read;
    m->arg = arg;
    pthread_mutex_unlock(&lock);
}

void metric_add(struct metric *m, int64_t n)
{
    assert(m->family->kind == GAUGE || (m->family->kind == COUNTER && n >= 0));
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}

void metric_set(struct metric *m, int64_t value)
{
    assert(m->family->kind == GAUGE);
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void metric_observe(struct metric *m, int64_t value)
{
    assert(is_histogram(m));
    size_t n;
    const int64_t *bounds = bounds_of(m, &n);
    size_t low = 0;
    while (low < n) { /* the first bound that is not below the value */
        size_t middle = (low + n) / 2;
        if (bounds[middle] < value) {
            low = middle + 1;
        } else {
            n = middle;
        }
    }
    atomic_fetch_add_explicit(&m->buckets[low], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->value, value, memory_order_relaxed);
}

/* A copy of the buckets, and their sum. */
static uint64_t read_buckets(const struct metric *m, uint64_t out[BUCKETS_MAX + 1])
{
    uint64_t total = 0;
    for (size_t i = 0; i <= BUCKETS_MAX; i++) {
        out[i] = atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        total += out[i];
    }
    return total;
}

int64_t metric_value(const struct metric *m)
{
    uint64_t buckets[BUCKETS_MAX + 1];
    return is_histogram(m) ? (int64_t)read_buckets(m, buckets)
                           : atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* Linear inside a bucket, as Prometheus' histogram_quantile; above the last bound: that bound. */
int64_t metric_quantile(const struct metric *m, double share)
{
    assert(is_histogram(m) && share >= 0 && share <= 1);
    uint64_t buckets[BUCKETS_MAX + 1];
    uint64_t total = read_buckets(m, buckets);
    if (total == 0) {
        return 0;
    }
    size_t n;
    const int64_t *bounds = bounds_of(m, &n);
    double rank = share * (double)total;
    double below = 0;
    for (size_t i = 0; i < n; i++) {
        double count = (double)buckets[i];
        if (count > 0 && below + count >= rank) {
            double low = i == 0 ? 0 : (double)bounds[i - 1];
            double part = (rank - below) / count;
            return (int64_t)(low + ((double)bounds[i] - low) * part);
        }
        below += count;
    }
    return bounds[n - 1];
}

static void show_escaped(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\\') {
            buf_add_str(out, "\\\\");
        } else if (*s == '\n') {
            buf_add_str(out, "\\n");
        } else {
            buf_add_char(out, *s);
        }
    }
}

/* name_suffix{labels,extra} and a blank */
static void show_name(struct buf *out, const struct metric *m, const char *suffix,
                      const char *extra)
{
    buf_add_str(out, m->family->name);
    buf_add_str(out, suffix);
    bool both = m->labels[0] != '\0' && extra[0] != '\0';
    if (m->labels[0] != '\0' || extra[0] != '\0') {
        buf_printf(out, "{%s%s%s}", m->labels, both ? "," : "", extra);
    }
    buf_add_char(out, ' ');
}

/* Microseconds as seconds, exactly: 1500000 is 1.5. */
static void format_us(char *out, size_t size, int64_t us)
{
    uint64_t abs = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    int len = snprintf(out, size, "%s%" PRIu64 ".%06" PRIu64, us < 0 ? "-" : "", abs / 1000000,
                       abs % 1000000);
    while (out[len - 1] == '0') {
        out[--len] = '\0';
    }
    if (out[len - 1] == '.') {
        out[--len] = '\0';
    }
}

static void format_unit(const struct metric *m, char *out, size_t size, int64_t value)
{
    if (m->family->kind == HISTOGRAM_US) {
        format_us(out, size, value);
    } else {
        snprintf(out, size, "%" PRId64, value);
    }
}

static void show_histogram(struct buf *out, const struct metric *m)
{
    uint64_t buckets[BUCKETS_MAX + 1];
    uint64_t total = read_buckets(m, buckets);
    size_t n;
    const int64_t *bounds = bounds_of(m, &n);
    uint64_t sum = 0;
    char number[40], extra[64];
    for (size_t i = 0; i < n; i++) {
        sum += buckets[i];
        format_unit(m, number, sizeof(number), bounds[i]);
        snprintf(extra, sizeof(extra), "le=\"%s\"", number);
        show_name(out, m, "_bucket", extra);
        buf_printf(out, "%" PRIu64 "\n", sum);
    }
    show_name(out, m, "_bucket", "le=\"+Inf\"");
    buf_printf(out, "%" PRIu64 "\n", total);
    format_unit(m, number, sizeof(number), atomic_load_explicit(&m->value, memory_order_relaxed));
    show_name(out, m, "_sum", "");
    buf_printf(out, "%s\n", number);
    show_name(out, m, "_count", "");
    buf_printf(out, "%" PRIu64 "\n", total);
}

static void show_double(struct buf *out, double value)
{
    if (isnan(value)) {
        buf_add_str(out, "NaN");
    } else if (isinf(value)) {
        buf_add_str(out, value > 0 ? "+Inf" : "-Inf");
    } else {
        buf_printf(out, "%.15g", value);
    }
}

static void show_metric(struct buf *out, const struct metric *m)
{
    if (is_histogram(m)) {
        show_histogram(out, m);
        return;
    }
    show_name(out, m, "", "");
    if (m->family->kind == GAUGE_FN) {
        show_double(out, m->read(m->arg));
    } else {
        buf_add_i64(out, metric_value(m));
    }
    buf_add_char(out, '\n');
}

void metrics_show(struct buf *out)
{
    static const char *const types[] = {
        [COUNTER] = "counter",
        [GAUGE] = "gauge",
        [GAUGE_FN] = "gauge",
        [HISTOGRAM_US] = "histogram",
        [HISTOGRAM_COUNT] = "histogram",
    };
    pthread_mutex_lock(&lock);
    for (const struct family *family = families; family != NULL; family = family->next) {
        buf_printf(out, "# HELP %s ", family->name);
        show_escaped(out, family->help);
        buf_printf(out, "\n# TYPE %s %s\n", family->name, types[family->kind]);
        for (const struct metric *m = family->metrics; m != NULL; m = m->next) {
            show_metric(out, m);
        }
    }
    pthread_mutex_unlock(&lock);
}
