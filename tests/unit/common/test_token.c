// SPDX-License-Identifier: MIT
/*
 * Tokens are also made by hand here (own base64url, OpenSSL's HMAC and signatures), so that forged
 * ones come as an attacker would send them and good ones not only from the code under test.
 */
#include "common/token.h"

#include "common/err.h"
#include "tests/unit/test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW 1800000000
#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define CLAIMS                                                                                     \
    "{\"exp\":1800000900,\"iat\":1800000000,\"iss\":\"chatroom\",\"sid\":7,\"user_id\":42,"        \
    "\"username\":\"alice\"}"

static char problem[256];
static struct arena *arena;

/* ---- Means ---- */

static char *base64url(const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *p = data;
    char *out = arena_alloc(arena, n * 2 + 2);
    size_t at = 0;

    for (size_t i = 0; i < n; i += 3) {
        unsigned bits = (unsigned)p[i] << 16 | (i + 1 < n ? (unsigned)p[i + 1] << 8 : 0) |
                        (i + 2 < n ? p[i + 2] : 0);
        size_t count = n - i >= 3 ? 4 : n - i + 1;

        for (size_t k = 0; k < count; k++) {
            out[at++] = digits[bits >> (18 - 6 * k) & 63];
        }
    }
    out[at] = '\0';
    return out;
}

/* header and claims as they are, signed with HMAC. */
static const char *forge(const char *header, const char *claims, const EVP_MD *md, const void *key,
                         size_t key_n)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;
    char *text = arena_printf(arena, "%s.%s", base64url(header, strlen(header)),
                              base64url(claims, strlen(claims)));

    HMAC(md, key, (int)key_n, (unsigned char *)text, strlen(text), mac, &mac_n);
    return arena_printf(arena, "%s.%s", text, base64url(mac, mac_n));
}

static const char *forge_hs256(const char *header, const char *claims)
{
    return forge(header, claims, EVP_sha256(), SECRET, strlen(SECRET));
}

static struct token_keys *load(const char *secret, const char *private, const char *public)
{
    struct token_keys *keys = NULL;

