#include "resolver/dns/nsswitch.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"

#define SHOWN_MAX 100 /* bytes of a line in messages */
#define BLANK " \t\r"
#define END "\n#" /* of a line's content, as is the end of the text */

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
        const size_t length = strcspn(actions + begin, " \t=]" END);
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

static bool is_end(char c)
{
    return c == '\0' || strchr(END, c) != NULL;
}

/* Parse what follows "hosts:". */
static void parse_line(const char *at, evener_dns_services *services)
{
    evener_dns_services read = {.hosts = EVENER_DNS_HOSTS_NO};
    bool goes_on = true;
    while (!is_end(*(at += strspn(at, BLANK)))) {
        const char *word = at;
        const size_t bytes = strcspn(at, BLANK "[" END);
        at += bytes;
        at += strspn(at, BLANK);
        const char *actions = *at == '[' ? at + 1 : NULL;
        const size_t action_bytes = actions != NULL ? strcspn(actions, "]" END) : 0;
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
        const char *hosts = line + blank;
        if (blank < bytes && strncmp(hosts, "hosts:", 6) == 0) {
            const size_t shown = strcspn(hosts, END);
            snprintf(services->line, sizeof services->line, "%.*s%s", (int)(shown < SHOWN_MAX ? shown : SHOWN_MAX),
                     hosts, shown > SHOWN_MAX ? "..." : "");
            parse_line(hosts + 6, services);
        }
        line += bytes + (line[bytes] == '\n' ? 1 : 0);
    }
}
