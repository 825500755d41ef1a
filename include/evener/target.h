/* Target: the URI a channel is opened with, `scheme://authority/endpoint` (grpc: doc/naming.md; RFC 3986). */
#ifndef EVENER_TARGET_H
#define EVENER_TARGET_H

#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_target evener_target;

#define EVENER_TARGET_BYTES_MAX 4194304 /* 4 MiB: a list of 100,000 addresses fits; more than this is refused */

/* Parses the text of a target: `scheme:endpoint`, `scheme:///endpoint` or `scheme://authority/endpoint`. The scheme is
 * lower-cased; authority and endpoint are percent-decoded; a leading '/' of the endpoint is dropped (`dns:/x` and
 * `dns:///x` are the same, as in grpc-go). Blanks are let through; a query or a fragment is refused (write %3F and %23).
 * Says nothing about whether anybody serves the scheme. On success stores an owned target in *target, to be ended with
 * evener_target_destroy(). Errors: INVALID_ARGUMENT with the place (byte offset) and the reason. Any thread. */
EVENER_API evener_status_code evener_target_parse(const char *text, evener_target **target, evener_status *status);

/* NULL is allowed. */
EVENER_API void evener_target_destroy(evener_target *target);

/* All strings live as long as the target; none is ever NULL ("" for an absent part). */
EVENER_API const char *evener_target_text(const evener_target *target);      /* as it was given */
EVENER_API const char *evener_target_scheme(const evener_target *target);    /* "dns" */
EVENER_API const char *evener_target_authority(const evener_target *target); /* "8.8.8.8:53" */
EVENER_API const char *evener_target_endpoint(const evener_target *target);  /* "orders.prod:50051" */
/* The endpoint for schemes in which it is a path: with its leading '/' kept ("/etc/orders.endpoints"). */
EVENER_API const char *evener_target_path(const evener_target *target);

EVENER_END_DECLS

#endif
