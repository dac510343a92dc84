// SPDX-License-Identifier: MIT
/*
 * Tokens in three steps: the form is checked by hand, since libjwt writes past a buffer when a
 * segment is empty; libjwt takes the token apart (and checks HS256); OpenSSL checks RS256 and
 * ES256. Nothing of the claims is believed before the signature is.
 *
 * libjwt lets the token choose the algorithm, and accepts everything when it has no key. So the
 * algorithm that a key stands for is compared here, and for key files `kid` must name a known key.
 * Encodings of a signature other than the one canonical one are refused.
 */
#include "common/token.h"

#include "common/err.h"
#include "common/log.h"
#include "common/token_impl.h"

#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

enum { LEEWAY_S = 30, ES256_SIZE = 64 };
#define ID_MAX ((INT64_C(1) << 53) - 1)

/* ---- Signing ---- */

static int fill(jwt_t *jwt, const struct token_keys *keys, const struct token_claims *claims)
{
    int error = 0;

    error |= jwt_add_grant(jwt, "iss", TOKEN_ISSUER);
    error |= jwt_add_grant_int(jwt, "iat", claims->issued_at);
    error |= jwt_add_grant_int(jwt, "exp", claims->expires_at);
    error |= jwt_add_grant_int(jwt, "user_id", (long)claims->user_id);
    error |= jwt_add_grant_int(jwt, "sid", (long)claims->session_id);
    error |= jwt_add_grant(jwt, "username", claims->username);
    if (keys->n > 0) {
        error |= jwt_add_header(jwt, "kid", keys->keys[0].kid);
    }
    error |= jwt_set_alg(jwt, keys->alg, keys->secret, keys->secret_size);
    return error;
}

int token_sign(const struct token_keys *keys, const struct token_claims *claims,
               struct arena *arena, const char **token_out)
{
    jwt_t *jwt = NULL;

    if (keys->secret == NULL) {
        return ERR_INVALID;
    }
    if (jwt_new(&jwt) != 0) {
        abort();
    }
    char *text = fill(jwt, keys, claims) == 0 ? jwt_encode_str(jwt) : NULL;
    jwt_free(jwt);
    if (text == NULL) { /* a name that is not UTF-8 */
        log_error("cannot sign a token", "user=%llu", (unsigned long long)claims->user_id);
        return ERR_INTERNAL;
    }
    *token_out = arena_strdup(arena, text);
    free(text);
    return 0;
}

/* ---- Verifying ---- */

static int base64url_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '-'             ? 62
           : c == '_'             ? 63
                                  : -1;
}

/* Finds the two dots of HEADER.CLAIMS.SIGNATURE; false unless the form is right. */
static bool check_form(const char *token, size_t len, size_t dots[2])
{
    size_t found = 0, from = 0;

    if (len > TOKEN_MAX) {
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        if (i < len && token[i] != '.') {
            if (base64url_value(token[i]) < 0) {
                return false;
            }
            continue;
        }
        size_t size = i - from; /* a segment ends here */
        if (size == 0 || size % 4 == 1 || (i < len && found == 2)) {
            return false;
        }
        if (i < len) {
            dots[found++] = i;
        }
        from = i + 1;
    }
    return found == 2;
}

/* RFC 4648 section 5 without padding; false when it doesn't fit or the unused bits aren't 0. */
static bool decode_base64url(const char *s, size_t n, unsigned char *out, size_t cap,
                             size_t *size_out)
{
    unsigned bits = 0, count = 0;
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 6 | (unsigned)base64url_value(s[i]);
        count += 6;
        if (count >= 8) {
            if (size == cap) {
                return false;
            }
            count -= 8;
            out[size++] = (unsigned char)(bits >> count);
            bits &= (1U << count) - 1;
        }
    }
    *size_out = size;
    return bits == 0;
}

