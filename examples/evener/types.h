/* The types of a service for the command line: from --protoset files, or by server reflection. */
#ifndef EVENER_CLI_TYPES_H
#define EVENER_CLI_TYPES_H

#include <stdbool.h>

#include <evener/descriptors.h>
#include <evener/json.h>

#include "examples/evener/options.h"
#include "examples/evener/service.h"

/* Store the types that --protoset files have, or, without any, those that the server has for `symbol` (NULL: none yet).
 * *types is to be destroyed, on failure too. False: the error was printed; unless `unreached` is not NULL and the
 * server could not be reached: then *unreached says why, UNAVAILABLE or DEADLINE_EXCEEDED. Otherwise that is OK. */
bool cli_types_open(const cli_options *options, const cli_service *service, const char *symbol,
                    evener_descriptors **types, evener_status *unreached);

/* The options of a call, of reflection as well: deadline, headers, --wait-for-ready. `details` is not set. */
evener_call_options cli_call_options(const cli_options *options);

/* Return the service of "/package.Service/Method" or "/package.Service.Method", to be freed; NULL: the error was
 * printed. */
char *cli_service_name(const char *method);

/* Find the method that the command line names, "package.Service/Method". NULL: the error was printed. */
const evener_method *cli_types_method(const cli_options *options, const evener_descriptors *types);

/* Print a message as JSON, indented or on one line. False: the error was printed. */
bool cli_print_message(const cli_options *options, const evener_message_type *type, const evener_bytes *message);

/* Print JSON text of a server, with characters that control a terminal as escapes. */
void cli_print_json_text(const char *json);

#endif
