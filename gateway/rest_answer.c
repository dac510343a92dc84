// SPDX-License-Identifier: MIT
/*
 * How a request is answered: problems (RFC 9457) with their headers, replies with Location and
 * entity tags (RFC 9110 section 8.8.3), counts.
 */
#include "gateway/rest_impl.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "gateway/fields.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static struct metric *counts[64][6]; /* by row (the last: no row) and status / 100 */

void rest_metrics(void)
{
    assert(routes_count() < 63);
    for (size_t i = 0; i <= routes_count(); i++) {
        const struct route *r = routes_row(i);
        for (int class = 1; class <= 5 && (r->path != NULL || i == routes_count()); class ++) {
            char labels[128];
            snprintf(labels, sizeof(labels), "route=\"%s %s\",status=\"%dxx\"",
                     r->path != NULL ? r->method : "-", r->path != NULL ? r->path : "-", class);
            counts[i][class] = metrics_counter("chat_gateway_requests_total",
                                               "HTTP requests by route and status class.", labels);
        }
    }
}

void rest_count(struct rest *r, int status)
{
    size_t row = r->match.route != NULL ? r->match.index : routes_count();
    metric_inc(counts[row][status / 100 % 6]);
    int64_t us = clock_mono_us() - r->began_us;
    metric_observe(r->loop->gw->metrics.request_us, us);
    if (log_get_level() <= LOG_DEBUG) {
        struct log_context context = {.method = r->match.route != NULL ? r->match.route->path : "",
                                      .traceparent = r->traceparent,
                                      .request_id = r->request_id,
                                      .user_id = r->claims.user_id};
        log_set_context(&context);
        log_debug("request", "verb=%s path=%s status=%d us=%lld",
                  log_quote_n(r->http->method, r->http->method_len),
                  log_quote_n(r->http->path, r->http->path_len), status, (long long)us);
        log_set_context(NULL);
    }
}

void rest_answer_finish(struct rest *r, int status, const char *type, const char *text, size_t len)
{
    rest_count(r, status);
    http_add_header(r->http, "x-request-id", r->request_id);
    if (status != 304 && type != NULL) {
        http_add_header(r->http, "x-content-type-options", "nosniff");
    }
    http_respond(r->http, status, type, text, len);
}

void rest_answer_fail(struct rest *r, struct rest_failure *f)
{
    f->problem.request_id = r->request_id;
    int status = f->problem.status != 0 ? f->problem.status : err_http_status(f->problem.err);
    if (status == 401) {
        http_add_header(r->http, "www-authenticate", "Bearer");
    }
    if (status == 429 || status == 503 || status == 504) {
        char seconds[24];
        snprintf(seconds, sizeof(seconds), "%lld",
                 (long long)(f->retry_after_s > 0 ? f->retry_after_s : 1));
        http_add_header(r->http, "retry-after", seconds);
    }
    http_add_header(r->http, "cache-control", "no-store");
    buf_clear(&r->text);
    problem_print(&r->text, &f->problem);
    rest_answer_finish(r, status, PROBLEM_TYPE, r->text.data, r->text.len);
}

void rest_fail_status(struct rest *r, int status, int err, const char *detail)
{
    struct rest_failure f = {.problem = {.err = err, .status = status, .detail = detail}};
    rest_answer_fail(r, &f);
}

void rest_fail(struct rest *r, int err, const char *detail)
{
    rest_fail_status(r, 0, err, detail);
}

void rest_answer_fail_reply(struct rest *r, const struct rpc_reply *reply)
{
    struct rest_failure f = {.problem = {.err = reply->err,
                                         .detail = reply->detail,
                                         .errors = reply->errors,
                                         .error_count = reply->error_count},
                             .retry_after_s = reply->retry_after_s};
    rest_answer_fail(r, &f);
}

void rest_answer_fail_input(struct rest *r, int err, const struct pbjson_problem *p)
{
    struct rest_failure f = {.problem = {.err = err,
                                         .detail = p->detail,
                                         .errors = p->errors,
                                         .error_count = err == ERR_INVALID ? p->count : 0}};
    rest_answer_fail(r, &f);
}

void rest_reply_json(struct rest *r, const char *text, size_t len)
{
    http_add_header(r->http, "cache-control", "no-store");
    rest_answer_finish(r, r->match.route->status, REST_JSON, text, len);
}

/* FNV-1a: the same on every gateway, unlike the keyed hashes of map.h. */
static uint32_t hash_text(const struct buf *text)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < text->len; i++) {
        h = (h ^ (unsigned char)text->data[i]) * 16777619u;
    }
    return h;
}

static bool tag_matches(const struct http_request *http, const char *tag)
{
    size_t len = 0;
    const char *value = http_list_header(http, "if-none-match", &len);
    if (value == NULL) {
        return false;
    }
    return (len == 1 && *value == '*') || memmem(value, len, tag, strlen(tag)) != NULL;
}

/* True: the client has it already, 304 was sent. */
static bool answer_tag(struct rest *r)
{
    const struct route *route = r->match.route;
    uint64_t version;
    if (route->version == NULL ||
        !fields_get_u64(r->reply, route->version, strlen(route->version), &version)) {
        return false;
    }
    char tag[48];
    snprintf(tag, sizeof(tag), "\"%llu-%08x\"", (unsigned long long)version, hash_text(&r->text));
    http_add_header(r->http, "etag", tag);
    if (strcmp(route->method, "GET") == 0 && tag_matches(r->http, tag)) {
        rest_answer_finish(r, 304, NULL, "", 0);
        return true;
    }
    return false;
}

static void print_body(struct rest *r)
{
    const char *only = r->match.route->only;
    const void *part = only != NULL ? fields_get_message(r->reply, only) : NULL;
    buf_clear(&r->text);
    if (part != NULL) {
        buf_printf(&r->text, "{\"%s\":", only);
        pbjson_print(part, &r->text);
        buf_add_char(&r->text, '}');
    } else {
        pbjson_print(r->reply, &r->text);
    }
}

static void add_location(struct rest *r)
{
    const struct http_request *http = r->http;
    const char *location = fields_expand(r->match.route->location, r->reply, r->arena);
    if (location != NULL && *location != '/') {
        location = arena_printf(r->arena, "%.*s/%s", (int)http->path_len, http->path, location);
    }
    if (location != NULL) {
        http_add_header(r->http, "location", location);
    }
}

void rest_answer_reply(struct rest *r)
{
    const struct route *route = r->match.route;
    if (r->status == 204) {
        rest_answer_finish(r, 204, NULL, "", 0);
        return;
    }
    print_body(r);
    if (route->location != NULL && r->status == 201) {
        add_location(r);
    }
    if (answer_tag(r)) {
        return;
    }
    http_add_header(r->http, "cache-control", route->version != NULL ? "no-cache" : "no-store");
    rest_answer_finish(r, r->status, REST_JSON, r->text.data, r->text.len);
}

void rest_answer_file(struct rest *r, const struct web_file *file)
{
    http_add_header(r->http, "etag", file->tag);
    http_add_header(r->http, "cache-control", "no-cache");
    if (tag_matches(r->http, file->tag)) {
        rest_answer_finish(r, 304, NULL, "", 0);
        return;
    }
    const char *type = web_type(file->name), *policy = web_policy(file->name);
    if (policy != NULL) {
        http_add_header(r->http, "content-security-policy", policy);
    }
    rest_answer_finish(r, 200, type, (const char *)file->data, file->len);
}
