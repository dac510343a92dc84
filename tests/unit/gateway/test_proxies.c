// SPDX-License-Identifier: MIT
#include "gateway/proxies.h"

#include "common/err.h"
#include "tests/unit/test.h"

static struct proxies *make(const char *list)
{
    struct proxies *p = NULL;
    char problem[200] = "";
    CHECK_INT(proxies_new(list, &p, problem, sizeof(problem)), 0);
    return p;
}

static void expect_client(const char *list, const char *peer, const char *forwarded,
                          const char *client)
{
    struct proxies *p = make(list);
    char out[PROXIES_ADDRESS_SIZE];
    proxies_client(p, peer, forwarded, forwarded != NULL ? strlen(forwarded) : 0, out);
    CHECK_STR(out, client);
    proxies_free(p);
}

TEST(nobody_is_believed_without_a_list)
{
    expect_client("", "10.0.0.1", "1.2.3.4", "10.0.0.1");
    expect_client("", "::1", "1.2.3.4", "::1");
}

TEST(the_last_untrusted_one_counts)
{
    expect_client("10.0.0.0/8", "10.0.0.1", NULL, "10.0.0.1");
    expect_client("10.0.0.0/8", "10.0.0.1", "1.2.3.4", "1.2.3.4");
    expect_client("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4");
    expect_client("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4");
    expect_client("10.0.0.0/8", "10.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1");
    expect_client("10.0.0.0/8", "11.0.0.1", "1.2.3.4", "11.0.0.1");
    expect_client("10.0.0.0/8", "10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1");
    expect_client("10.0.0.0/8", "10.0.0.1", "1.2.3.4, ", "10.0.0.1");
    expect_client("10.0.0.0/8", "::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4");
    expect_client("fd00::/8, ::1", "::1", "2001:db8::5, fd00::7", "2001:db8::5");
}

TEST(networks)
{
    struct proxies *p = make("192.168.1.0/25,172.16.0.1, 2001:db8::/33");
    CHECK(proxies_trust(p, "192.168.1.127"));
    CHECK(!proxies_trust(p, "192.168.1.128"));
    CHECK(proxies_trust(p, "172.16.0.1"));
    CHECK(!proxies_trust(p, "172.16.0.2"));
    CHECK(proxies_trust(p, "2001:db8:7fff::1"));
    CHECK(!proxies_trust(p, "2001:db8:8000::1"));
    CHECK(!proxies_trust(p, ""));
    proxies_free(p);
    p = make("0.0.0.0/0");
    CHECK(proxies_trust(p, "8.8.8.8"));
    CHECK(!proxies_trust(p, "2001:db8::1"));
    proxies_free(p);
}

TEST(wrong_lists_are_refused)
{
    static const char *const wrong[] = {"x",           "10.0.0.0/33", "10.0.0.0/",
                                        "10.0.0.0/-1", "::/129",      "10.0.0.1, 10.0.0.0/8x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct proxies *p = NULL;
        char problem[200] = "";
        CHECK_INT(proxies_new(wrong[i], &p, problem, sizeof(problem)), ERR_INVALID);
        CHECK(strstr(problem, "TRUSTED_PROXIES") != NULL);
    }
}

TEST(scheme)
{
    struct proxies *p = make("10.0.0.0/8");
    CHECK(proxies_https(p, "10.0.0.1", "https", 5, false));
    CHECK(!proxies_https(p, "10.0.0.1", "http", 4, true));
    CHECK(!proxies_https(p, "11.0.0.1", "https", 5, false));
    CHECK(proxies_https(p, "10.0.0.1", NULL, 0, true));
    CHECK(proxies_https(p, "10.0.0.1", "http, https", 11, false));
    proxies_free(p);
}