    if (!CHECK_INT(token_keys_load(secret, private, public, &keys, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return keys;
}

static int verify(const struct token_keys *keys, const char *token)
{
    struct token_claims claims;

    return token_verify(keys, token, strlen(token), NOW, &claims);
}

static struct token_claims alice(void)
{
    return (struct token_claims){.user_id = 42,
                                 .session_id = 7,
                                 .username = "alice",
                                 .issued_at = NOW,
                                 .expires_at = NOW + 900};
}

static const char *sign(const struct token_keys *keys, const struct token_claims *claims)
{
    const char *token = "";

    CHECK_INT(token_sign(keys, claims, arena, &token), 0);
    return token;
}

/* ---- Keys in files ---- */

enum { RSA_A, RSA_B, EC_A, EC_B, EC_OTHER, RSA_SHORT, N_KEYS };
static EVP_PKEY *pkeys[N_KEYS];
static char dir[] = "/tmp/test_token.XXXXXX";

static const char *path(int key, const char *kind)
{
    return arena_printf(arena, "%s/%d.%s", dir, key, kind);
}

static void make_keys(void)
{
    if (!CHECK(mkdtemp(dir) != NULL)) {
        exit(EXIT_FAILURE);
    }
    for (int i = 0; i < N_KEYS; i++) {
        pkeys[i] = i <= RSA_B      ? EVP_RSA_gen(2048)
                   : i == EC_OTHER ? EVP_EC_gen("P-384")
                   : i < RSA_SHORT ? EVP_EC_gen("P-256")
                                   : EVP_RSA_gen(1024);
        FILE *file = fopen(path(i, "private"), "we");
        PEM_write_PrivateKey(file, pkeys[i], NULL, NULL, 0, NULL, NULL);
        fclose(file);
        file = fopen(path(i, "public"), "we");
        PEM_write_PUBKEY(file, pkeys[i]);
        fclose(file);
    }
}

static void remove_keys(void)
{
    for (int i = 0; i < N_KEYS; i++) {
        unlink(path(i, "private"));
        unlink(path(i, "public"));
        EVP_PKEY_free(pkeys[i]);
    }
    rmdir(dir);
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
}

/* Each test gets an arena; those with files also the keys. */
#define TOKEN_TEST(name, with_keys)                                                                \
    static void name##_body(void);                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        arena = arena_new(0);                                                                      \
        if (with_keys) {                                                                           \
            make_keys();                                                                           \
        }                                                                                          \
        name##_body();                                                                             \
        if (with_keys) {                                                                           \
            remove_keys();                                                                         \
        }                                                                                          \
        arena_free(arena);                                                                         \
    }                                                                                              \
    static void name##_body(void)

/* ---- HS256 ---- */

TOKEN_TEST(round_trip, false)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    struct token_claims claims = alice(), read = {0};
    const char *token = sign(keys, &claims);

    CHECK_INT(token_verify(keys, token, strlen(token), NOW, &read), 0);
    CHECK_INT(read.user_id, 42);
    CHECK_INT(read.session_id, 7);
    CHECK_STR(read.username, "alice");
    CHECK_INT(read.issued_at, NOW);
    CHECK_INT(read.expires_at, NOW + 900);
    CHECK_INT(verify(keys, forge_hs256(HEADER, CLAIMS)), 0); /* by hand */
    claims.user_id = claims.session_id = (UINT64_C(1) << 53) - 1;
    token = sign(keys, &claims);
    CHECK_INT(token_verify(keys, token, strlen(token), NOW, &read), 0);
    CHECK_INT(read.user_id, (INT64_C(1) << 53) - 1);
    token_keys_free(keys);
}

TOKEN_TEST(names_of_any_script, false)
{
    static const char *const names[] = {"\xe5\xb0\x8f\xe6\x98\x8e", "\xf0\x9f\x98\x80",
                                        "\xd0\x96\xd0\xb5\xd0\xbd\xd1\x8f", "a\"b\\c/d"};
    struct token_keys *keys = load(SECRET, NULL, NULL);
    struct token_claims claims = alice(), read;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(claims.username, sizeof(claims.username), "%s", names[i]);
        const char *token = sign(keys, &claims);
        CHECK_INT(token_verify(keys, token, strlen(token), NOW, &read), 0);
        CHECK_STR(read.username, names[i]);
    }
    for (size_t i = 0; i < 32; i++) { /* 32 characters of four bytes: as long as it gets */
        memcpy(claims.username + 4 * i, "\xf0\x9f\x98\x80", 5);
    }
    const char *token = sign(keys, &claims);
    CHECK_INT(token_verify(keys, token, strlen(token), NOW, &read), 0);
    CHECK_STR(read.username, claims.username);

    EXPECT_WARNINGS(1);
    memcpy(claims.username, "\xff\xfe", 3);
    CHECK_INT(token_sign(keys, &claims, arena, &token), ERR_INTERNAL);
    token_keys_free(keys);
}

TOKEN_TEST(any_changed_character_is_noticed, false)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    struct token_claims claims = alice();
    const char *token = sign(keys, &claims);
    size_t n = strlen(token);

    for (size_t i = 0; i < n; i++) {
        char *other = arena_strdup(arena, token);

        other[i] = other[i] == 'A' ? 'B' : 'A';
        CHECK_INT(verify(keys, other), ERR_UNAUTHENTICATED);
        other[i] = (char)(other[i] ^ 0x80);
        CHECK_INT(verify(keys, other), ERR_UNAUTHENTICATED);
        other[i] = '\0';
        CHECK_INT(token_verify(keys, other, n, NOW, &claims), ERR_UNAUTHENTICATED);
        CHECK_INT(token_verify(keys, token, i, NOW, &claims), ERR_UNAUTHENTICATED); /* cut */
    }
    token_keys_free(keys);
}

TOKEN_TEST(other_secrets_and_algorithms, false)
{
    static const char h384[] = "{\"alg\":\"HS384\",\"typ\":\"JWT\"}",
                      h512[] = "{\"alg\":\"HS512\",\"typ\":\"JWT\"}";
    struct token_keys *keys = load(SECRET, NULL, NULL);

    CHECK_INT(verify(keys, forge(HEADER, CLAIMS, EVP_sha256(), "another secret", 14)),
              ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, forge(HEADER, CLAIMS, EVP_sha256(), "", 0)), ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, forge(h384, CLAIMS, EVP_sha384(), SECRET, 32)), ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, forge(h512, CLAIMS, EVP_sha512(), SECRET, 32)), ERR_UNAUTHENTICATED);
    token_keys_free(keys);
}

