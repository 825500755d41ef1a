/* What metadata of calls may be: the same over every transport of ours. */
#ifndef EVENER_LB_BASE_METADATA_RULES_H
#define EVENER_LB_BASE_METADATA_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/picker.h>
#include <evener/status.h>

#include "lb/base/sibling.h"

/* Return whether the value of the key is bytes instead of a text (gRPC's PROTOCOL-HTTP2, "Binary-Header"). */
static inline bool evener_metadata_key_is_binary(const char *key, size_t bytes)
{
    return bytes > 4 && key[bytes - 4] == '-' && key[bytes - 3] == 'b' && key[bytes - 2] == 'i' &&
           key[bytes - 1] == 'n';
}

/* Return whether metadata may be sent: keys of lower-case letters, digits, "_", "-" and "."; none that a transport
 * writes itself; printable ASCII values without spaces at their ends, unless the key ends with "-bin". If not, fill
 * `status` with INVALID_ARGUMENT. Any thread. */
EVENER_SIBLING bool evener_metadata_check(const evener_metadata *metadata, size_t count, evener_status *status);

#endif
