// SPDX-License-Identifier: MIT
#include "gateway/routes.h"

#include "gateway/web.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define AUTH .topic = TOPIC_RPC_AUTH, .service = &chat__auth__descriptor
#define GROUP .topic = TOPIC_RPC_GROUP, .service = &chat__groups__descriptor
#define MESSAGE .topic = TOPIC_RPC_MESSAGE, .service = &chat__messages__descriptor
#define LOGIN_LIMIT .who = ROUTES_ANYONE, .limit = LIMITS_AUTH
#define USER .who = ROUTES_USER, .limit = LIMITS_USER
#define ADMIN .who = ROUTES_ADMIN, .limit = LIMITS_USER

/* Literal paths stand before patterns that they match too. */
static const struct route table[] = {
    {"POST", "/api/register", LOGIN_LIMIT, AUTH, .rpc = "SignUp", .status = 201,
     .location = "/api/users/{user.id}"},
    {"POST", "/api/login", LOGIN_LIMIT, AUTH, .rpc = "Login", .status = 200,
     .key = "username"}, /* failed ones are counted where they arrive */
    {"POST", "/api/refresh", LOGIN_LIMIT, AUTH, .rpc = "Refresh", .status = 200},
    {"POST", "/api/logout", .who = ROUTES_MAYBE, .limit = LIMITS_USER, AUTH, .rpc = "Logout",
     .status = 204, .body_optional = true},
    {"GET", "/api/sessions", USER, AUTH, .rpc = "ListSessions", .status = 200},
    {"DELETE", "/api/sessions/:id", USER, AUTH, .rpc = "EndSession", .status = 204},
    {"PUT", "/api/password", USER, AUTH, .rpc = "ChangePassword", .status = 204},

    {"GET", "/api/users", USER, AUTH, .rpc = "ListUsers", .seen = true, .status = 200},
    {"GET", "/api/users/me", USER, AUTH, .rpc = "GetUser", .seen = true, .status = 200, .own = "id",
     .version = "user.version"},
    {"GET", "/api/users/online", USER, .act = ACT_ONLINE, .status = 200},
    {"GET", "/api/users/:id", USER, AUTH, .rpc = "GetUser", .seen = true, .status = 200,
     .key = "id", .version = "user.version"},
    {"PUT", "/api/users/:id", USER, AUTH, .rpc = "UpdateUser", .seen = true, .status = 200,
     .key = "id", .version = "user.version"},

    {"GET", "/api/messages", USER, MESSAGE, .rpc = "ListMessages", .status = 200,
     .key = "target_id"},
    {"POST", "/api/messages", "chat_message", ACT_SEND, USER, .status = 201,
     .location = "/api/messages/{msg_id}"},
    {"GET", "/api/messages/:message_id", USER, MESSAGE, .rpc = "GetMessage", .status = 200,
     .key = "message_id"},
    {"PUT", "/api/messages/:message_id", "edit", ACT_EDIT, USER, .status = 200, .only = "message"},
    {"DELETE", "/api/messages/:message_id", "recall", ACT_RECALL, USER, .status = 204},

    {"GET", "/api/groups", USER, GROUP, .rpc = "ListGroups", .status = 200},
    {"POST", "/api/groups", USER, GROUP, .rpc = "CreateGroup", .status = 201,
     .location = "/api/groups/{group.id}"},
    {"GET", "/api/groups/:id", USER, GROUP, .rpc = "GetGroup", .seen = true, .status = 200,
     .key = "id", .version = "group.version", .only = "group"},
    {"PUT", "/api/groups/:id", USER, GROUP, .rpc = "UpdateGroup", .status = 200, .key = "id",
     .version = "group.version"},
    {"DELETE", "/api/groups/:id", USER, GROUP, .rpc = "DeleteGroup", .status = 204, .key = "id"},
    {"GET", "/api/groups/:id/members", USER, GROUP, .rpc = "ListMembers", .seen = true,
     .status = 200, .key = "id"},
    {"POST", "/api/groups/:id/members", USER, GROUP, .rpc = "AddMember", .status = 201, .key = "id",
     .location = "{member.user.id}"},
    {"PUT", "/api/groups/:id/members/:user_id", USER, GROUP, .rpc = "UpdateMember", .seen = true,
     .status = 200, .key = "id"},
    {"DELETE", "/api/groups/:id/members/:user_id", USER, GROUP, .rpc = "RemoveMember",
     .status = 204, .key = "id"},

    /* Its token may stand elsewhere: ws_upgrade.c looks for it, then counts the request. */
    {"GET", "/api/ws", .act = ACT_SOCKET, .who = ROUTES_ANYONE, .status = 101},
    {"GET", "/api/monitor/system", ADMIN, .act = ACT_SYSTEM, .status = 200},
    {"GET", "/api/monitor/connections", ADMIN, .act = ACT_CONNECTIONS, .status = 200},
    {"GET", "/healthz", .act = ACT_HEALTH, .status = 200},
    {"GET", "/readyz", .act = ACT_READY, .status = 200},
    {"GET", "/", .act = ACT_FILE, .status = 200, .file = "index.html"},
    {"GET", "/docs", .act = ACT_FILE, .status = 200, .file = "docs.html"},
    {"GET", "/docs.js", .act = ACT_FILE, .status = 200, .file = "docs.js"},
    {"GET", "/docs.css", .act = ACT_FILE, .status = 200, .file = "docs.css"},
    {"GET", "/api/openapi.json", .act = ACT_FILE, .status = 200, .file = "openapi.json"},
    {"GET", "/api/asyncapi.json", .act = ACT_FILE, .status = 200, .file = "asyncapi.json"},

    {.frame = "typing", .act = ACT_TYPING},
    {.frame = "sync", .act = ACT_SYNC},
    {.frame = "presence", .act = ACT_PRESENCE},
    {.frame = "auth", .act = ACT_AUTH},
    {.frame = "ping", .act = ACT_PING},
    {0},
};