static void check_none(const struct token_keys *keys)
{
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\"}",
                                          "{\"alg\":\"NONE\",\"typ\":\"JWT\"}",
                                          "{\"typ\":\"JWT\"}",
                                          "{}",
                                          "{\"alg\":\"\"}",
                                          "{\"alg\":null}",
                                          "{\"alg\":256}",
                                          "[]",
                                          "\"HS256\"",
                                          "{\"alg\":\"HS256\"",
                                          "{\"alg\":\"HS256\"}x"};

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        const char *header = base64url(headers[i], strlen(headers[i]));
        const char *claims = base64url(CLAIMS, strlen(CLAIMS));

        CHECK_INT(verify(keys, arena_printf(arena, "%s.%s.", header, claims)), ERR_UNAUTHENTICATED);
        CHECK_INT(verify(keys, arena_printf(arena, "%s.%s.AAAA", header, claims)),
                  ERR_UNAUTHENTICATED);
        CHECK_INT(verify(keys, forge_hs256(headers[i], "[]")), ERR_UNAUTHENTICATED);
    }
}

TOKEN_TEST(no_algorithm_is_no_token, true)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    check_none(keys);
    token_keys_free(keys);
    keys = load(NULL, NULL, path(RSA_A, "public"));
    check_none(keys);
    token_keys_free(keys);
}

TOKEN_TEST(form, false)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    const char *good = forge_hs256(HEADER, CLAIMS);
    const char *const wrong[] = {
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "aa..bb",
        ".aa.bb",
        "aa.bb.",
        "a.b.c.d",
        "aaaaa.aa.aa",
        "aa=.aa.aa",
        "aa.a+.aa",
        "aa.a/.aa",
        "aa.aa.aa.",
        ".aa.aa.aa",
        "aa.aa.aa ",
        "\xc3\xa4.aa.aa",
    };

    CHECK_INT(verify(keys, good), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_INT(verify(keys, wrong[i]), ERR_UNAUTHENTICATED);
    }
    CHECK_INT(verify(keys, arena_printf(arena, "%s.", good)), ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, arena_printf(arena, "%s=", good)), ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, arena_printf(arena, "%s.aaaa", good)), ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, arena_printf(arena, " %s", good)), ERR_UNAUTHENTICATED);
    token_keys_free(keys);
}

TOKEN_TEST(size, false)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    char *filler = arena_zalloc(arena, 4001);
    struct token_claims claims;
    const char *token = "";

    for (size_t n = 2600; strlen(token) < TOKEN_MAX + 8; n++) { /* good ones up to the bound */
        memset(filler, 'x', n);
        token = forge_hs256(HEADER, arena_printf(arena, "{\"x\":\"%s\",%s", filler, &CLAIMS[1]));
        CHECK_INT(verify(keys, token), strlen(token) <= TOKEN_MAX ? 0 : ERR_UNAUTHENTICATED);
    }
    CHECK_INT(token_verify(keys, token, SIZE_MAX, NOW, &claims), ERR_UNAUTHENTICATED);
    token_keys_free(keys);
}

/* ---- Claims ---- */

