#include "resolver/dns/resolv_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"
#include "resolver/dns/name.h"

#define NDOTS 1
#define NDOTS_MAX 15 /* resolv.conf(5), as the next two */
#define TIMEOUT_S_MAX 30
#define ATTEMPTS_MAX 5
#define LOCAL_SERVER "127.0.0.1:53" /* glibc's, where no line names one */
#define WORD_BYTES 320

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copy the next word of a line to `word` and advance `*at`. A word that does not fit is cut. False at the end. */
static bool next_word(const char **at, const char *end, char word[WORD_BYTES])
{
    size_t bytes = 0;
    while (*at < end && is_blank(**at)) {
        (*at)++;
    }
    while (*at < end && !is_blank(**at)) {
        if (bytes + 1 < WORD_BYTES) {
            word[bytes++] = **at;
        }
        (*at)++;
    }
    word[bytes] = '\0';
    return bytes > 0;
}

static void note_problem(evener_dns_resolv_conf *conf, size_t line, const char *text, const char *reason)
{
    char shown[64];
    size_t i = 0;
    if (conf->problem[0] != '\0') {
        return;
    }
    for (; text[i] != '\0' && i + 1 < sizeof shown; i++) {
        shown[i] = (unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f ? '?' : text[i];
    }
    shown[i] = '\0';
    snprintf(conf->problem, sizeof conf->problem, "line %zu: \"%s\" is ignored: %.70s", line, shown, reason);
}

/* ---- lines ---- */

static void add_server(evener_dns_resolv_conf *conf, size_t *count, size_t line, const char *word)
{
    char one[EVENER_DNS_SERVERS_BYTES_MAX];
    evener_status status;
    if (*count == EVENER_DNS_SYSTEM_SERVERS_MAX) {
        note_problem(conf, line, word, "at most 3 servers are used");
        return;
    }
    if (strpbrk(word, ",[") != NULL || evener_dns_servers_parse(word, one, &status) != EVENER_STATUS_OK) {
        char bracketed[WORD_BYTES + 4];
        snprintf(bracketed, sizeof bracketed, "[%.200s]:53", word);
        const char *reason = strchr(word, ':') != NULL ? evener_dns_server_problem(bracketed) : NULL;
        note_problem(conf, line, word, reason != NULL ? reason : "it is not an IP address");
        return;
    }
    size_t used = strlen(conf->servers);
    if (used + strlen(one) + 2 <= sizeof conf->servers) {
        if (used > 0) {
            conf->servers[used++] = ',';
        }
        memcpy(conf->servers + used, one, strlen(one) + 1);
        (*count)++;
    }
}

static void add_search(evener_dns_resolv_conf *conf, size_t line, const char *word)
{
    const size_t bytes = strlen(word);
    const bool root = strcmp(word, ".") == 0;
    if (conf->search_count == EVENER_DNS_SEARCH_MAX) {
        note_problem(conf, line, word, "at most 32 search domains are used");
    } else if (!root && evener_dns_name_problem(word) != NULL) {
        note_problem(conf, line, word, "it is not a domain");
    } else {
        const size_t kept = root ? 0 : bytes - (word[bytes - 1] == '.' ? 1 : 0);
        char *domain = conf->search[conf->search_count++];
        memcpy(domain, word, kept);
        domain[kept] = '\0';
    }
}

static void read_search(evener_dns_resolv_conf *conf, size_t line, const char *at, const char *end, bool first_only)
{
    char word[WORD_BYTES];
    const char *first = at;
    if (!next_word(&first, end, word)) {
        return; /* as glibc: an empty line is none */
    }
    conf->search_count = 0; /* the last `search` or `domain` line counts */
    while (next_word(&at, end, word)) {
        add_search(conf, line, word);
        if (first_only) {
            break;
        }
    }
}

static bool read_number(const char *word, const char *key, uint32_t minimum, uint32_t maximum, uint32_t *value)
{
    const size_t bytes = strlen(key);
    if (strncmp(word, key, bytes) != 0) {
        return false;
    }
    uint64_t number = 0;
    const char *digits = word + bytes;
    if (*digits < '0' || *digits > '9') {
        return true; /* as glibc: not a number counts as absent */
    }
    for (; *digits >= '0' && *digits <= '9' && number <= maximum; digits++) {
        number = number * 10 + (uint64_t)(*digits - '0');
    }
    *value = number > maximum ? maximum : number < minimum ? minimum : (uint32_t)number;
    return true;
}

static void read_options(evener_dns_resolv_conf *conf, const char *at, const char *end)
{
    char word[WORD_BYTES] = "";
    while (next_word(&at, end, word)) {
        if (read_number(word, "ndots:", 0, NDOTS_MAX, &conf->ndots) ||
            read_number(word, "timeout:", 1, TIMEOUT_S_MAX, &conf->timeout_s) ||
            read_number(word, "attempts:", 1, ATTEMPTS_MAX, &conf->attempts)) {
            continue;
        }
        conf->rotate = conf->rotate || strcmp(word, "rotate") == 0;
        conf->use_vc = conf->use_vc || strcmp(word, "use-vc") == 0;
        conf->no_aaaa = conf->no_aaaa || strcmp(word, "no-aaaa") == 0;
        conf->no_tld_query = conf->no_tld_query || strcmp(word, "no-tld-query") == 0;
    }
}

static void read_line(evener_dns_resolv_conf *conf, size_t line, const char *at, const char *end, size_t *servers,
                      bool *searched)
{
    char word[WORD_BYTES];
    if (at == end || *at == '#' || *at == ';' || is_blank(*at) || !next_word(&at, end, word)) {
        return; /* resolv.conf(5): the keyword starts the line */
    }
    if (strcmp(word, "nameserver") == 0 && next_word(&at, end, word)) {
        add_server(conf, servers, line, word);
    } else if (strcmp(word, "search") == 0 || strcmp(word, "domain") == 0) {
        read_search(conf, line, at, end, word[0] == 'd');
        *searched = *searched || conf->search_count > 0;
    } else if (strcmp(word, "options") == 0) {
        read_options(conf, at, end);
    }
}

void evener_dns_resolv_conf_parse(const char *text, const evener_dns_environment *environment,
                                  evener_dns_resolv_conf *conf)
{
    size_t servers = 0;
    size_t line = 0;
    bool searched = false;
    memset(conf, 0, sizeof *conf);
    conf->ndots = NDOTS;
    for (const char *at = text; *at != '\0';) {
        const char *end = at + strcspn(at, "\n");
        read_line(conf, ++line, at, end, &servers, &searched);
        at = *end == '\n' ? end + 1 : end;
    }
    if (environment->local_domain != NULL) {
        conf->search_count = 0;
        read_search(conf, 0, environment->local_domain, environment->local_domain + strlen(environment->local_domain),
                    false);
    } else if (!searched && environment->hostname != NULL && strchr(environment->hostname, '.') != NULL) {
        const char *domain = strchr(environment->hostname, '.') + 1;
        read_search(conf, 0, domain, domain + strlen(domain), true);
    }
    if (environment->res_options != NULL) {
        read_options(conf, environment->res_options, environment->res_options + strlen(environment->res_options));
    }
    if (servers == 0) {
        snprintf(conf->servers, sizeof conf->servers, "%s", LOCAL_SERVER);
    }
}

/* ---- candidates ---- */

static void add_candidate(evener_dns_candidates *candidates, const char *name, const char *domain)
{
    char *candidate = candidates->names[candidates->count];
    const int bytes =
        snprintf(candidate, sizeof candidates->names[0], "%s%s%s", name, domain[0] != '\0' ? "." : "", domain);
    if (bytes < 0 || (size_t)bytes >= EVENER_DNS_NAME_BYTES_MAX) {
        return; /* longer than a name can be */
    }
    for (size_t i = 0; i < candidates->count; i++) {
        if (strcasecmp_l(candidates->names[i], candidate, evener_c_locale()) == 0) {
            return;
        }
    }
    candidates->count++;
}

bool evener_dns_candidates_make(const evener_dns_resolv_conf *conf, const char *name, bool absolute,
                                evener_dns_candidates *candidates)
{
    char own[EVENER_DNS_NAME_BYTES_MAX + 1];
    uint32_t dots = 0;
    snprintf(own, sizeof own, "%s", name);
    const size_t bytes = strlen(own);
    if (bytes > 0 && own[bytes - 1] == '.') {
        own[bytes - 1] = '\0';
        absolute = true;
    }
    for (const char *at = own; *at != '\0'; at++) {
        dots += *at == '.' ? 1 : 0;
    }
    *candidates = (evener_dns_candidates){.names = calloc(conf->search_count + 2, sizeof candidates->names[0])};
    if (candidates->names == NULL) {
        return false;
    }
    if (absolute || dots >= conf->ndots) {
        add_candidate(candidates, own, "");
    }
    for (size_t i = 0; i < conf->search_count && !absolute; i++) {
        add_candidate(candidates, own, conf->search[i]);
    }
    if (!absolute && (dots > 0 || !conf->no_tld_query || candidates->count == 0)) {
        add_candidate(candidates, own, "");
    }
    return true;
}

void evener_dns_candidates_clear(evener_dns_candidates *candidates)
{
    free(candidates->names);
    *candidates = (evener_dns_candidates){.names = NULL};
}
