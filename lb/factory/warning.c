#include "lb/factory/warning.h"

#include <stdio.h>
#include <string.h>

#include <evener/loop.h>

#define PAUSE_NS (60 * EVENER_NS_PER_S)
#define PAUSE_NS_MAX (3600 * EVENER_NS_PER_S)

bool evener_factory_warning_is_due(evener_factory_warning *warning, const char *reason, uint64_t now_ns)
{
    const bool is_news = strcmp(reason, warning->warned_of) != 0;
    if (!is_news && now_ns - warning->warned_ns < warning->pause_ns) {
        return false;
    }
    const uint64_t longer_ns = 2 * warning->pause_ns;
    warning->pause_ns = is_news ? PAUSE_NS : longer_ns < PAUSE_NS_MAX ? longer_ns : PAUSE_NS_MAX;
    warning->warned_ns = now_ns;
    (void)snprintf(warning->warned_of, sizeof warning->warned_of, "%s", reason);
    return true;
}

void evener_factory_warning_clear(evener_factory_warning *warning)
{
    warning->warned_of[0] = '\0';
}
