// SPDX-License-Identifier: MIT
/*
 * The bytes: session id (8, big-endian), generation (4), HMAC (32). The MAC covers a label before
 * the numbers, so that the key can never be made to sign something else.
 */
#include "auth-svc/refresh.h"

#include "common/err.h"

#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

enum {
    NUMBERS = 12,
    MAC = crypto_auth_hmacsha256_BYTES,
    BYTES = NUMBERS + MAC,
    VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING,
};

static_assert(AUTH_REFRESH_TEXT_SIZE == sodium_base64_ENCODED_LEN(BYTES, VARIANT), "text size");
static_assert(AUTH_REFRESH_KEY_BYTES == crypto_auth_hmacsha256_KEYBYTES, "HMAC key");
static_assert(AUTH_REFRESH_KEY_BYTES == crypto_kdf_KEYBYTES, "KDF key");

/* Extract, then expand: BLAKE2b makes the text of any length a key, libsodium's KDF a subkey. */
void auth_refresh_add_key(struct auth_refresh_keys *keys, const void *secret, size_t n)
{
    uint8_t master[crypto_kdf_KEYBYTES];

    assert(keys->n < AUTH_REFRESH_KEYS_MAX);
    crypto_generichash(master, sizeof(master), secret, n, NULL, 0);
    crypto_kdf_derive_from_key(keys->at[keys->n++], AUTH_REFRESH_KEY_BYTES, 1, "refresh.", master);
    sodium_memzero(master, sizeof(master));
}

static void put_numbers(const struct auth_refresh_token *token, uint8_t out[NUMBERS])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(token->session_id >> (56 - 8 * i));
    }
    for (int i = 0; i < 4; i++) {
        out[8 + i] = (uint8_t)(token->generation >> (24 - 8 * i));
    }
}

static void make_mac(const uint8_t *key, const uint8_t numbers[NUMBERS], uint8_t mac_out[MAC])
{
    static const uint8_t label[] = "refresh-1";
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key, AUTH_REFRESH_KEY_BYTES);
    crypto_auth_hmacsha256_update(&state, label, sizeof(label));
    crypto_auth_hmacsha256_update(&state, numbers, NUMBERS);
    crypto_auth_hmacsha256_final(&state, mac_out);
}

void auth_refresh_write_text(const struct auth_refresh_keys *keys,
                             const struct auth_refresh_token *token,
                             char text_out[AUTH_REFRESH_TEXT_SIZE])
{
    uint8_t bytes[BYTES];

    put_numbers(token, bytes);
    make_mac(keys->at[0], bytes, bytes + NUMBERS);
    sodium_bin2base64(text_out, AUTH_REFRESH_TEXT_SIZE, bytes, BYTES, VARIANT);
}

static bool is_ours(const struct auth_refresh_keys *keys, const uint8_t bytes[BYTES])
{
    for (size_t i = 0; i < keys->n; i++) {
        uint8_t mac[MAC];
        make_mac(keys->at[i], bytes, mac);
        if (sodium_memcmp(mac, bytes + NUMBERS, MAC) == 0) {
            return true;
        }
    }
    return false;
}

int auth_refresh_read_text(const struct auth_refresh_keys *keys, const void *text, size_t n,
                           struct auth_refresh_token *token_out)
{
    uint8_t bytes[BYTES];
    size_t len = 0;

    if (n != AUTH_REFRESH_TEXT_SIZE - 1 ||
        sodium_base642bin(bytes, BYTES, text, n, NULL, &len, NULL, VARIANT) != 0 || len != BYTES) {
        return ERR_UNAUTHENTICATED;
    }
    if (!is_ours(keys, bytes)) {
        return ERR_UNAUTHENTICATED;
    }
    struct auth_refresh_token token = {0};
    for (int i = 0; i < 8; i++) {
        token.session_id = token.session_id << 8 | bytes[i];
    }
    for (int i = 0; i < 4; i++) {
        token.generation = token.generation << 8 | bytes[8 + i];
    }
    *token_out = token;
    return 0;
}
