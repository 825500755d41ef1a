#include "resolver/dns/nsswitch.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"

#define LINE_BYTES 256

static bool is_word(const char *text, size_t bytes, const char *word)
{
    return bytes == strlen(word) && strncasecmp_l(text, word, bytes, evener_c_locale()) == 0;
}

/* Return whether actions ("NOTFOUND=return !UNAVAIL=return") end the search where a service does not have the name. */
static bool returns_if_not_found(const char *actions, size_t bytes)
{
    static const char separators[] = " \t=";
    bool returns = false;
    bool applies = false; /* of the status before the '=' */
    bool is_status = true;
    for (size_t at = 0; at < bytes;) {
        const size_t begin = at + strspn(actions + at, separators);
        const size_t length = strcspn(actions + begin, " \t=]");
        if (begin >= bytes || length == 0) {
            break;
        }
        if (is_status) {
            const bool negated = actions[begin] == '!';
            const bool names = is_word(actions + begin + negated, length - negated, "NOTFOUND");
            applies = names != negated;
        } else if (applies) {
            returns = is_word(actions + begin, length, "return");
        }
        is_status = !is_status;
        at = begin + length;
    }
    return returns;
}

/* Add a service, and what follows it in brackets (`actions` NULL: nothing). Return whether the search may go on. */
static bool add_service(evener_dns_services *services, const char *word, size_t bytes, const char *actions,
                        size_t action_bytes)
{
    const bool goes_on = actions == NULL || !returns_if_not_found(actions, action_bytes);
    if (is_word(word, bytes, "files")) {
        if (services->hosts == EVENER_DNS_HOSTS_NO) {
            services->hosts = services->dns ? EVENER_DNS_HOSTS_LAST : EVENER_DNS_HOSTS_FIRST;
        }
        return goes_on;
    }
    if (is_word(word, bytes, "resolve")) {
        services->hosts = services->hosts == EVENER_DNS_HOSTS_NO ? EVENER_DNS_HOSTS_FIRST : services->hosts;
        services->dns = true;
        return goes_on;
    }
    if (is_word(word, bytes, "dns")) {
        services->dns = true;
        return goes_on;
    }
    return true;
}

static void parse_line(const char *at, evener_dns_services *services)
{
    evener_dns_services read = {.hosts = EVENER_DNS_HOSTS_NO};
    bool goes_on = true;
    while (*(at += strspn(at, " \t\r")) != '\0') {
        const char *word = at;
        const size_t bytes = strcspn(at, " \t\r[");
        at += bytes;
        at += strspn(at, " \t\r");
        const char *actions = *at == '[' ? at + 1 : NULL;
        const size_t action_bytes = actions != NULL ? strcspn(actions, "]") : 0;
        if (actions != NULL) {
            at = actions + action_bytes + (actions[action_bytes] == ']' ? 1 : 0);
        }
        if (goes_on) {
            goes_on = add_service(&read, word, bytes, actions, action_bytes);
        } else if (read.dns && read.hosts == EVENER_DNS_HOSTS_NO && is_word(word, bytes, "files")) {
            read.hosts = EVENER_DNS_HOSTS_UNAVAILABLE; /* "dns [!UNAVAIL=return] files" */
        }
    }
    if (read.hosts != EVENER_DNS_HOSTS_NO || read.dns) {
        services->hosts = read.hosts;
        services->dns = read.dns;
    }
}

void evener_dns_services_parse(const char *text, evener_dns_services *services)
{
    *services = (evener_dns_services){.hosts = EVENER_DNS_HOSTS_FIRST, .dns = true};
    for (const char *line = text; *line != '\0';) {
        const size_t bytes = strcspn(line, "\n");
        const size_t blank = strspn(line, " \t");
        if (blank < bytes && strncmp(line + blank, "hosts:", 6) == 0) {
            char copy[LINE_BYTES];
            const size_t rest = bytes - blank;
            snprintf(copy, sizeof copy, "%.*s", (int)(rest < LINE_BYTES ? rest : LINE_BYTES - 1), line + blank);
            copy[strcspn(copy, "#")] = '\0';
            snprintf(services->line, sizeof services->line, "%.100s", copy);
            parse_line(copy + 6, services);
        }
        line += bytes + (line[bytes] == '\n' ? 1 : 0);
    }
}
