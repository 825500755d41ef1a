/* A factory file as a whole: reading, including, defaults and channels. */
#include "lb/factory_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NESTING_MAX 64 /* libconfig's parser and what walks its tree recurse: a hostile depth must not */

/* ---- messages ---- */

const char *evener_factory_config_file_of(const evener_factory_parse *parse, const config_setting_t *setting)
{
    const char *file = config_setting_source_file(setting);
    const size_t folder_bytes = strlen(parse->folder);
    for (size_t i = 0; file != NULL && i < parse->config->file_count; i++) {
        const char *known = parse->config->files[i];
        if (strncmp(known, parse->folder, folder_bytes) == 0 && known[folder_bytes] == '/' &&
            strcmp(known + folder_bytes + 1, file) == 0) {
            return known;
        }
    }
    return parse->config->file_count > 0 ? parse->config->files[0] : parse->path;
}

/* Writes the names from the root to the setting, with dots: "channels.orders.backoff.max_ms". */
static void write_field(const config_setting_t *setting, char *buffer, size_t bytes)
{
    const config_setting_t *parent = config_setting_parent(setting);
    if (parent == NULL) {
        buffer[0] = '\0';
        return;
    }
    write_field(parent, buffer, bytes);
    const size_t used = strlen(buffer);
    if (config_setting_name(setting) != NULL) {
        snprintf(buffer + used, bytes - used, "%s%s", used > 0 ? "." : "", config_setting_name(setting));
    } else {
        snprintf(buffer + used, bytes - used, "[%d]", config_setting_index(setting));
    }
}

evener_status_code evener_factory_refuse(const evener_factory_parse *parse, const config_setting_t *setting,
                                         evener_status_code code, const char *format, ...)
{
    char field[256];
    char reason[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    write_field(setting, field, sizeof field);
    return evener_status_set(parse->status, code, "%s:%u: %s%s%s", evener_factory_config_file_of(parse, setting),
                             (unsigned)config_setting_source_line(setting), field, field[0] != '\0' ? ": " : "",
                             reason);
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory file: out of memory");
}

/* ---- files ---- */

static bool remember_file(evener_factory_config *config, const char *path)
{
    for (size_t i = 0; i < config->file_count; i++) {
        if (strcmp(config->files[i], path) == 0) {
            return true;
        }
    }
    char **grown = realloc(config->files, (config->file_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    config->files = grown;
    grown[config->file_count] = strdup(path);
    if (grown[config->file_count] == NULL) {
        return false;
    }
    config->file_count++;
    return true;
}

static evener_status_code cannot_read(const char *path, int error, evener_status *status)
{
    const evener_status_code code = error == ENOENT || error == ENOTDIR ? EVENER_STATUS_NOT_FOUND
                                    : error == EACCES                   ? EVENER_STATUS_PERMISSION_DENIED
                                                                        : EVENER_STATUS_INTERNAL;
    return evener_status_set(status, code, "%s: cannot be read: %s", path, strerror(error));
}

char *evener_factory_config_load(evener_factory_config *config, const char *path, size_t bytes_max, size_t *length,
                                 evener_status *status)
{
    if (!remember_file(config, path)) {
        no_memory(status);
        return NULL;
    }
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        cannot_read(path, errno, status);
        return NULL;
    }
    char *text = NULL;
    size_t used = 0;
    size_t room = 0;
    bool ok = true;
    while (ok && used <= bytes_max) {
        if (room - used < 2) {
            room = room == 0 ? 4096 : room * 2;
            char *grown = realloc(text, room);
            ok = grown != NULL;
            text = ok ? grown : text;
        }
        const size_t got = ok ? fread(text + used, 1, room - used - 1, file) : 0;
        used += got;
        if (got == 0) {
            break;
        }
    }
    const int error = ferror(file) ? errno : 0;
    fclose(file);
    if (!ok) {
        no_memory(status);
    } else if (error != 0) {
        cannot_read(path, error, status);
    } else if (used > bytes_max) {
        evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: larger than %zu bytes", path, bytes_max);
    } else {
        text[used] = '\0';
        *length = used;
        return text;
    }
    free(text);
    return NULL;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Refuses what the parser should not even see: a zero byte would cut the text short unnoticed. */
static evener_status_code check_text(const char *path, const char *text, size_t length, evener_status *status)
{
    unsigned line = 1;
    unsigned depth = 0;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (c == '\0') {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s:%u: a zero byte", path, line);
        }
        line += c == '\n';
        if (c == '{' || c == '(' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ')' || c == ']') && depth > 0) {
            depth--;
        }
        if (depth > NESTING_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s:%u: more than %d brackets are open",
                                     path, line, NESTING_MAX);
        }
    }
    return EVENER_STATUS_OK;
}

