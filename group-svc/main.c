// SPDX-License-Identifier: MIT
/* group-svc as a daemon of the suite. */
#include "group-svc/service.h"

int main(int argc, char **argv)
{
    return svc_main(argc, argv, (const struct svc *const[]){&group_svc}, 1);
}