/* RFC 7518 section 3.4: two numbers of 32 bytes; OpenSSL takes them in ASN.1. */
static bool es256_to_der(const unsigned char *raw, size_t size, unsigned char *der,
                         size_t *der_size_out)
{
    ECDSA_SIG *pair = size == ES256_SIZE ? ECDSA_SIG_new() : NULL;
    BIGNUM *r = pair != NULL ? BN_bin2bn(raw, ES256_SIZE / 2, NULL) : NULL;
    BIGNUM *s = pair != NULL ? BN_bin2bn(raw + ES256_SIZE / 2, ES256_SIZE / 2, NULL) : NULL;
    bool good = r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1;

    if (good) {
        *der_size_out = (size_t)i2d_ECDSA_SIG(pair, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(pair);
    return good;
}

static bool check_signature(const struct token_keys *keys, const struct public_key *key,
                            const char *token, size_t len, size_t signed_len)
{
    unsigned char raw[TOKEN_SIGNATURE_MAX], der[ES256_SIZE + 16], *signature = raw;
    size_t size;

    if (!decode_base64url(token + signed_len + 1, len - signed_len - 1, raw, sizeof(raw), &size)) {
        return false;
    }
    if (key->alg == JWT_ALG_ES256) {
        if (!es256_to_der(raw, size, der, &size)) {
            return false;
        }
        signature = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, keys->sha256, NULL, key->key) == 1 &&
                EVP_DigestVerify(ctx, signature, size, (const unsigned char *)token, signed_len) ==
                    1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

/* By kid, and NULL when the token names another algorithm than the key's. (jwt_get_alg knows it
 * only after libjwt itself has checked the signature.) */
static const struct public_key *find_key(const struct token_keys *keys, jwt_t *jwt)
{
    const char *kid = jwt_get_header(jwt, "kid"), *alg = jwt_get_header(jwt, "alg");

    for (size_t i = 0; kid != NULL && alg != NULL && i < keys->n; i++) {
        if (strcmp(keys->keys[i].kid, kid) == 0) {
            return strcmp(jwt_alg_str(keys->keys[i].alg), alg) == 0 ? &keys->keys[i] : NULL;
        }
    }
    return NULL;
}

/* All our numbers are positive; of a claim that is no integer libjwt says 0, and errno only of one
 * that is not there. */
static bool get_int(jwt_t *jwt, const char *name, int64_t *value_out)
{
    errno = 0;
    *value_out = jwt_get_grant_int(jwt, name);
    return errno == 0 && *value_out >= 1;
}

static int read_claims(jwt_t *jwt, int64_t now_s, struct token_claims *claims_out)
{
    struct token_claims claims = {0};
    const char *issuer = jwt_get_grant(jwt, "iss"), *username = jwt_get_grant(jwt, "username");
    int64_t user_id, session_id, not_before;

    if (issuer == NULL || strcmp(issuer, TOKEN_ISSUER) != 0 || !get_int(jwt, "user_id", &user_id) ||
        user_id > ID_MAX || !get_int(jwt, "sid", &session_id) || session_id > ID_MAX ||
        !get_int(jwt, "iat", &claims.issued_at) || claims.issued_at > now_s + LEEWAY_S ||
        !get_int(jwt, "exp", &claims.expires_at) || username == NULL || username[0] == '\0' ||
        strlen(username) >= sizeof(claims.username)) {
        return ERR_UNAUTHENTICATED;
    }
    /* Never set by us; RFC 7519 section 4.1.5 has it checked when it is there. */
    if (get_int(jwt, "nbf", &not_before) ? not_before > now_s + LEEWAY_S : errno != ENOENT) {
        return ERR_UNAUTHENTICATED;
    }
    if (now_s >= claims.expires_at) {
        return ERR_TOKEN_EXPIRED;
    }
    claims.user_id = (uint64_t)user_id;
    claims.session_id = (uint64_t)session_id;
    memcpy(claims.username, username, strlen(username));
    *claims_out = claims;
    return 0;
}

int token_verify(const struct token_keys *keys, const char *token, size_t len, int64_t now_s,
                 struct token_claims *claims_out)
{
    char text[TOKEN_MAX + 1];
    size_t dots[2] = {0, 0};
    bool by_secret = keys->n == 0;
    jwt_t *jwt = NULL;

    if (!check_form(token, len, dots)) {
        return ERR_UNAUTHENTICATED;
    }
    memcpy(text, token, len);
    text[len] = '\0';
    if (jwt_decode(&jwt, text, by_secret ? keys->secret : NULL,
                   by_secret ? keys->secret_size : 0) != 0) {
        return ERR_UNAUTHENTICATED;
    }
    int rc = ERR_UNAUTHENTICATED;
    if (by_secret) {
        rc = jwt_get_alg(jwt) == JWT_ALG_HS256 ? 0 : ERR_UNAUTHENTICATED;
    } else {
        const struct public_key *key = find_key(keys, jwt);

        if (key != NULL && check_signature(keys, key, token, len, dots[1])) {
            rc = 0;
        }
    }
    if (rc == 0) {
        rc = read_claims(jwt, now_s, claims_out);
    }
    jwt_free(jwt);
    return rc;
}
