// SPDX-License-Identifier: MIT
/*
 * Keys from settings and files. libjwt gets the text of the private key file as it is and takes the
 * first key in it; OpenSSL parses the public keys once.
 */
#include "common/config.h"
#include "common/err.h"
#include "common/token_impl.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MIN = 32, FILE_MAX = 65536 };

static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1; /* OpenSSL would ask the terminal */
}

/* The whole file with a NUL behind it; NULL when it can't be read, is empty or too long. The caller
 * frees. */
static unsigned char *read_file(const char *path, int *size_out)
{
    FILE *file = fopen(path, "re");
    unsigned char *data = file != NULL ? malloc(FILE_MAX + 1) : NULL;

    if (data != NULL) {
        size_t n = fread(data, 1, FILE_MAX + 1, file);

        if (ferror(file) || n == 0 || n > FILE_MAX) {
            OPENSSL_cleanse(data, n);
            free(data);
            data = NULL;
        } else {
            data[n] = '\0';
            *size_out = (int)n;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return data;
}

static EVP_PKEY *parse_public(const unsigned char *pem, int size)
{
    BIO *bio = BIO_new_mem_buf(pem, size);
    EVP_PKEY *key = NULL;

    if (bio != NULL) {
        key = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
        BIO_free(bio);
    }
    ERR_clear_error();
    return key;
}

/* JWT_ALG_INVAL for keys that the two algorithms don't take. */
static jwt_alg_t alg_of(const EVP_PKEY *key)
{
    char group[32] = "";

    if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048 &&
        EVP_PKEY_get_bits(key) <= TOKEN_SIGNATURE_MAX * 8) {
        return JWT_ALG_RS256;
    }
    if (EVP_PKEY_is_a(key, "EC") &&
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       NULL) == 1 &&
        strcmp(group, "prime256v1") == 0) {
        return JWT_ALG_ES256;
    }
    return JWT_ALG_INVAL;
}

static void make_kid(EVP_PKEY *key, char kid[TOKEN_KID_SIZE])
{
    unsigned char *der = NULL, hash[EVP_MAX_MD_SIZE];
    int size = i2d_PUBKEY(key, &der);

    if (size <= 0 || EVP_Digest(der, (size_t)size, hash, NULL, EVP_sha256(), NULL) != 1) {
        abort(); /* only without memory */
    }
    OPENSSL_free(der);
    for (size_t i = 0; i < (TOKEN_KID_SIZE - 1) / 2; i++) {
        snprintf(kid + 2 * i, 3, "%02x", hash[i]);
    }
}

/* Takes the key over in any case. */
static int add_key(struct token_keys *keys, EVP_PKEY *key, const char *path, char *problem,
                   size_t problem_size)
{
    jwt_alg_t alg = key != NULL ? alg_of(key) : JWT_ALG_INVAL;

    if (key == NULL) {
        snprintf(problem, problem_size, "%s holds no key in PEM without a passphrase, or too many.",
                 path);
    } else if (alg == JWT_ALG_INVAL) {
        snprintf(problem, problem_size,
                 "The key in %s is neither RSA of at least 2048 bits nor on the curve P-256.",
                 path);
    } else if (keys->n == TOKEN_KEYS_MAX) {
        snprintf(problem, problem_size, "There are more than %d public keys.", TOKEN_KEYS_MAX);
    } else {
        struct public_key *at = &keys->keys[keys->n++];

        at->key = key;
        at->alg = alg;
        make_kid(key, at->kid);
        return 0;
    }
    EVP_PKEY_free(key);
    return ERR_INVALID;
}

