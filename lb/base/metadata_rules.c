#include "lb/base/metadata_rules.h"

#include <string.h>

static bool key_is_reserved(const char *key)
{
    static const char *const reserved[] = {"connection",
                                           "content-length",
                                           "content-type",
                                           "grpc-accept-encoding",
                                           "grpc-encoding",
                                           "grpc-message",
                                           "grpc-previous-rpc-attempts",
                                           "grpc-status",
                                           "grpc-timeout",
                                           "host",
                                           "keep-alive",
                                           "proxy-connection",
                                           "te",
                                           "transfer-encoding",
                                           "upgrade",
                                           "user-agent"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcmp(key, reserved[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool key_is_valid(const char *key)
{
    if (key == NULL || *key == '\0') {
        return false;
    }
    for (; *key != '\0'; key++) {
        const char c = *key;
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.')) {
            return false;
        }
    }
    return true;
}

static bool value_is_valid(const evener_metadata *entry)
{
    if (entry->value == NULL) {
        return entry->value_bytes == 0;
    }
    if (evener_metadata_key_is_binary(entry->key, strlen(entry->key))) {
        return true;
    }
    for (size_t i = 0; i < entry->value_bytes; i++) {
        if (entry->value[i] < 0x20 || entry->value[i] > 0x7e) {
            return false;
        }
    }
    /* RFC 9113 section 8.2.1: no whitespace at either end. */
    return entry->value_bytes == 0 || (entry->value[0] != ' ' && entry->value[entry->value_bytes - 1] != ' ');
}

bool evener_metadata_check(const evener_metadata *metadata, size_t count, evener_status *status)
{
    for (size_t i = 0; i < count; i++) {
        const evener_metadata *entry = &metadata[i];
        if (!key_is_valid(entry->key)) {
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                              "metadata key \"%s\": keys are lower-case letters, digits, \"_\", \"-\" and \".\"",
                              entry->key != NULL ? entry->key : "(NULL)");
            return false;
        }
        if (key_is_reserved(entry->key)) {
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                              "metadata key \"%s\" is reserved: the transport writes it", entry->key);
            return false;
        }
        if (!value_is_valid(entry)) {
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                              "metadata value of \"%s\": printable ASCII without spaces at its ends is allowed; send "
                              "other bytes under a key that ends with \"-bin\"",
                              entry->key);
            return false;
        }
    }
    return true;
}
