// SPDX-License-Identifier: MIT
/*
 * Settings: one row each, read from the environment into a struct.
 *
 * A wrong value stops the start with one sentence that names the setting. Rows of several modules
 * (the skeleton's, the service's) are loaded one after the other. Start-up only, main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum config_type {
    CONFIG_STRING, /* const char * ; "" when unset without a default */
    CONFIG_INT,    /* int64_t, between min and max */
    CONFIG_BOOL,   /* bool; 1/0, true/false, yes/no, on/off */
    CONFIG_RATE,   /* struct config_rate; "count/seconds", "0" is off */
    CONFIG_CHOICE, /* const char *; one of the words in `choices` */
};

struct config_rate {
    int64_t count; /* 0: no limit */
    int64_t seconds;
};

struct config_row {
    const char *name; /* the environment variable */
    enum config_type type;
    size_t offset; /* of the field in the target struct */
    const char
        *fallback;    /* in the same syntax; NULL: must be set (strings: "" is a valid default) */
    int64_t min, max; /* CONFIG_INT */
    const char *choices; /* CONFIG_CHOICE: "debug|release" */
    const char *help;    /* one line */
    bool secret;         /* never printed */
};

/*
 * Fills target. Strings are borrowed from the environment or the rows. On a wrong or missing value
 * returns ERR_INVALID with one sentence in problem. An empty variable counts as unset.
 */
int config_load(const struct config_row *rows, size_t n, void *target, char *problem,
                size_t problem_size);
/* --help: name, default, meaning of each row. */
void config_help(FILE *out, const struct config_row *rows, size_t n);

/* The i-th part of a comma-separated list, trimmed; false past the end. Empty parts are skipped. */
bool config_list_part(const char *list, size_t i, const char **part_out, size_t *len_out);
