// SPDX-License-Identifier: MIT
/*
 * token_verify. The first byte chooses: `a` a token for a secret (HS256), `b` one for two public
 * keys (ES256, RS256), `c` a token that is signed here and then damaged, which must be refused.
 */
#include "tests/fuzz/fuzz.h"

#include "common/err.h"
#include "common/text.h"
#include "common/token.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOW_S 1769860800
#define SECRET "0123456789abcdef0123456789abcdef"

/* Nobody has the private halves. The tokens of the corpus were signed with them. */
static const char ec_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                             "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAER14+uPI+1pIQUnglXI1NbBqwIr6T\n"
                             "+6iPhNWAR7gi2DobHwTe3y+IV/SnAyznOxSl4OdzAnmJyk8DIeC7zKTxnQ==\n"
                             "-----END PUBLIC KEY-----\n";
static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAw/0FTqcMTimy7YPIPtZw\n"
                              "Hi3c/7I1+RxJ0SHdx1OgzdkBaFpbRe1KO2Ib55moYj0ur9EHn61IoXX5DFgyDnXo\n"
                              "NozZ2Ah6X2TSytM1FB8WsHDC/hzLdBQKt/ELoVvz5aqlc/l0/kjAodhMtYdS04xs\n"
                              "HukQTWIJkLHbRJyRl961cwtrUza8LGvHO1EAuzEivZdbFHwCyqqmsYHaPqFKNdSN\n"
                              "LHQz5PE6mhOGlD+vlkjksiq1NT4jU8oCZuc211dILbvm9+cFpvRDAfkHbx0R1M2Z\n"
                              "LNtzbvEj3WIx/DvguqI0ff6KoTUcxZdJldy93B/N/OTHcC9GVKM5cnNDmeIKxH/E\n"
                              "cQIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";

static struct token_keys *secret_keys, *public_keys;

static int file_of(const char *pem)
{
    int fd = memfd_create("key", 0);
    size_t n = strlen(pem);
    MUST(fd >= 0 && write(fd, pem, n) == (ssize_t)n);
    return fd;
}

static void load_keys(void)
{
    char problem[256], files[64];
    int ec = file_of(ec_pem), rsa = file_of(rsa_pem);

    snprintf(files, sizeof(files), "/proc/self/fd/%d,/proc/self/fd/%d", ec, rsa);
    MUST(token_keys_load(SECRET, NULL, NULL, &secret_keys, problem, sizeof(problem)) == 0);
    MUST(token_keys_load(NULL, NULL, files, &public_keys, problem, sizeof(problem)) == 0);
    close(ec);
    close(rsa);
}

static int verify(const struct token_keys *keys, const char *token, size_t len)
{
    struct token_claims claims;
    int err = token_verify(keys, token, len, NOW_S, &claims);

    MUST(err == 0 || err == ERR_UNAUTHENTICATED || err == ERR_TOKEN_EXPIRED);
    if (err == 0) {
        size_t n = strnlen(claims.username, sizeof(claims.username));
        MUST(n < sizeof(claims.username));
        MUST(text_is_valid(claims.username, n, TEXT_ANY_BUT_NUL, NULL));
        MUST(claims.user_id < UINT64_C(1) << 53 && claims.session_id < UINT64_C(1) << 53);
        MUST(claims.expires_at > NOW_S && claims.issued_at <= NOW_S + 30);
    }
    return err;
}

/* data: where the damage begins, how much goes, then what stands there instead. */
static void damage(const uint8_t *data, size_t size, struct arena *arena)
{
    struct token_claims claims = {.user_id = 42, .session_id = 7, .username = "alice"};
    const char *token;

    if (size < 2) {
        return;
    }
    claims.issued_at = NOW_S;
    claims.expires_at = NOW_S + 900;
    MUST(token_sign(secret_keys, &claims, arena, &token) == 0);
    size_t len = strlen(token), from = data[0] % len, gone = data[1] % (len - from + 1);
    MUST(verify(secret_keys, token, len) == 0);

    size_t damaged_len = len - gone + (size - 2);
    char *damaged = arena_alloc(arena, damaged_len);
    memcpy(damaged, token, from);
    memcpy(damaged + from, data + 2, size - 2);
    memcpy(damaged + from + size - 2, token + from + gone, len - from - gone);
    bool same = damaged_len == len && memcmp(damaged, token, len) == 0;
    MUST((verify(secret_keys, damaged, damaged_len) == 0) == same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (secret_keys == NULL) {
        load_keys();
    }
    if (size == 0) {
        return 0;
    }
    if (data[0] == 'c') {
        struct arena *arena = arena_new(0);
        damage(data + 1, size - 1, arena);
        arena_free(arena);
    } else {
        verify(data[0] == 'b' ? public_keys : secret_keys, (const char *)data + 1, size - 1);
    }
    return 0;
}
