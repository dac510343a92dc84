// SPDX-License-Identifier: MIT
#include "gateway/routes.h"

#include "tests/unit/test.h"

static struct routes_match match(const char *method, const char *path)
{
    struct routes_match m;
    routes_match(method, strlen(method), path, strlen(path), &m);
    return m;
}

static bool goes_to(const char *method, const char *path, const char *rpc)
{
    struct routes_match m = match(method, path);
    return m.route != NULL && m.route->rpc != NULL && strcmp(m.route->rpc, rpc) == 0;
}

TEST(every_rpc_exists)
{
    CHECK_STR(routes_check(), NULL);
}

TEST(paths_and_methods)
{
    CHECK(goes_to("POST", "/api/register", "SignUp"));
    CHECK(goes_to("GET", "/api/users", "ListUsers"));
    CHECK(goes_to("GET", "/api/users/me", "GetUser"));
    CHECK(goes_to("GET", "/api/users/12", "GetUser"));
    CHECK(goes_to("PUT", "/api/users/12", "UpdateUser"));
    CHECK(goes_to("HEAD", "/api/users/12", "GetUser"));
    CHECK(goes_to("DELETE", "/api/groups/3/members/4", "RemoveMember"));
    CHECK_INT(match("GET", "/api/users/online").route->act, ACT_ONLINE);
    CHECK_INT(match("GET", "/").route->act, ACT_FILE);
    static const char *const unknown[] = {"",
                                          "/api",
                                          "/api/",
                                          "/api/users/",
                                          "/api/userss",
                                          "/api/users/1/2",
                                          "//",
                                          "/api/groups//members"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        struct routes_match m = match("GET", unknown[i]);
        CHECK(m.route == NULL && !m.path_exists);
    }
}

TEST(parameters)
{
    struct routes_match m = match("DELETE", "/api/groups/37/members/x%20");
    CHECK_INT(m.param_count, 2);
    CHECK(m.params[0].name_len == 2 && memcmp(m.params[0].name, "id", 2) == 0);
    CHECK(m.params[0].value_len == 2 && memcmp(m.params[0].value, "37", 2) == 0);
    CHECK(m.params[1].name_len == 7 && memcmp(m.params[1].name, "user_id", 7) == 0);
    CHECK(m.params[1].value_len == 4 && memcmp(m.params[1].value, "x%20", 4) == 0);
}

TEST(other_methods_are_named)
{
    struct routes_match m = match("PATCH", "/api/users/12");
    CHECK(m.route == NULL && m.path_exists);
    CHECK_STR(m.allow, "GET, HEAD, PUT");
    m = match("GET", "/api/login");
    CHECK(m.route == NULL && m.path_exists);
    CHECK_STR(m.allow, "POST");
    /* A literal path hides the pattern for all methods. */
    m = match("PUT", "/api/users/me");
    CHECK(m.route == NULL && m.path_exists);
    CHECK_STR(m.allow, "GET, HEAD");
    m = match("get", "/api/users");
    CHECK(m.route == NULL && m.path_exists);
}

TEST(frames)
{
    const struct route *r = routes_find_frame("chat_message", 12);
    CHECK(r != NULL && r->act == ACT_SEND);
    r = routes_find_frame("ping", 4);
    CHECK(r != NULL && r->act == ACT_PING);
    CHECK(routes_find_frame("pin", 3) == NULL);
    CHECK(routes_find_frame("", 0) == NULL);
    CHECK(routes_find_frame("message", 7) == NULL);
}
