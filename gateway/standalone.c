// SPDX-License-Identifier: MIT
/* The gateway and the four services as threads of one process: nothing else to install. */
#include "auth-svc/service.h"
#include "gateway/service.h"
#include "group-svc/service.h"
#include "message-svc/service.h"
#include "presence-svc/service.h"

int main(int argc, char **argv)
{
    /* The gateway last: it is the first to stop. */
    static const struct svc *const services[] = {&auth_svc, &group_svc, &message_svc, &presence_svc,
                                                 &gateway_svc};
    return svc_main(argc, argv, services, sizeof(services) / sizeof(services[0]));
}