/* ---- the tree ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const evener_factory_channel_config *)a)->name, ((const evener_factory_channel_config *)b)->name);
}

static evener_status_code read_channel(const evener_factory_parse *parse, const config_setting_t *group,
                                       const evener_factory_settings *defaults)
{
    if (!config_setting_is_group(group)) {
        return evener_factory_refuse(parse, group, EVENER_STATUS_INVALID_ARGUMENT,
                                     "a group is needed: %s = { target = \"...\"; };", config_setting_name(group));
    }
    evener_factory_channel_config *channel = &parse->config->channels[parse->config->channel_count];
    *channel = (evener_factory_channel_config){.file = evener_factory_config_file_of(parse, group),
                                               .line = (unsigned)config_setting_source_line(group)};
    channel->name = strdup(config_setting_name(group));
    parse->config->channel_count++;
    if (channel->name == NULL || !evener_factory_settings_copy(defaults, &channel->settings)) {
        return no_memory(parse->status);
    }
    const evener_status_code code = evener_factory_settings_read(parse, group, false, &channel->settings);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (channel->settings.target == NULL) {
        return evener_factory_refuse(parse, group, EVENER_STATUS_INVALID_ARGUMENT,
                                     "no target: write one, as in target = \"dns:///orders.prod:50051\";");
    }
    return evener_factory_settings_service_config(&channel->settings, &channel->full_service_config, parse->status);
}

static evener_status_code read_channels(const evener_factory_parse *parse, const config_setting_t *channels,
                                        const evener_factory_settings *defaults)
{
    const int count = config_setting_length(channels);
    if (count > EVENER_FACTORY_CHANNELS_MAX) {
        return evener_factory_refuse(parse, channels, EVENER_STATUS_INVALID_ARGUMENT, "more than %d channels",
                                     EVENER_FACTORY_CHANNELS_MAX);
    }
    parse->config->channels = calloc((size_t)count + 1, sizeof *parse->config->channels);
    if (parse->config->channels == NULL) {
        return no_memory(parse->status);
    }
    for (int i = 0; i < count; i++) {
        const evener_status_code code = read_channel(parse, config_setting_get_elem(channels, (unsigned)i), defaults);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    qsort(parse->config->channels, parse->config->channel_count, sizeof *parse->config->channels, by_name);
    return evener_status_clear(parse->status);
}

static evener_status_code read_tree(const evener_factory_parse *parse, const config_setting_t *root)
{
    const config_setting_t *channels = NULL;
    const config_setting_t *shared = NULL;
    for (unsigned i = 0; i < (unsigned)config_setting_length(root); i++) {
        const config_setting_t *member = config_setting_get_elem(root, i);
        const char *name = config_setting_name(member);
        const bool is_channels = strcmp(name, "channels") == 0;
        if (!is_channels && strcmp(name, "defaults") != 0) {
            return evener_factory_refuse(parse, member, EVENER_STATUS_INVALID_ARGUMENT,
                                         "no such setting; at the top there are \"defaults\" and \"channels\"");
        }
        if (!config_setting_is_group(member)) {
            return evener_factory_refuse(parse, member, EVENER_STATUS_INVALID_ARGUMENT, "a group, { ... }, is needed");
        }
        *(is_channels ? &channels : &shared) = member;
    }
    if (channels == NULL) {
        return evener_status_set(parse->status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: no \"channels\": write channels = { NAME = { target = \"...\"; }; };",
                                 parse->path);
    }
    evener_factory_settings defaults = {.security = EVENER_FACTORY_TLS};
    evener_status_code code = EVENER_STATUS_OK;
    if (shared != NULL) {
        code = evener_factory_settings_read(parse, shared, true, &defaults);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_channels(parse, channels, &defaults);
    }
    evener_factory_settings_clear(&defaults);
    return code;
}

/* libconfig looks for what is included in the folder, but tells the name as it is written. */
static bool remember_included(const evener_factory_parse *parse, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", parse->folder, name) < 0) {
        return false;
    }
    const bool ok = remember_file(parse->config, path);
    free(path);
    return ok;
}

