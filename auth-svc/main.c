// SPDX-License-Identifier: MIT
/*
 * auth-svc as a daemon of its own. Everything is in service.c's tables and the skeleton.
 */
#include "auth-svc/service.h"

int main(int argc, char **argv)
{
    return svc_main(argc, argv, (const struct svc *const[]){&auth_svc}, 1);
}
