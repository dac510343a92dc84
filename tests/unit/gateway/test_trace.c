// SPDX-License-Identifier: MIT
#include "gateway/trace.h"

#include "gateway/origins.h"
#include "tests/unit/test.h"

#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* 65 characters */
#define LONG "01234567890123456789012345678901234567890123456789012345678901234"

static bool goes_on(const char *came)
{
    char out[TRACE_PARENT_SIZE];
    trace_parent(came, strlen(came), out);
    CHECK_INT(strlen(out), TRACE_PARENT_SIZE - 1);
    CHECK(memcmp(out + 36, came + 36, 16) != 0); /* a span of our own */
    return memcmp(out, TRACE, 35) == 0 && memcmp(out + 52, &TRACE[52], 3) == 0;
}

TEST(a_valid_trace_goes_on)
{
    CHECK(goes_on(TRACE));
    CHECK(goes_on("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
    CHECK(!goes_on("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
    CHECK(!goes_on("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    CHECK(!goes_on("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
    CHECK(!goes_on("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    CHECK(!goes_on("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    char out[TRACE_PARENT_SIZE];
    trace_parent(NULL, 0, out);
    CHECK(memcmp(out, "00-", 3) == 0 && strcmp(out + 52, "-01") == 0);
    trace_parent("00-short", 8, out);
    CHECK_INT(strlen(out), TRACE_PARENT_SIZE - 1);
}

TEST(request_ids)
{
    char out[TRACE_REQUEST_SIZE];
    trace_request("abc-1.2_X", 9, out);
    CHECK_STR(out, "abc-1.2_X");
    static const char *const bad[] = {"", "a b", "a\"b", "\xc3\xa9", LONG};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        trace_request(bad[i], strlen(bad[i]), out);
        CHECK_INT(strlen(out), 16);
    }
    trace_request("a\0b", 3, out);
    CHECK_INT(strlen(out), 16);
}

static bool own(const char *origin, bool https, const char *authority)
{
    return origins_own(origin, strlen(origin), https, authority, strlen(authority));
}

TEST(origins)
{
    CHECK(own("http://chat.example", false, "chat.example"));
    CHECK(own("http://chat.example", false, "Chat.Example:80"));
    CHECK(own("http://chat.example:8080", false, "chat.example:8080"));
    CHECK(own("https://chat.example", true, "chat.example:443"));
    CHECK(!own("https://chat.example", false, "chat.example"));
    CHECK(!own("http://chat.example.evil", false, "chat.example"));
    CHECK(!own("http://evil", false, "chat.example"));
    CHECK(!own("null", false, "chat.example"));
    struct origins *o = NULL;
    char problem[200];
    CHECK_INT(origins_new("https://a.example, http://localhost:3000", &o, problem, 200), 0);
    CHECK(origins_listed(o, "https://a.example", 17));
    CHECK(origins_listed(o, "http://localhost:3000", 21));
    CHECK(!origins_listed(o, "http://localhost:300", 20));
    CHECK(!origins_listed(o, "null", 4));
    origins_free(o);
    CHECK(origins_new("a.example", &o, problem, 200) != 0);
    CHECK(origins_new("https://a.example/path", &o, problem, 200) != 0);
    CHECK(origins_new("*", &o, problem, 200) != 0);
}
