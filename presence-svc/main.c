// SPDX-License-Identifier: MIT
/* presence-svc as a daemon of the suite. */
#include "presence-svc/service.h"

int main(int argc, char **argv)
{
    return svc_main(argc, argv, (const struct svc *const[]){&presence_svc}, 1);
}