TOKEN_TEST(wrong_claims, false)
{
#define HEAD "{\"exp\":1800000900,\"iat\":1800000000,\"iss\":\"chatroom\","
    static const char other_issuer[] = "{\"exp\":1800000900,\"iat\":1800000000,\"iss\":\"other\","
                                       "\"sid\":7,\"user_id\":42,\"username\":\"alice\"}";
    static const char *const wrong[] = {
        "{}",
        "[]",
        "null",
        "{\"iss\":\"chatroom\"}",
        HEAD "\"sid\":7,\"user_id\":42}",
        HEAD "\"sid\":7,\"username\":\"alice\"}",
        HEAD "\"user_id\":42,\"username\":\"alice\"}",
        HEAD "\"sid\":0,\"user_id\":42,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":0,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":-1,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":\"42\",\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":42.0,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":true,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":9007199254740992,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":99999999999999999999,\"username\":\"alice\"}",
        HEAD "\"sid\":7,\"user_id\":42,\"username\":\"\"}",
        HEAD "\"sid\":7,\"user_id\":42,\"username\":7}",
        HEAD "\"sid\":7,\"user_id\":42,\"username\":\"a\\u0000b\"}",
        HEAD "\"nbf\":1800000500,\"sid\":7,\"user_id\":42,\"username\":\"alice\"}",
        HEAD "\"nbf\":\"soon\",\"sid\":7,\"user_id\":42,\"username\":\"alice\"}",
        "{\"iat\":1800000000,\"iss\":\"chatroom\",\"sid\":7,\"user_id\":42,\"username\":\"a\"}",
        "{\"exp\":1800000900,\"iss\":\"chatroom\",\"sid\":7,\"user_id\":42,\"username\":\"a\"}",
        "{\"exp\":1800000900,\"iat\":1800000000,\"sid\":7,\"user_id\":42,\"username\":\"a\"}",
        other_issuer,
    };
    struct token_keys *keys = load(SECRET, NULL, NULL);

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (!CHECK_INT(verify(keys, forge_hs256(HEADER, wrong[i])), ERR_UNAUTHENTICATED)) {
            printf("    %s\n", wrong[i]);
        }
    }
    char *name = arena_zalloc(arena, 130);
    memset(name, 'x', 129);
    CHECK_INT(verify(keys, forge_hs256(HEADER, arena_printf(arena,
                                                            HEAD "\"sid\":7,\"user_id\":42,"
                                                                 "\"username\":\"%s\"}",
                                                            name))),
              ERR_UNAUTHENTICATED);
    CHECK_INT(verify(keys, forge_hs256(HEADER, HEAD "\"nbf\":1800000030,\"sid\":7,\"user_id\":42,"
                                                    "\"username\":\"alice\"}")),
              0);
    token_keys_free(keys);
}

TOKEN_TEST(times, false)
{
    struct token_keys *keys = load(SECRET, NULL, NULL);
    struct token_claims claims = alice(), untouched = {.user_id = 5};
    const char *token = sign(keys, &claims);
    size_t n = strlen(token);

    CHECK_INT(token_verify(keys, token, n, NOW + 899, &claims), 0);
    CHECK_INT(token_verify(keys, token, n, NOW + 900, &untouched), ERR_TOKEN_EXPIRED);
    CHECK_INT(token_verify(keys, token, n, NOW + 90000, &untouched), ERR_TOKEN_EXPIRED);
    CHECK_INT(token_verify(keys, token, n, NOW - 30, &claims), 0); /* a clock behind ours */
    CHECK_INT(token_verify(keys, token, n, NOW - 31, &untouched), ERR_UNAUTHENTICATED);
    CHECK_INT(untouched.user_id, 5);
    /* Expired and forged is forged. */
    const char *forged = forge(HEADER, CLAIMS, EVP_sha256(), "another", 7);
    CHECK_INT(token_verify(keys, forged, strlen(forged), NOW + 9999, &untouched),
              ERR_UNAUTHENTICATED);
    token_keys_free(keys);
}

/* ---- RS256 and ES256 ---- */

static void check_key_files(int key, const char *alg)
{
    struct token_keys *signer = load(NULL, path(key, "private"), NULL);
    struct token_keys *verifier = load(NULL, NULL, path(key, "public"));
    struct token_claims claims = alice(), read = {0};
    const char *token = sign(signer, &claims);
    size_t n = strlen(token);

    CHECK_INT(token_verify(verifier, token, n, NOW, &read), 0);
    CHECK_STR(read.username, "alice");
    CHECK_INT(token_verify(signer, token, n, NOW, &read), 0);
    CHECK_INT(token_verify(verifier, token, n, NOW + 900, &read), ERR_TOKEN_EXPIRED);
    CHECK_INT(token_sign(verifier, &claims, arena, &token), ERR_INVALID); /* no private key */
    for (size_t i = 0; i < n; i += 3) {
        char *other = arena_strdup(arena, token);

        other[i] = other[i] == 'A' ? 'B' : 'A';
        CHECK_INT(verify(verifier, other), ERR_UNAUTHENTICATED);
    }
    /* The last character of a signature has unused bits: only one way to write them counts. */
    char *other = arena_strdup(arena, token);
    for (int c = '-'; c <= 'z'; c++) {
        other[n - 1] = (char)c;
        CHECK_INT(verify(verifier, other), c == token[n - 1] ? 0 : ERR_UNAUTHENTICATED);
    }
    CHECK_INT(verify(verifier, forge(arena_printf(arena, "{\"alg\":\"%s\"}", alg), CLAIMS,
                                     EVP_sha256(), SECRET, 32)),
              ERR_UNAUTHENTICATED);
    token_keys_free(signer);
    token_keys_free(verifier);
}

