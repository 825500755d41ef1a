#include "lb/protobuf/json_path.h"

#include <stdio.h>
#include <string.h>

#include "lb/base/options.h"

#define PATH_BYTES 256 /* longer paths are cut */

static size_t write_path(const evener_json_path *path, char *to, size_t used)
{
    int length;
    if (path == NULL) {
        return 0;
    }
    used = write_path(path->up, to, used);
    if (used >= PATH_BYTES - 1) {
        return used;
    }
    if (path->name == NULL) {
        length = snprintf(to + used, PATH_BYTES - used, "[%zu]", path->length);
    } else {
        const int bytes = path->length < PATH_BYTES ? (int)path->length : PATH_BYTES;
        length = snprintf(to + used, PATH_BYTES - used, "%s%.*s", used > 0 ? "." : "", bytes, path->name);
    }
    return used + (size_t)(length > 0 ? length : 0);
}

bool evener_json_wrong(const evener_json_path *path, evener_status_code code, const char *problem,
                       evener_status *status)
{
    char text[PATH_BYTES] = "";
    if (write_path(path, text, 0) >= PATH_BYTES - 1) {
        memcpy(text + PATH_BYTES - 4, "...", 4);
    }
    evener_status_set(status, code, "%s%s%s", text, text[0] != '\0' ? ": " : "", problem);
    return false;
}

evener_status_code evener_json_options_read(const evener_json_options *given, evener_json_options *options,
                                            evener_status *status)
{
    const evener_status_code code =
        evener_options_read(options, sizeof *options, given, "JSON options", "evener_json_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    options->depth_max = options->depth_max == 0 ? EVENER_JSON_DEPTH_DEFAULT : options->depth_max;
    options->bytes_max = options->bytes_max == 0 ? EVENER_JSON_BYTES_DEFAULT : options->bytes_max;
    if (options->depth_max > EVENER_JSON_DEPTH_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "JSON options: depth_max: at most %d",
                                 EVENER_JSON_DEPTH_MAX);
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_no_room(bool too_long, const evener_json_options *options, evener_status *status)
{
    return too_long ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "the result is larger than %zu bytes",
                                        options->bytes_max)
                    : evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}
