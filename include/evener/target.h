/* Target: the URI a channel is opened with, `scheme://authority/endpoint` (grpc: doc/naming.md; RFC 3986). */
#ifndef EVENER_TARGET_H
#define EVENER_TARGET_H

#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_target evener_target;

#define EVENER_TARGET_BYTES_MAX 4194304 /* 4 MiB: fits a list of 100,000 addresses; longer targets are refused */

/* Parse the text of a target: `scheme:endpoint`, `scheme:///endpoint` or `scheme://authority/endpoint`. The scheme is
 * lower-cased; authority and endpoint are percent-decoded; a leading '/' of the endpoint is dropped (`dns:/x` and
 * `dns:///x` are the same, as in grpc-go). Blanks are allowed; a query or a fragment is refused (write %3F and %23).
 * Does not check that a resolver serves the scheme. On success store an owned target in *target; free it with
 * evener_target_destroy(). Errors: INVALID_ARGUMENT with the byte offset and the reason. Any thread. */
EVENER_API evener_status_code evener_target_parse(const char *text, evener_target **target, evener_status *status);

/* Free a target. NULL is allowed. */
EVENER_API void evener_target_destroy(evener_target *target);

/* Return the original text. It lives as long as the target, as the other strings. Any thread. */
EVENER_API const char *evener_target_text(const evener_target *target);
/* Return the scheme ("dns"). */
EVENER_API const char *evener_target_scheme(const evener_target *target);
/* Return the authority ("8.8.8.8:53"), "" without one. */
EVENER_API const char *evener_target_authority(const evener_target *target);
/* Return the endpoint ("orders.prod:50051"), "" without one. */
EVENER_API const char *evener_target_endpoint(const evener_target *target);
/* Return the endpoint with its leading '/', for schemes whose endpoint is a path ("/etc/orders.endpoints"). */
EVENER_API const char *evener_target_path(const evener_target *target);

EVENER_END_DECLS

#endif
