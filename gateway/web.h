// SPDX-License-Identifier: MIT
/*
 * The files of gateway/web/, which the program holds and serves as they are: a row of routes.c
 * gives each its path. web_files.c is made of the folder by the Makefile. Any thread.
 */
#pragma once

#include <stddef.h>

struct web_file {
    const char *name; /* "docs.html"; NULL: the end of the list */
    const char *tag;  /* its ETag, quoted: of the content alone, so the same on every gateway */
    const unsigned char *data;
    size_t len;
};

extern const struct web_file web_files[];

const struct web_file *web_find(const char *name); /* NULL: there is none */
const char *web_type(const char *name);            /* Content-Type, by the name's ending */
const char *web_policy(const char *name);          /* Content-Security-Policy; NULL: no page */
