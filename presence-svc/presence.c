// SPDX-License-Identifier: MIT
/* The environment's metrics and teller. */
#include "presence-svc/presence.h"

#include "common/metrics.h"

void presence_env_init(struct presence_env *env, presence_send_fn send, void *arg)
{
    static const char changes[] = "chat_presence_changes_total";
    static const char changes_help[] = "Users who went online or offline.";

    env->teller = presence_teller_new(send, arg);
    env->online =
        metrics_gauge("chat_presence_online_users", "Users online, of all gateways.", NULL);
    env->to_online = metrics_counter(changes, changes_help, "status=\"online\"");
    env->to_offline = metrics_counter(changes, changes_help, "status=\"offline\"");
    env->again = metrics_counter("chat_presence_told_again_total",
                                 "Changes told again for want of an acknowledgement.", NULL);
    env->ended = metrics_counter("chat_presence_gateways_ended_total",
                                 "Gateways that said goodbye or whose leases ran out.", NULL);
}

void presence_env_done(struct presence_env *env)
{
    presence_teller_free(env->teller);
}