static bool path_matches(const struct route *r, const char *path, size_t len,
                         struct routes_match *m)
{
    const char *pattern = r->path, *end = path + len;
    m->param_count = 0;
    while (*pattern != '\0') {
        if (*pattern != ':') {
            if (path == end || *pattern != *path) {
                return false;
            }
            pattern++;
            path++;
            continue;
        }
        size_t name_len = strcspn(++pattern, "/");
        const char *stop = memchr(path, '/', (size_t)(end - path));
        size_t value_len = (size_t)((stop != NULL ? stop : end) - path);
        if (value_len == 0) {
            return false;
        }
        assert(m->param_count < ROUTES_PARAMS_MAX);
        m->params[m->param_count++] = (struct routes_param){pattern, path, name_len, value_len};
        pattern += name_len;
        path += value_len;
    }
    return path == end;
}

static bool is_literal(const struct route *r)
{
    return strchr(r->path, ':') == NULL;
}

static void add_allowed(struct routes_match *m, const char *method)
{
    size_t used = strlen(m->allow);
    if (strstr(m->allow, method) == NULL) {
        snprintf(m->allow + used, sizeof(m->allow) - used, "%s%s%s", used > 0 ? ", " : "", method,
                 strcmp(method, "GET") == 0 ? ", HEAD" : "");
    }
}

void routes_match(const char *method, size_t method_len, const char *path, size_t path_len,
                  struct routes_match *m)
{
    if (method_len == 4 && memcmp(method, "HEAD", 4) == 0) {
        method = "GET";
        method_len = 3;
    }
    m->route = NULL;
    m->path_exists = false;
    m->allow[0] = '\0';
    bool literal = false;
    for (size_t i = 0; table[i].path != NULL || table[i].frame != NULL; i++) {
        const struct route *r = &table[i];
        struct routes_match trial;
        if (r->path == NULL || !path_matches(r, path, path_len, &trial)) {
            continue;
        }
        /* "/api/users/me" hides "/api/users/:id" for every method. */
        if (literal && !is_literal(r)) {
            continue;
        }
        literal = literal || is_literal(r);
        m->path_exists = true;
        add_allowed(m, r->method);
        if (strlen(r->method) == method_len && memcmp(r->method, method, method_len) == 0) {
            m->route = r;
            m->index = i;
            m->param_count = trial.param_count;
            memcpy(m->params, trial.params, sizeof(m->params));
            return;
        }
    }
}

const struct route *routes_find_frame(const char *type, size_t len)
{
    for (size_t i = 0; table[i].path != NULL || table[i].frame != NULL; i++) {
        if (table[i].frame != NULL && strlen(table[i].frame) == len &&
            memcmp(table[i].frame, type, len) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const struct route *routes_row(size_t index)
{
    return &table[index];
}

size_t routes_count(void)
{
    size_t n = 0;
    while (table[n].path != NULL || table[n].frame != NULL) {
        n++;
    }
    return n;
}

const ProtobufCMethodDescriptor *routes_method(const struct route *r)
{
    return protobuf_c_service_descriptor_get_method_by_name(r->service, r->rpc);
}

const char *routes_check(void)
{
    for (size_t i = 0; i < routes_count(); i++) {
        if (table[i].act == ACT_RPC && routes_method(&table[i]) == NULL) {
            return table[i].rpc;
        }
        if (table[i].act == ACT_FILE && web_find(table[i].file) == NULL) {
            return table[i].file;
        }
    }
    return NULL;
}
