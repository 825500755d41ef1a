#include "lb/backend/server_name.h"

#include <stdio.h>
#include <string.h>

/* An empty attribute counts as none: the gRPC core must not be asked to verify an empty name. */
static const char *own_authority(const evener_address *address)
{
    const char *authority = evener_address_authority(address);
    return authority != NULL && authority[0] != '\0' ? authority : NULL;
}

const char *evener_without_last_dot(const char *name, char *buffer, size_t buffer_bytes)
{
    const size_t host_bytes = strcspn(name, ":");
    if (host_bytes < 2 || name[host_bytes - 1] != '.' || strlen(name) > buffer_bytes) {
        return name;
    }
    snprintf(buffer, buffer_bytes, "%.*s%s", (int)host_bytes - 1, name, name + host_bytes);
    return buffer;
}

const char *evener_backend_authority(const evener_address *address, const char *authority,
                                     evener_authority_origin origin)
{
    const char *own = origin != EVENER_AUTHORITY_SET ? own_authority(address) : NULL;
    return own != NULL ? own : authority;
}

const char *evener_backend_server_name(const evener_address *address, const char *authority,
                                       evener_authority_origin origin, char buffer[EVENER_ADDRESS_BYTES_MAX])
{
    const char *own = origin != EVENER_AUTHORITY_SET ? own_authority(address) : NULL;
    if (own != NULL || origin != EVENER_AUTHORITY_OF_LIST) {
        return evener_without_last_dot(own != NULL ? own : authority, buffer, EVENER_ADDRESS_BYTES_MAX);
    }
    const char *text = evener_address_text(address);
    switch (evener_address_get_family(address)) {
    case EVENER_FAMILY_IPV4:
        return text;
    case EVENER_FAMILY_IPV6: {
        const size_t zone = strcspn(text, "%");
        const char *rest = strchr(text + zone, ']');
        if (text[zone] == '\0' || rest == NULL) {
            return text;
        }
        snprintf(buffer, EVENER_ADDRESS_BYTES_MAX, "%.*s%s", (int)zone, text, rest);
        return buffer;
    }
    case EVENER_FAMILY_UNIX:
    case EVENER_FAMILY_UNIX_ABSTRACT:
    case EVENER_FAMILY_VSOCK:
        break;
    }
    return NULL;
}