TOKEN_TEST(key_files, true)
{
    check_key_files(RSA_A, "RS256");
    check_key_files(EC_A, "ES256");
}

static char *read_text(const char *file_path, size_t *n_out)
{
    char *text = arena_zalloc(arena, 8192);
    FILE *file = fopen(file_path, "re");

    *n_out = fread(text, 1, 8191, file);
    fclose(file);
    return text;
}

/* The classic: HS256 "signed" with the public key, which everyone knows. */
TOKEN_TEST(the_public_key_is_no_secret, true)
{
    for (int key = RSA_A; key <= EC_A; key += EC_A - RSA_A) {
        struct token_keys *signer = load(NULL, path(key, "private"), path(key, "public"));
        struct token_claims claims = alice();
        const char *token = sign(signer, &claims);
        const char *kid = strstr(token, "."); /* the real header, for its kid */
        size_t n;
        char *pem = read_text(path(key, "public"), &n);

        CHECK_INT(verify(signer, forge(HEADER, CLAIMS, EVP_sha256(), pem, n)), ERR_UNAUTHENTICATED);
        unsigned char raw[256];
        int raw_n = EVP_DecodeBlock(
            raw, (unsigned char *)arena_strndup(arena, token, (size_t)(kid - token) / 4 * 4),
            (int)((kid - token) / 4 * 4));
        CHECK(raw_n > 0);
        const char *header = arena_printf(arena, "{\"alg\":\"HS256\",\"typ\":\"JWT\",%.27s}",
                                          strstr((char *)raw, "\"kid\":"));
        CHECK_INT(verify(signer, forge(header, CLAIMS, EVP_sha256(), pem, n)), ERR_UNAUTHENTICATED);
        CHECK_INT(verify(signer, forge(header, CLAIMS, EVP_sha256(), pem, n - 1)),
                  ERR_UNAUTHENTICATED);
        token_keys_free(signer);
    }
}

TOKEN_TEST(rotation, true)
{
    const char *both = arena_printf(arena, " %s , %s", path(EC_A, "public"), path(RSA_A, "public"));
    struct token_keys *before = load(NULL, path(RSA_A, "private"), path(RSA_A, "public"));
    struct token_keys *after = load(NULL, path(EC_A, "private"), both);
    struct token_keys *verifier = load(NULL, NULL, both);
    struct token_keys *stranger = load(NULL, path(EC_B, "private"), NULL);
    struct token_claims claims = alice();
    const char *older = sign(before, &claims), *newer = sign(after, &claims);

    CHECK_INT(verify(verifier, older), 0);
    CHECK_INT(verify(verifier, newer), 0);
    CHECK_INT(verify(after, older), 0);
    CHECK_INT(verify(before, newer), ERR_UNAUTHENTICATED); /* does not know it yet */
    CHECK_INT(verify(verifier, sign(stranger, &claims)), ERR_UNAUTHENTICATED);
    token_keys_free(before);
    token_keys_free(after);
    token_keys_free(verifier);
    token_keys_free(stranger);
}

static void write_file(const char *to, const char *const *from, size_t n, const char *tail)
{
    FILE *out = fopen(to, "we");

    for (size_t i = 0; i < n; i++) {
        char text[8192];
        FILE *in = fopen(from[i], "re");
        fwrite(text, 1, fread(text, 1, sizeof(text), in), out);
        fclose(in);
    }
    fputs(tail, out);
    fclose(out);
}

