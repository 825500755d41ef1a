/* Opens the channel that the command line describes. */
#ifndef EVENER_CLI_SERVICE_H
#define EVENER_CLI_SERVICE_H

#include <stdbool.h>

#include <evener/channel.h>
#include <evener/factory.h>

#include "examples/evener/options.h"

/* All zero: not open. */
typedef struct cli_service {
    evener_factory *factory; /* NULL: without --factory */
    evener_channel *channel;
} cli_service;

/* Open the channel, or the factory and its channel. False: the error was printed. */
bool cli_service_open(const cli_options *options, cli_service *service);
void cli_service_close(cli_service *service);

/* Print what may help after a call or connection failed with this message and reached no backend: --plaintext, or the
 * resolver's answer when the channel has no address. */
void cli_service_hint(const cli_options *options, const cli_service *service, const char *message);

#endif
