/* Version of the library: semantic versioning; the soname changes with the ABI. */
#ifndef EVENER_VERSION_H
#define EVENER_VERSION_H

#include <evener/export.h>

EVENER_BEGIN_DECLS

#define EVENER_VERSION_MAJOR 0
#define EVENER_VERSION_MINOR 1
#define EVENER_VERSION_PATCH 0
#define EVENER_VERSION_STRING "0.1.0"

/* Return the version of the linked library, "0.1.0"; a static string. Any thread. */
EVENER_API const char *evener_version_string(void);

EVENER_END_DECLS

#endif