/* What the i-th private key of the file derives from; "" when there is none. */
static const char *secret_at(const struct token_keys *keys, size_t i)
{
    const void *secret;
    size_t n;

    return token_keys_secret(keys, i, &secret, &n) ? base64url(secret, n) : "";
}

TOKEN_TEST(several_private_keys, true)
{
    const char *list[] = {path(EC_A, "private"), path(EC_A, "public"), path(RSA_A, "private")};
    const char *file = path(9, "private");
    struct token_keys *rsa = load(NULL, path(RSA_A, "private"), path(RSA_A, "public"));
    struct token_keys *ec = load(NULL, path(EC_A, "private"), path(EC_A, "public"));
    struct token_claims claims = alice();

    write_file(file, list, 3, "\n# the end\n");
    struct token_keys *both = load(NULL, file, path(EC_A, "public"));
    CHECK_INT(verify(ec, sign(both, &claims)), 0); /* the first signs */
    CHECK_STR(secret_at(both, 0), secret_at(ec, 0));
    CHECK_STR(secret_at(both, 1), secret_at(rsa, 0));
    CHECK_STR(secret_at(both, 2), "");
    CHECK(strcmp(secret_at(ec, 0), secret_at(rsa, 0)) != 0 && secret_at(ec, 0)[0] != '\0');
    token_keys_free(rsa);
    token_keys_free(ec);
    token_keys_free(both);

    struct token_keys *keys = NULL; /* the second belongs to the public key, but does not sign */
    CHECK(token_keys_load(NULL, file, path(RSA_A, "public"), &keys, problem, 200) == ERR_INVALID);
    write_file(file, list, 1, "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhki\n"); /* cut off */
    CHECK_INT(token_keys_load(NULL, file, NULL, &keys, problem, sizeof(problem)), ERR_INVALID);
    for (size_t n = 16; n <= 17; n++) {
        const char *many[17];
        for (size_t i = 0; i < n; i++) {
            many[i] = path(EC_A, "private");
        }
        write_file(file, many, n, "");
        CHECK_INT(token_keys_load(NULL, file, NULL, &keys, problem, sizeof(problem)),
                  n <= TOKEN_KEYS_MAX ? 0 : ERR_INVALID);
    }
    token_keys_free(keys);
    unlink(file);
}

TOKEN_TEST(wrong_keys, true)
{
    FILE *locked = fopen(path(9, "private"), "we");
    PEM_write_PrivateKey(locked, pkeys[RSA_A], EVP_aes_128_cbc(), (const unsigned char *)"secret",
                         6, NULL, NULL);
    fclose(locked);
    const struct {
        const char *secret, *private, *public;
    } wrong[] = {
        {NULL, NULL, NULL},
        {"", "", ""},
        {"short", NULL, NULL},
        {SECRET, path(RSA_A, "private"), NULL},
        {SECRET, NULL, path(RSA_A, "public")},
        {NULL, "/nowhere/key.pem", NULL},
        {NULL, NULL, "/nowhere/key.pem"},
        {NULL, NULL, " , ,"},
        {NULL, NULL, dir},
        {NULL, path(RSA_A, "public"), NULL},
        {NULL, NULL, path(RSA_A, "private")},
        {NULL, path(RSA_A, "private"), path(RSA_B, "public")},
        {NULL, path(RSA_A, "private"), path(EC_A, "public")},
        {NULL, path(EC_OTHER, "private"), NULL},
        {NULL, path(RSA_SHORT, "private"), NULL},
        {NULL, NULL, path(RSA_SHORT, "public")},
        {NULL, path(9, "private"), NULL}, /* asks nobody for its passphrase */
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct token_keys *keys = NULL;

        problem[0] = '\0';
        CHECK_INT(token_keys_load(wrong[i].secret, wrong[i].private, wrong[i].public, &keys,
                                  problem, sizeof(problem)),
                  ERR_INVALID);
        CHECK(problem[0] != '\0' && problem[strlen(problem) - 1] == '.' && keys == NULL);
    }
    unlink(path(9, "private"));
    token_keys_free(NULL);
}