static int load_public(struct token_keys *keys, const char *list, char *problem,
                       size_t problem_size)
{
    const char *part;
    size_t len;

    for (size_t i = 0; config_list_part(list, i, &part, &len); i++) {
        char path[512];
        int size = 0;

        if ((size_t)snprintf(path, sizeof(path), "%.*s", (int)len, part) >= sizeof(path)) {
            snprintf(problem, problem_size, "The path of a public key is too long.");
            return ERR_INVALID;
        }
        unsigned char *pem = read_file(path, &size);
        if (pem == NULL) {
            snprintf(problem, problem_size,
                     "The public key file %s cannot be read, or is too long.", path);
            return ERR_INVALID;
        }
        int rc = add_key(keys, parse_public(pem, size), path, problem, problem_size);
        free(pem);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* The DER of the next private key of a PEM file; NULL: there is none. Ours to free. */
static unsigned char *next_private(BIO *bio, size_t *size_out)
{
    static const char kind[] = "PRIVATE KEY"; /* "EC PRIVATE KEY" too */
    char *name, *header;
    unsigned char *der;
    long size;

    while (PEM_read_bio(bio, &name, &header, &der, &size) == 1) {
        size_t n = strlen(name);
        bool found = n >= strlen(kind) && strcmp(name + n - strlen(kind), kind) == 0;

        OPENSSL_free(name);
        OPENSSL_free(header);
        if (found) {
            *size_out = (size_t)size;
            return der;
        }
        OPENSSL_free(der);
    }
    return NULL;
}

/* All private keys of the text; first_out: the first of them, parsed. False: one is no good. */
static bool read_private(struct token_keys *keys, BIO *bio, EVP_PKEY **first_out)
{
    struct private_key next;

    while ((next.der = next_private(bio, &next.size)) != NULL) {
        const unsigned char *at = next.der;
        EVP_PKEY *key = keys->private_n < TOKEN_KEYS_MAX
                            ? d2i_AutoPrivateKey(NULL, &at, (long)next.size)
                            : NULL;
        if (key == NULL) {
            OPENSSL_clear_free(next.der, next.size);
            return false;
        }
        keys->private[keys->private_n++] = next;
        if (*first_out == NULL) {
            *first_out = key;
        } else {
            EVP_PKEY_free(key);
        }
    }
    /* The end, rather than a block that is cut off. */
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

/* After the public ones: theirs must begin with this one's. */
static int load_private(struct token_keys *keys, const char *path, char *problem,
                        size_t problem_size)
{
    keys->secret = read_file(path, &keys->secret_size);
    if (keys->secret == NULL) {
        snprintf(problem, problem_size, "The private key file %s cannot be read, or is too long.",
                 path);
        return ERR_INVALID;
    }
    BIO *bio = BIO_new_mem_buf(keys->secret, keys->secret_size);
    EVP_PKEY *key = NULL;
    if (bio == NULL) {
        abort();
    }
    if (!read_private(keys, bio, &key)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (keys->n == 0 || key == NULL) { /* without a list its own public half verifies */
        int rc = add_key(keys, key, path, problem, problem_size);
        if (rc == 0) {
            keys->alg = keys->keys[0].alg;
        }
        return rc;
    }
    bool same = EVP_PKEY_eq(key, keys->keys[0].key) == 1;
    EVP_PKEY_free(key);
    if (!same) {
        snprintf(problem, problem_size,
                 "The first public key file does not belong to the first private key in %s.", path);
        return ERR_INVALID;
    }
    keys->alg = keys->keys[0].alg;
    return 0;
}

static int load_secret(struct token_keys *keys, const char *secret, char *problem,
                       size_t problem_size)
{
    size_t n = strlen(secret);

    if (n < SECRET_MIN) {
        snprintf(problem, problem_size, "JWT_SECRET must have at least %d bytes, it has %zu.",
                 SECRET_MIN, n);
        return ERR_INVALID;
    }
    keys->alg = JWT_ALG_HS256;
    keys->secret = (unsigned char *)strdup(secret);
    keys->secret_size = (int)n;
    if (keys->secret == NULL) {
        abort();
    }
    return 0;
}

int token_keys_load(const char *secret, const char *private_file, const char *public_files,
                    struct token_keys **keys_out, char *problem, size_t problem_size)
{
    bool by_secret = secret != NULL && secret[0] != '\0';
    bool by_private = private_file != NULL && private_file[0] != '\0';
    bool by_public = public_files != NULL && public_files[0] != '\0';
    int rc = 0;

    if (by_secret == (by_private || by_public)) {
        snprintf(problem, problem_size, "Tokens need either a secret or key files.");
        return ERR_INVALID;
    }
    struct token_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL) {
        abort();
    }
    keys->alg = JWT_ALG_INVAL;
    keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (by_secret) {
        rc = load_secret(keys, secret, problem, problem_size);
    }
    if (rc == 0 && by_public) {
        rc = load_public(keys, public_files, problem, problem_size);
    }
    if (rc == 0 && by_private) {
        rc = load_private(keys, private_file, problem, problem_size);
    }
    if (rc == 0 && !by_secret && keys->n == 0) {
        snprintf(problem, problem_size, "The list of public key files is empty.");
        rc = ERR_INVALID;
    }
    if (rc != 0) {
        token_keys_free(keys);
        return rc;
    }
    *keys_out = keys;
    return 0;
}

void token_keys_free(struct token_keys *keys)
{
    if (keys == NULL) {
        return;
    }
    for (size_t i = 0; i < keys->n; i++) {
        EVP_PKEY_free(keys->keys[i].key);
    }
    for (size_t i = 0; i < keys->private_n; i++) {
        OPENSSL_clear_free(keys->private[i].der, keys->private[i].size);
    }
    if (keys->secret != NULL) {
        OPENSSL_cleanse(keys->secret, (size_t)keys->secret_size);
        free(keys->secret);
    }
    EVP_MD_free(keys->sha256);
    free(keys);
}

bool token_keys_secret(const struct token_keys *keys, size_t i, const void **secret_out,
                       size_t *n_out)
{
    bool by_secret = keys->n == 0;

    if (i >= (by_secret ? 1 : keys->private_n)) {
        return false;
    }
    *secret_out = by_secret ? keys->secret : keys->private[i].der;
    *n_out = by_secret ? (size_t)keys->secret_size : keys->private[i].size;
    return true;
}
