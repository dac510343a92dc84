// SPDX-License-Identifier: MIT
#include "common/random.h"

#include "tests/unit/test.h"

TEST(bytes_differ)
{
    unsigned char a[1000], b[1000], zero[16] = {0};

    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    CHECK(memcmp(a + sizeof(a) - 16, zero, 16) != 0); /* filled to the end */
    memset(a, 7, sizeof(a));
    random_bytes(a, 0);
    CHECK_INT(a[0], 7);
    CHECK(random_u64() != random_u64());
}

TEST(hex)
{
    char text[42];

    for (size_t n = 0; n <= 20; n++) {
        memset(text, '!', sizeof(text));
        random_hex(text, n);
        CHECK_INT(strlen(text), 2 * n);
        CHECK_INT(strspn(text, "0123456789abcdef"), 2 * n);
        CHECK_INT(text[2 * n + 1], '!');
    }
}

/* Every byte value comes out as its own two digits: seen over many draws, all 256 pairs appear. */
TEST(hex_covers_all_pairs)
{
    bool seen[256] = {false};
    char text[2001];
    int pairs = 0;

    for (int round = 0; round < 20; round++) {
        random_hex(text, 1000);
        for (size_t i = 0; i < 2000; i += 2) {
            char pair[3] = {text[i], text[i + 1], '\0'};
            unsigned long value = strtoul(pair, NULL, 16);

            pairs += seen[value] ? 0 : 1;
            seen[value] = true;
        }
    }
    CHECK_INT(pairs, 256);
}
