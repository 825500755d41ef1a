#include "examples/evener/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/credentials.h>
#include <evener/stats.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"

static bool make_credentials(const cli_options *options, evener_credentials **credentials)
{
    evener_status status;
    if (options->plaintext) {
        return evener_credentials_create_insecure(credentials, &status) == EVENER_STATUS_OK ||
               cli_error("%s", status.message);
    }
    const char *const paths[] = {options->cacert, options->cert, options->key};
    char *texts[3] = {NULL, NULL, NULL};
    bool ok = true;
    for (size_t i = 0; ok && i < 3; i++) {
        size_t length;
        ok = paths[i] == NULL || (texts[i] = cli_read_file(paths[i], &length)) != NULL;
    }
    const evener_tls_options tls = {
        .size = sizeof tls, .root_certificates = texts[0], .certificate_chain = texts[1], .private_key = texts[2]};
    if (ok && evener_credentials_create_tls(&tls, credentials, &status) != EVENER_STATUS_OK) {
        ok = cli_error("%s", status.message);
    }
    for (size_t i = 0; i < 3; i++) {
        free(texts[i]);
    }
    return ok;
}

/* Store --policy or --service-config as a service config, to be freed. */
static bool make_service_config(const cli_options *options, char **config)
{
    *config = NULL;
    if (options->service_config != NULL && options->service_config[0] == '@') {
        size_t length;
        *config = cli_read_file(options->service_config + 1, &length);
        return *config != NULL;
    }
    int made = 0;
    if (options->service_config != NULL) {
        *config = strdup(options->service_config);
    } else if (options->policy != NULL && options->policy[0] == '{') {
        made = asprintf(config, "{\"loadBalancingConfig\":[%s]}", options->policy);
    } else if (options->policy != NULL && strpbrk(options->policy, "\"\\") == NULL) {
        made = asprintf(config, "{\"loadBalancingConfig\":[{\"%s\":{}}]}", options->policy);
    } else if (options->policy != NULL) {
        return cli_error("--policy %s: a name is needed, or one with parameters as JSON", options->policy);
    } else {
        return true;
    }
    return (made >= 0 && *config != NULL) || cli_error("out of memory");
}

static bool open_factory(const cli_options *options, cli_service *service)
{
    evener_status status;
    if (evener_factory_open(options->factory_path, NULL, &service->factory, &status) != EVENER_STATUS_OK ||
        evener_factory_channel(service->factory, options->target, &service->channel, &status) != EVENER_STATUS_OK) {
        return cli_error("%s", status.message);
    }
    return true;
}

bool cli_service_open(const cli_options *options, cli_service *service)
{
    if (options->factory_path != NULL) {
        return open_factory(options, service);
    }
    evener_credentials *credentials = NULL;
    char *config = NULL;
    evener_status status;
    bool ok = make_service_config(options, &config) && make_credentials(options, &credentials);
    if (ok) {
        const evener_channel_options channel_options = {
            .size = sizeof channel_options,
            .credentials = credentials,
            .authority = options->authority,
            .transport_name = options->transport,
            .default_port = (uint32_t)options->default_port,
            .default_service_config = config,
            .ignore_service_config = config != NULL,
            .resolver_options = options->resolver_options,
            .resolver_option_count = options->resolver_option_count,
        };
        ok = evener_channel_create(options->target, &channel_options, &service->channel, &status) == EVENER_STATUS_OK ||
             cli_error("%s", status.message);
    }
    evener_credentials_destroy(credentials);
    free(config);
    return ok;
}

void cli_service_close(cli_service *service)
{
    evener_channel_unref(service->channel);
    evener_factory_close(service->factory);
    *service = (cli_service){0};
}

/* What the transports report when the peer's first bytes are not a TLS record: OpenSSL's reasons, and http2's. */
static const char *const not_tls[] = {"wrong version number", "packet length too long", "http request",
                                      "does not speak TLS", NULL};
/* What they report when the peer ends a connection before anything of HTTP/2 arrived. */
static const char *const ended[] = {"Socket closed", "Connection reset", "the server closed the connection",
                                    "the connection was ended", NULL};

static bool contains_any(const char *text, const char *const *parts)
{
    while (*parts != NULL && strstr(text, *parts) == NULL) {
        parts++;
    }
    return *parts != NULL;
}

void cli_service_hint(const cli_options *options, const cli_service *service, const char *message)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    if (!options->plaintext && options->factory_path == NULL && contains_any(message, not_tls)) {
        cli_error("the server does not answer in TLS. Did you mean --plaintext?");
    } else if (options->plaintext && contains_any(message, ended)) {
        cli_error("the server ended the connection at once. If it expects TLS, leave out --plaintext.");
    } else if (options->factory_path == NULL &&
               evener_channel_get_stats(service->channel, &stats, NULL) == EVENER_STATUS_OK) {
        if (stats.subchannel_count == 0 && stats.resolver_updates > 0) {
            (void)cli_resolve_once(options); /* prints why there is no address */
        }
        evener_channel_stats_clear(&stats);
    }
}
