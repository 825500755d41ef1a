#include "tests/support/fake_dns_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/builtin.h"
#include "resolver/dns/system.h"

struct evener_dns_query {
    fake_dns_client *client;
    evener_loop *loop;
    evener_timer timer;
    fake_dns_script script; /* copy from the time of the query */
    evener_dns_answer_fn fn;
    void *arg;
};

static fake_dns_script *find(fake_dns_client *client, evener_dns_type type, const char *name)
{
    for (size_t i = 0; i < client->script_count; i++) {
        if (client->scripts[i].type == type && strcmp(client->scripts[i].name, name) == 0) {
            return &client->scripts[i];
        }
    }
    return NULL;
}

/* False: out of memory. */
static bool fill(evener_dns_answer *answer, const fake_dns_script *script)
{
    char records[sizeof script->records];
    char *rest = NULL;
    (void)snprintf(records, sizeof records, "%s", script->records);
    const char *separator = script->type == EVENER_DNS_TXT ? "\n" : ",";
    for (char *item = strtok_r(records, separator, &rest); item != NULL; item = strtok_r(NULL, separator, &rest)) {
        evener_dns_record *record;
        unsigned priority = 0, weight = 0, port = 0;
        char target[256] = "";
        const bool srv =
            script->type == EVENER_DNS_SRV && sscanf(item, "%u %u %u %255s", &priority, &weight, &port, target) == 4;
        if (!evener_dns_answer_add(answer, srv ? target : item, &record)) {
            return false;
        }
        if (record != NULL) {
            record->priority = (uint16_t)priority;
            record->weight = (uint16_t)weight;
            record->port = (uint16_t)port;
        }
    }
    return true;
}

static void answer_now(void *arg)
{
    struct evener_dns_query *query = arg;
    const fake_dns_script *script = &query->script;
    evener_dns_answer answer = {
        .ttl_s = script->ttl_s, .ttl_known = true, .reachable = !script->unreachable, .source = "dns fake"};
    if (script->records[0] == '!') {
        (void)evener_status_set(&answer.status, EVENER_STATUS_UNAVAILABLE, "%s", script->records + 1);
        answer.server_error = strcmp(script->records, "!timed out") != 0;
    } else if (strcmp(script->records, "NXDOMAIN") == 0 || script->records[0] == '\0') {
        answer.nothing = script->records[0] == '\0' ? "NODATA" : "NXDOMAIN";
    } else if (!fill(&answer, script)) {
        evener_dns_answer_clear(&answer);
        evener_status_set(&answer.status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    query->client->in_flight--;
    query->fn(query->arg, &answer);
    evener_dns_answer_clear(&answer);
    free(query);
}

static evener_dns_query *start(evener_dns_client *base, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg)
{
    fake_dns_client *client = (fake_dns_client *)base;
    if (client->no_memory) {
        return NULL;
    }
    struct evener_dns_query *query = calloc(1, sizeof *query);
    if (query == NULL) {
        return NULL;
    }
    fake_dns_script *script = find(client, question->type, question->name);
    if (script != NULL) {
        script->asked++;
        query->script = *script;
    } else {
        query->script.type = question->type;
        (void)snprintf(query->script.records, sizeof query->script.records, "%s",
                       question->type == EVENER_DNS_AAAA ? "" : "NXDOMAIN");
    }
    query->client = client;
    query->loop = loop;
    query->fn = fn;
    query->arg = arg;
    query->timer = (evener_timer)EVENER_TIMER_INIT(answer_now, query);
    client->asked++;
    client->in_flight++;
    client->in_flight_most = client->in_flight > client->in_flight_most ? client->in_flight : client->in_flight_most;
    if (strcmp(query->script.records, "?") == 0) {
        (void)snprintf(query->script.records, sizeof query->script.records, "!timed out");
        query->script.latency_ms = question->timeout_ms;
    }
    evener_timer_start(loop, &query->timer, query->script.latency_ms * EVENER_NS_PER_MS);
    return query;
}

static void cancel(evener_dns_client *base, evener_dns_query *query)
{
    fake_dns_client *client = (fake_dns_client *)base;
    client->in_flight--;
    client->cancelled++;
    evener_timer_stop(query->loop, &query->timer);
    free(query);
}

void fake_dns_client_init(fake_dns_client *client)
{
    static const evener_dns_client_vtable vtable = {.start = start, .cancel = cancel};
    static const evener_dns_texts texts = {.resolv_conf = "nameserver 10.255.255.53\n"};
    memset(client, 0, sizeof *client);
    client->base.vtable = &vtable;
    client->base.texts = &texts;
    const evener_resolver_builder *built_in[] = {&evener_dns_resolver, &evener_srv_resolver};
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        client->builders[i] = *built_in[i];
        client->builders[i].user_data = client;
        client->own[i] = &client->builders[i];
    }
    client->set = (evener_resolver_set){.own = client->own, .own_count = sizeof built_in / sizeof built_in[0]};
}

fake_dns_script *fake_dns_set(fake_dns_client *client, evener_dns_type type, const char *name, const char *records,
                              uint32_t ttl_s)
{
    fake_dns_script *script = find(client, type, name);
    if (script == NULL) {
        if (client->script_count == FAKE_DNS_SCRIPTS_MAX) {
            abort();
        }
        script = &client->scripts[client->script_count++];
    }
    script->type = type;
    script->ttl_s = ttl_s;
    (void)snprintf(script->name, sizeof script->name, "%s", name);
    (void)snprintf(script->records, sizeof script->records, "%s", records);
    return script;
}
