// SPDX-License-Identifier: MIT
#include "gateway/service.h"

int main(int argc, char **argv)
{
    return svc_main(argc, argv, (const struct svc *const[]){&gateway_svc}, 1);
}
