#include "resolver/dns/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "resolver/dns/hosts_file.h"
#include "resolver/dns/nsswitch.h"
#include "resolver/dns/order.h"
#include "resolver/file_read.h"

#define FILE_BYTES_MAX 33554432
#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define NSSWITCH "/etc/nsswitch.conf"

struct evener_dns_system {
    evener_file_state resolv_conf_state, hosts_state, nsswitch_state;
    evener_dns_resolv_conf conf;
    evener_dns_hosts *hosts; /* NULL: not read yet */
    evener_dns_services services;
    bool known; /* conf and services are */
};

/* ---- the files ---- */

/* Read a file that has changed since `*state`. NULL: it has not, or it cannot be read now, and what was read before holds.
 * A missing file is an empty text, as is one that cannot be read the first time. To be freed. */
static char *read_changed(const char *path, evener_file_state *state, bool first)
{
    const evener_file_state now = evener_file_state_of(path);
    if (!first && evener_file_state_same(&now, state)) {
        return NULL;
    }
    char *text;
    size_t bytes;
    bool torn;
    evener_status status;
    const evener_status_code code = evener_file_read(path, FILE_BYTES_MAX, &text, &bytes, state, &torn, &status);
    if (code == EVENER_STATUS_OK) {
        if (torn) {
            *state = (evener_file_state){.bytes = 0}; /* read again next time */
        }
        return text;
    }
    if (code != EVENER_STATUS_NOT_FOUND) {
        evener_log(EVENER_LOG_WARNING, "resolver", "dns: %s", status.message);
    }
    *state = (evener_file_state){.bytes = 0}; /* read again next time */
    return first || code == EVENER_STATUS_NOT_FOUND ? strdup("") : NULL;
}

static void read_files(evener_dns_system *system)
{
    char *text = read_changed(RESOLV_CONF, &system->resolv_conf_state, !system->known);
    if (text != NULL) {
        char hostname[256] = "";
        char before[sizeof system->conf.problem];
        (void)gethostname(hostname, sizeof hostname - 1);
        const evener_dns_environment environment = {getenv("LOCALDOMAIN"), getenv("RES_OPTIONS"), hostname};
        memcpy(before, system->conf.problem, sizeof before);
        evener_dns_resolv_conf_parse(text, &environment, &system->conf);
        if (system->conf.problem[0] != '\0' && strcmp(before, system->conf.problem) != 0) {
            evener_log(EVENER_LOG_WARNING, "resolver", RESOLV_CONF ": %s", system->conf.problem);
        }
        free(text);
    }
    text = read_changed(NSSWITCH, &system->nsswitch_state, !system->known);
    if (text != NULL) {
        evener_dns_services_parse(text, &system->services);
        free(text);
    }
    system->known = true;
    text = read_changed(HOSTS, &system->hosts_state, system->hosts == NULL);
    if (text != NULL) {
        evener_dns_hosts *hosts = evener_dns_hosts_create(text);
        free(text);
        if (hosts != NULL) {
            evener_dns_hosts_destroy(system->hosts);
            system->hosts = hosts;
        } else {
            system->hosts_state = (evener_file_state){.bytes = 0};
        }
    }
}

/* ---- answers without DNS ---- */

struct found {
    evener_dns_answer *answers;
    bool whole;
};

static bool add_local(void *arg, const char *address)
{
    struct found *found = arg;
    evener_dns_record *record;
    found->whole = evener_dns_answer_add(&found->answers[strchr(address, ':') != NULL ? 1 : 0], address, &record);
    return found->whole;
}

/* "localhost" and names below are this machine (RFC 6761 section 6.3), unless the hosts file has them. */
static bool is_localhost(const char *name)
{
    static const char localhost[] = "localhost";
    size_t bytes = strlen(name);
    bytes -= bytes > 0 && name[bytes - 1] == '.' ? 1 : 0;
    const size_t own = sizeof localhost - 1;
    return bytes >= own && strncasecmp_l(name + bytes - own, localhost, own, evener_c_locale()) == 0 &&
           (bytes == own || name[bytes - own - 1] == '.');
}

static bool answer_locally(const evener_dns_hosts *hosts, const char *name, bool direct, evener_dns_plan *plan)
{
    struct found found = {plan->local, true};
    const char *source = "hosts file";
    plan->is_local = hosts != NULL && !direct && evener_dns_hosts_find(hosts, name, add_local, &found);
    if (!plan->is_local && is_localhost(name)) {
        plan->is_local = true;
        source = "localhost";
        (void)(add_local(&found, "127.0.0.1") && add_local(&found, "::1"));
    }
    for (int i = 0; i < 2 && plan->is_local; i++) {
        evener_dns_answer *answer = &plan->local[i];
        answer->nothing = answer->record_count == 0 ? "NODATA" : NULL;
        snprintf(answer->source, sizeof answer->source, "%s", source);
        evener_dns_order(answer);
    }
    if (strcmp(source, "localhost") == 0 && !plan->local[1].reachable) {
        evener_dns_answer_clear(&plan->local[1]); /* this machine has no IPv6 */
        plan->local[1].nothing = "NODATA";
    }
    return found.whole;
}

