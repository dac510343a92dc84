// SPDX-License-Identifier: MIT
#include "gateway/monitor.h"

#include "common/config.h"

#include <string.h>

bool monitor_is_admin(const struct gateway *gw, const char *username)
{
    const char *part;
    size_t len;
    for (size_t i = 0; config_list_part(gw->settings->admin_users, i, &part, &len); i++) {
        if (strlen(username) == len && memcmp(part, username, len) == 0) {
            return true;
        }
    }
    return false;
}

void monitor_system(struct rest *rest)
{
    rest_reply_json(rest, "{}", 2);
}

void monitor_connections(struct rest *rest)
{
    rest_reply_json(rest, "{}", 2);
}
