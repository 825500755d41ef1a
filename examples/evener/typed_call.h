/* A call whose messages are JSON: unary or with streams. */
#ifndef EVENER_CLI_TYPED_CALL_H
#define EVENER_CLI_TYPED_CALL_H

#include "examples/evener/options.h"
#include "examples/evener/service.h"

/* Make the call and print its answers. Return how it ended, or that the server could not be reached for its types; with
 * *failed true an error was printed, and the call may not have been made. `details` are the caller's, to be cleared. */
evener_status_code cli_typed_call(const cli_options *options, const cli_service *service, evener_call_details *details,
                                  bool *failed, evener_status *status);

#endif
