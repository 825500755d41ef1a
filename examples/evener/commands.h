/* The commands of `evener`. Each takes its parsed options and returns the exit status. */
#ifndef EVENER_CLI_COMMANDS_H
#define EVENER_CLI_COMMANDS_H

#include <stdbool.h>

#include "examples/evener/options.h"

#define EXIT_USAGE 2
#define EXIT_CALL_BASE 64 /* `call` ends with this and the call's status code, if that is not OK */

int cli_call(const cli_options *options);
int cli_describe(const cli_options *options);
int cli_list(const cli_options *options);
int cli_check(const cli_options *options);
int cli_load(const cli_options *options);
int cli_resolve(const cli_options *options);

/* Resolve options->target once, as `evener resolve` does, and print errors only. False: no address. */
bool cli_resolve_once(const cli_options *options);

#endif
