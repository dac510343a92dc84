// SPDX-License-Identifier: MIT
/*
 * Keys as token_keys.c loads them and token.c uses them.
 */
#pragma once

#include "common/token.h"

#include <jwt.h>
#include <openssl/evp.h>

enum { TOKEN_KID_SIZE = 17, TOKEN_SIGNATURE_MAX = 1024 /* RSA with 8,192 bits */ };

struct public_key {
    EVP_PKEY *key;
    jwt_alg_t alg;
    char kid[TOKEN_KID_SIZE];
};

struct private_key {
    unsigned char *der; /* OpenSSL's memory */
    size_t size;
};

struct token_keys {
    jwt_alg_t alg;         /* of tokens that are signed here */
    unsigned char *secret; /* HS256: the secret; else private_file's text; NULL: cannot sign */
    int secret_size;
    struct private_key private[TOKEN_KEYS_MAX]; /* the first signs, as libjwt takes the first */
    size_t private_n;
    struct public_key keys[TOKEN_KEYS_MAX]; /* RS256, ES256; the first belongs to the private key */
    size_t n;
    EVP_MD *sha256;
};
