// SPDX-License-Identifier: MIT
/*
 * message-svc as a program of its own.
 */
#include "message-svc/service.h"

int main(int argc, char **argv)
{
    return svc_main(argc, argv, (const struct svc *const[]){&message_svc}, 1);
}