/* ---- plans ---- */

static void set_times(const evener_dns_resolv_conf *conf, const evener_dns_options *options, evener_dns_plan *plan)
{
    size_t servers = 1;
    for (const char *at = strchr(plan->servers, ','); at != NULL; at = strchr(at + 1, ',')) {
        servers++;
    }
    plan->tries = options->tries_set || conf->attempts == 0 ? options->tries : conf->attempts;
    plan->timeout_ms = options->timeout_ms;
    if (!options->timeout_set && conf->timeout_s != 0) {
        plan->try_ms = UINT64_C(1000) * conf->timeout_s;
        plan->timeout_ms = plan->try_ms * plan->tries * servers;
    }
}

static bool make_plan(const evener_dns_resolv_conf *conf, const evener_dns_services *services,
                      const evener_dns_hosts *hosts, const char *name, bool host, const evener_dns_options *options,
                      evener_dns_plan *plan)
{
    const bool asks_first = services->hosts == EVENER_DNS_HOSTS_LAST || services->hosts == EVENER_DNS_HOSTS_UNAVAILABLE;
    const bool own_servers = options->servers[0] != '\0';
    memcpy(plan->servers, own_servers ? options->servers : conf->servers, sizeof plan->servers);
    plan->rotate = conf->rotate && !options->direct;
    plan->use_tcp = conf->use_vc && !options->direct;
    plan->no_aaaa = conf->no_aaaa && !options->direct;
    if (host && !answer_locally(services->hosts != EVENER_DNS_HOSTS_NO ? hosts : NULL, name, options->direct, plan)) {
        return false;
    }
    if (plan->is_local && asks_first && !is_localhost(name)) {
        plan->is_local = false;
        plan->then_local = services->hosts == EVENER_DNS_HOSTS_LAST ? EVENER_DNS_THEN_LOCAL : EVENER_DNS_IF_UNAVAILABLE;
    }
    if (plan->is_local) {
        return true;
    }
    if (!services->dns && !own_servers) {
        evener_status_set(&plan->status, EVENER_STATUS_UNAVAILABLE,
                          "the hosts file has no such name, and " NSSWITCH " says \"%s\": DNS is not asked",
                          services->line);
        return true;
    }
    static const evener_dns_resolv_conf neutral = {.ndots = 1};
    const evener_dns_resolv_conf *times = options->direct ? &neutral : conf;
    set_times(times, options, plan);
    return evener_dns_candidates_make(conf, name, options->direct || options->absolute, &plan->names);
}

bool evener_dns_system_plan(evener_dns_system *system, const evener_dns_texts *texts, const char *name, bool host,
                            const evener_dns_options *options, evener_dns_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    if (texts == NULL) {
        read_files(system);
        return make_plan(&system->conf, &system->services, system->hosts, name, host, options, plan);
    }
    evener_dns_services services;
    evener_dns_resolv_conf *conf = malloc(sizeof *conf);
    evener_dns_hosts *hosts = evener_dns_hosts_create(texts->hosts != NULL ? texts->hosts : "");
    bool made = false;
    if (conf != NULL && hosts != NULL) {
        evener_dns_resolv_conf_parse(texts->resolv_conf != NULL ? texts->resolv_conf : "", &texts->environment, conf);
        evener_dns_services_parse(texts->nsswitch != NULL ? texts->nsswitch : "", &services);
        made = make_plan(conf, &services, hosts, name, host, options, plan);
    }
    evener_dns_hosts_destroy(hosts);
    free(conf);
    return made;
}

void evener_dns_plan_clear(evener_dns_plan *plan)
{
    evener_dns_answer_clear(&plan->local[0]);
    evener_dns_answer_clear(&plan->local[1]);
    evener_dns_candidates_clear(&plan->names);
    plan->is_local = false;
    plan->then_local = EVENER_DNS_NEVER_LOCAL;
}

evener_dns_system *evener_dns_system_create(void)
{
    return calloc(1, sizeof(struct evener_dns_system));
}

void evener_dns_system_destroy(evener_dns_system *system)
{
    if (system != NULL) {
        evener_dns_hosts_destroy(system->hosts);
        free(system);
    }
}
