#include "resolver/dns/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/log.h>

#include "lb/base/memory.h"
#include "resolver/dns/choice.h"

#define NAME_PREFIX "_grpc_config." /* A2 */

static void notify(evener_dns_config *config)
{
    config->waiting = false;
    if (config->changed != NULL) {
        config->changed(config->arg);
    }
}

static bool answered(evener_dns_watch *watch, const evener_dns_result *result)
{
    evener_dns_config *config = EVENER_CONTAINER_OF(watch, evener_dns_config, watch);
    const size_t prefix = strlen(EVENER_DNS_CONFIG_PREFIX);
    char *json = NULL;
    evener_status_clear(&config->error);
    for (size_t i = 0; i < result->count; i++) {
        if (strncmp(result->records[i]->text, EVENER_DNS_CONFIG_PREFIX, prefix) == 0) {
            (void)evener_dns_choice_read(result->records[i]->text + prefix, config->hostname, config->percentile, &json,
                                         &config->error);
            break;
        }
    }
    free(config->json);
    config->json = json;
    notify(config);
    return true;
}

/* As in the C core, a failed TXT query counts as no record. The last record stays in use. */
static void failed(evener_dns_watch *watch, const evener_status *status)
{
    evener_dns_config *config = EVENER_CONTAINER_OF(watch, evener_dns_config, watch);
    evener_log(EVENER_LOG_WARNING, "resolver", "TXT service config: %s", status->message);
    if (config->waiting) {
        notify(config);
    }
}

static void start_watch(void *arg)
{
    evener_dns_config *config = arg;
    char txt_name[EVENER_DNS_NAME_BYTES_MAX + sizeof NAME_PREFIX];
    snprintf(txt_name, sizeof txt_name, NAME_PREFIX "%s", config->name);
    evener_status status;
    if (evener_dns_name_problem(txt_name) != NULL) {
        config->waiting = false; /* too long to have one */
    } else if (evener_dns_watch_start(&config->watch, config->runtime, config->client, EVENER_DNS_TEXT, txt_name,
                                      config->options, &status) != EVENER_STATUS_OK) {
        failed(&config->watch, &status);
        evener_retry_later(&config->unstarted);
    }
}

void evener_dns_config_start(evener_dns_config *config, evener_runtime *runtime, evener_dns_client *client,
                             const char *name, const evener_dns_options *options, void (*changed)(void *arg), void *arg)
{
    if (!options->txt_service_config) {
        return;
    }
    config->watch.answer = answered;
    config->watch.error = failed;
    config->percentile = (uint32_t)evener_loop_random_below(evener_runtime_loop(runtime), 100);
    if (gethostname(config->hostname, sizeof config->hostname) != 0) {
        config->hostname[0] = '\0';
    }
    config->hostname[sizeof config->hostname - 1] = '\0';
    config->waiting = true;
    config->runtime = runtime;
    config->client = client;
    config->name = name;
    config->options = options;
    evener_retry_init(&config->unstarted, evener_runtime_loop(runtime), start_watch, config);
    start_watch(config);
    config->changed = changed;
    config->arg = arg;
}

void evener_dns_config_reset_backoff(evener_dns_config *config)
{
    evener_retry_reset(&config->unstarted);
    evener_dns_watch_reset_backoff(&config->watch);
}

void evener_dns_config_stop(evener_dns_config *config)
{
    evener_retry_end(&config->unstarted);
    evener_dns_watch_stop(&config->watch);
    free(config->json);
    config->json = NULL;
}

void evener_dns_config_fill(const evener_dns_config *config, evener_resolver_update *update)
{
    update->service_config = config->json;
    update->service_config_error = config->error.code != EVENER_STATUS_OK ? &config->error : NULL;
}
