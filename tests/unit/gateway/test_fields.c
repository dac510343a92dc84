// SPDX-License-Identifier: MIT
/* The key of a call: a number as it is, a name by its folded form. */
#include "tests/unit/test.h"

#include "gateway/fields.h"
#include "proto/auth.pb-c.h"

static uint64_t key_of(const char *username)
{
    Chat__LoginRequest in = CHAT__LOGIN_REQUEST__INIT;
    struct arena *arena = arena_new(0);
    uint64_t key = 1;

    in.username = pb_str(username);
    CHECK(fields_get_key(&in, "username", arena, &key));
    arena_free(arena);
    return key;
}

TEST(names_that_are_one_meet)
{
    CHECK(key_of("alice") == key_of("Alice"));
    CHECK(key_of("alice") == key_of("\uff21lice"));
    CHECK(key_of("alice") != key_of("alicf"));
    CHECK(key_of("alice") != key_of("alice2"));
    CHECK(key_of("alice") == UINT64_C(0xe4243397377b71bc)); /* the same in every gateway */
}

TEST(what_is_no_name_has_none)
{
    static char endless[100000];

    memset(endless, 'x', sizeof(endless) - 1);
    CHECK_INT(key_of(endless), 0);
    CHECK_INT(key_of("\xff"), 0);
}

TEST(numbers_are_themselves)
{
    Chat__GetUserRequest in = CHAT__GET_USER_REQUEST__INIT;
    struct arena *arena = arena_new(0);
    uint64_t key = 0;

    in.id = 7;
    CHECK(fields_get_key(&in, "id", arena, &key));
    CHECK_INT(key, 7);
    CHECK(!fields_get_key(&in, "nothing", arena, &key));
    CHECK_INT(key, 7);
    arena_free(arena);
}
