// SPDX-License-Identifier: MIT
/*
 * One function a field. The reasons name the bound, so that a form can show them as they are.
 */
#include "auth-svc/rules.h"

#include "auth-svc/text.h"
#include "common/text.h"

#include <ctype.h>
#include <string.h>

enum {
    NICKNAME_CHARACTERS = 64,
    BIO_CHARACTERS = 500,
    EMAIL_BYTES = 254,
    EMAIL_LOCAL_BYTES = 64,
    LABEL_BYTES = 63,
};

const char *auth_rules_check_password(const void *text, size_t n)
{
    (void)text;
    return n < AUTH_RULES_PASSWORD_MIN || n > AUTH_RULES_PASSWORD_MAX ? "must have 8 to 128 bytes"
                                                                      : NULL;
}

const char *auth_rules_check_nickname(const void *text, size_t n)
{
    size_t characters;

    if (n > (size_t)NICKNAME_CHARACTERS * 4) {
        return "must have at most 64 characters";
    }
    if (!text_is_valid(text, n, TEXT_NAME, &characters)) {
        return "must be one line of UTF-8 without control and invisible characters";
    }
    return characters > NICKNAME_CHARACTERS ? "must have at most 64 characters" : NULL;
}

const char *auth_rules_check_bio(const void *text, size_t n)
{
    size_t characters;

    if (n > (size_t)BIO_CHARACTERS * 4) {
        return "must have at most 500 characters";
    }
    if (!auth_text_count_characters(AUTH_TEXT_LINES, text, n, &characters)) {
        return "must be UTF-8 without control characters";
    }
    return characters > BIO_CHARACTERS ? "must have at most 500 characters" : NULL;
}

static bool is_mail_character(unsigned char c)
{
    return isalnum(c) || c >= 0x80 || (c != '\0' && strchr("!#$%&'*+/=?^_`{|}~-.", c) != NULL);
}

/* Labels of letters, digits and hyphens, which do not stand at their ends; dots between. */
static bool is_domain(const char *text, size_t n)
{
    size_t label = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '.') {
            if (label == 0 || text[i - 1] == '-') {
                return false;
            }
            label = 0;
            continue;
        }
        label++;
        if (label > LABEL_BYTES || (!isalnum(c) && c < 0x80 && (c != '-' || label == 1))) {
            return false;
        }
    }
    return label > 0 && text[n - 1] != '-';
}

const char *auth_rules_check_email(const void *text, size_t n)
{
    const char *s = text;
    size_t characters;

    if (n == 0) {
        return NULL;
    }
    if (n > EMAIL_BYTES) {
        return "must have at most 254 bytes";
    }
    const char *at = memchr(s, '@', n);
    size_t local = at == NULL ? 0 : (size_t)(at - s);
    bool good = local > 0 && local <= EMAIL_LOCAL_BYTES &&
                auth_text_count_characters(AUTH_TEXT_NAME, text, n, &characters) &&
                is_domain(at + 1, n - local - 1);
    for (size_t i = 0; good && i < local; i++) {
        good = is_mail_character((unsigned char)s[i]);
    }
    return good ? NULL : "must be an e-mail address";
}

const char *auth_rules_check_device(const void *text, size_t n)
{
    if (n > AUTH_RULES_DEVICE_MAX) {
        return "must have at most 200 bytes";
    }
    return text_is_valid(text, n, TEXT_NAME, NULL)
               ? NULL
               : "must be one line of UTF-8 without control and invisible characters";
}
