// SPDX-License-Identifier: MIT
/*
 * GET and DELETE take the query, POST and PUT the body; the path wins over both. Fields numbered
 * from 100 stay between daemons: only the headers that stand for them reach them.
 */
#include "gateway/rest_input.h"

#include "common/random.h"
#include "gateway/fields.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PRIVATE_FIELD 100
#define KEY_MAX 64

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* NULL: a percent sign that introduces nothing. */
static char *decode(struct arena *arena, const char *s, size_t len, bool plus, size_t *len_out)
{
    char *out = arena_alloc(arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%') {
            int high = i + 2 < len ? hex_value(s[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(s[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return NULL;
            }
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = plus && s[i] == '+' ? ' ' : s[i];
        }
    }
    out[n] = '\0';
    *len_out = n;
    return out;
}

struct pair {
    char *name, *value;
    size_t name_len, value_len;
};

/* The next pair of a query; 1, 0 at the end, or ERR_BAD_QUERY. */
static int next_pair(const char **at, const char *end, struct arena *arena, struct pair *out)
{
    while (*at < end && **at == '&') {
        ++*at;
    }
    if (*at >= end) {
        return 0;
    }
    const char *stop = memchr(*at, '&', (size_t)(end - *at));
    stop = stop != NULL ? stop : end;
    const char *equals = memchr(*at, '=', (size_t)(stop - *at));
    const char *name_end = equals != NULL ? equals : stop;
    const char *value = equals != NULL ? equals + 1 : stop;
    out->name = decode(arena, *at, (size_t)(name_end - *at), true, &out->name_len);
    out->value = decode(arena, value, (size_t)(stop - value), true, &out->value_len);
    *at = stop;
    return out->name != NULL && out->value != NULL ? 1 : ERR_BAD_QUERY;
}

const char *rest_input_query(const struct http_request *request, const char *name,
                             struct arena *arena)
{
    const char *at = request->query, *end = at + request->query_len;
    struct pair p;
    while (next_pair(&at, end, arena, &p) == 1) {
        if (strcmp(p.name, name) == 0) {
            return p.value;
        }
    }
    return NULL;
}

static int fill_query(const struct http_request *request, const struct route *route, void *message,
                      struct arena *arena, struct pbjson_problem *problem)
{
    const char *at = request->query, *end = at + request->query_len;
    struct pair p;
    int more;
    while ((more = next_pair(&at, end, arena, &p)) == 1) {
        const ProtobufCFieldDescriptor *f = fields_find(message, p.name, p.name_len);
        bool own = route->own != NULL && strcmp(p.name, route->own) == 0;
        if (f == NULL || f->id >= PRIVATE_FIELD || own) {
            continue;
        }
        int err = pbjson_fill_text(message, p.name, p.value, p.value_len, arena, problem);
        if (err != 0) {
            return err;
        }
        uint64_t limit;
        if (strcmp(p.name, "limit") == 0 && fields_get_u64(message, "limit", 5, &limit)) {
            if ((int64_t)limit < 1) {
                problem->detail = "limit must be at least 1";
                return ERR_BAD_QUERY;
            }
        }
    }
    if (more < 0) {
        problem->detail = "the query is not percent-encoded correctly";
    }
    return more;
}

static void bound_limit(void *message)
{
    uint64_t limit;
    if (fields_get_u64(message, "limit", 5, &limit)) {
        limit = limit == 0 ? REST_LIMIT_DEFAULT : limit > REST_LIMIT_MAX ? REST_LIMIT_MAX : limit;
        fields_set_u64(message, "limit", limit);
    }
}

static bool is_json(const char *type, size_t len)
{
    static const char json[] = "application/json";
    size_t n = sizeof(json) - 1;
    return len >= n && strncasecmp(type, json, n) == 0 &&
           (len == n || type[n] == ';' || type[n] == ' ');
}

static int fill_body(const struct http_request *request, const struct route *route, void *message,
                     struct arena *arena, struct pbjson_problem *problem)
{
    size_t len = 0;
    const char *type = http_header(request, "content-type", &len);
    if (request->body_len == 0 && route->body_optional) {
        return 0;
    }
    if (type != NULL && !is_json(type, len)) {
        problem->detail = "the body must be application/json";
        return ERR_UNSUPPORTED_MEDIA_TYPE;
    }
    struct pbjson_doc *doc = NULL;
    int err = pbjson_parse(request->body_len > 0 ? request->body : "", request->body_len, arena,
                           &doc, problem);
    if (err == 0) {
        err = pbjson_fill(doc, message, arena, problem);
    }
    pbjson_free(doc);
    return err;
}

/* Names that end in "id" are numbers from 1; in the path anything else is simply not there. */
static int fill_params(const struct routes_match *match, void *message, struct arena *arena,
                       struct pbjson_problem *problem)
{
    for (size_t i = 0; i < match->param_count; i++) {
        const struct routes_param *p = &match->params[i];
        char *name = arena_strndup(arena, p->name, p->name_len);
        size_t len;
        char *value = decode(arena, p->value, p->value_len, false, &len);
        bool id = p->name_len >= 2 && memcmp(p->name + p->name_len - 2, "id", 2) == 0;
        if (value == NULL || (id && (value[0] < '1' || value[0] > '9')) ||
            pbjson_fill_text(message, name, value, len, arena, problem) != 0) {
            *problem = (struct pbjson_problem){0};
            return ERR_NOT_FOUND;
        }
    }
    return 0;
}

/* Our tags are "<version>-<hash>". */
static int fill_if_match(const struct http_request *request, void *message, struct arena *arena)
{
    size_t len = 0;
    const char *value = http_header(request, "if-match", &len);
    if (value == NULL || fields_find(message, "if_version", 10) == NULL ||
        (len == 1 && *value == '*')) {
        return 0;
    }
    char *tag = arena_strndup(arena, value, len), *end;
    if (tag[0] != '"' || tag[1] < '1' || tag[1] > '9') {
        return ERR_PRECONDITION_FAILED;
    }
    uint64_t version = strtoull(tag + 1, &end, 10);
    if (*end != '-' && *end != '"') {
        return ERR_PRECONDITION_FAILED;
    }
    fields_set_u64(message, "if_version", version);
    return 0;
}

/* Idempotency-Key is a message's client_id where the body has none, and a group's request_key. */
static int fill_idempotency(const struct http_request *request, void *message, struct arena *arena,
                            struct pbjson_problem *problem)
{
    size_t len = 0;
    const char *value = http_header(request, "idempotency-key", &len);
    const ProtobufCFieldDescriptor *client = fields_find(message, "client_id", 9);
    bool keyed = fields_find(message, "request_key", 11) != NULL;
    if (value != NULL && (keyed || client != NULL) && (len == 0 || len > KEY_MAX)) {
        problem->errors[0] =
            (struct rpc_field_error){"Idempotency-Key", "must be 1 to 64 characters"};
        problem->count = 1;
        return ERR_INVALID;
    }
    if (client != NULL && value != NULL) {
        ProtobufCBinaryData given;
        memcpy(&given, (char *)message + client->offset, sizeof(given));
        if (given.len == 0) {
            fields_set_bytes(message, "client_id", pb_bytes(arena_strndup(arena, value, len), len));
        }
    }
    if (keyed) {
        char *made = arena_alloc(arena, 33);
        random_hex(made, 16);
        fields_set_bytes(message, "request_key",
                         value != NULL ? pb_bytes(arena_strndup(arena, value, len), len)
                                       : pb_str(made));
    }
    return 0;
}

int rest_input_fill(const struct http_request *request, const struct routes_match *match,
                    void *message, struct arena *arena, struct pbjson_problem *problem)
{
    *problem = (struct pbjson_problem){0};
    bool body = strcmp(match->route->method, "POST") == 0 ||
                strcmp(match->route->method, "PUT") == 0;
    int err = body ? fill_body(request, match->route, message, arena, problem)
                   : fill_query(request, match->route, message, arena, problem);
    if (err != 0) {
        return err;
    }
    bound_limit(message);
    err = fill_params(match, message, arena, problem);
    if (err == 0) {
        err = fill_if_match(request, message, arena);
    }
    if (err == 0) {
        err = fill_idempotency(request, message, arena, problem);
    }
    return err;
}
