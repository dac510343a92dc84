// SPDX-License-Identifier: MIT
/*
 * A fuzz target is one file with LLVMFuzzerTestOneInput: linked with libFuzzer by `make fuzz`, with
 * replay.c for `make test`. What must hold for every input is said with MUST, which aborts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
