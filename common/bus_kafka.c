// SPDX-License-Identifier: MIT
/*
 * Stands in until the bus over Kafka is there.
 */
#include "common/bus_impl.h"
#include "common/err.h"

#include <stdio.h>

int bus_kafka_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
                   char *problem, size_t problem_size)
{
    (void)loop;
    (void)options;
    (void)bus_out;
    snprintf(problem, problem_size, "the bus over Kafka is not built yet");
    return ERR_INVALID;
}