static evener_status_code parse_text(evener_factory_parse *parse, const char *text)
{
    config_t tree;
    config_init(&tree);
    config_set_include_dir(&tree, parse->folder);
    evener_status_code code;
    const int parsed = config_read_string(&tree, text);
    bool remembered = true;
    for (unsigned i = 0; i < tree.num_filenames; i++) {
        remembered = remember_included(parse, tree.filenames[i]) && remembered;
    }
    if (parsed != CONFIG_TRUE) {
        const char *file = config_error_file(&tree);
        const char *reason = config_error_text(&tree);
        code = evener_status_set(parse->status, EVENER_STATUS_INVALID_ARGUMENT, "%s:%d: %s",
                                 file != NULL ? file : parse->path, config_error_line(&tree),
                                 reason != NULL ? reason : "syntax error");
    } else if (!remembered) {
        code = no_memory(parse->status);
    } else {
        code = read_tree(parse, config_root_setting(&tree));
    }
    config_destroy(&tree);
    return code;
}

static void forget_channels(evener_factory_config *config)
{
    for (size_t i = 0; i < config->channel_count; i++) {
        free(config->channels[i].name);
        free(config->channels[i].full_service_config);
        evener_factory_settings_clear(&config->channels[i].settings);
    }
    free(config->channels);
    config->channels = NULL;
    config->channel_count = 0;
}

static evener_status_code parse_into(const char *path, const char *text, size_t length, evener_factory_config *config,
                                     evener_status *status)
{
    evener_status_code code = check_text(path, text, length, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    char *folder = folder_of(path);
    if (folder == NULL) {
        return no_memory(status);
    }
    evener_factory_parse parse = {.path = path, .folder = folder, .config = config, .status = status};
    code = parse_text(&parse, text);
    free(folder);
    if (code != EVENER_STATUS_OK) {
        forget_channels(config);
    }
    return code;
}

evener_status_code evener_factory_config_parse(const char *path, const char *text, size_t length,
                                               evener_factory_config *config, evener_status *status)
{
    *config = (evener_factory_config){0};
    if (!remember_file(config, path)) {
        return no_memory(status);
    }
    return parse_into(path, text, length, config, status);
}

evener_status_code evener_factory_config_read(const char *path, evener_factory_config *config, evener_status *status)
{
    *config = (evener_factory_config){0};
    size_t length = 0;
    evener_status reason;
    char *text = evener_factory_config_load(config, path, EVENER_FACTORY_FILE_BYTES_MAX, &length, &reason);
    if (text == NULL) {
        return evener_status_set(status, reason.code, "%s", reason.message);
    }
    const evener_status_code code = parse_into(path, text, length, config, status);
    free(text);
    return code;
}

void evener_factory_config_clear(evener_factory_config *config)
{
    forget_channels(config);
    for (size_t i = 0; i < config->file_count; i++) {
        free(config->files[i]);
    }
    free(config->files);
    *config = (evener_factory_config){0};
}
