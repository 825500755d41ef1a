/* Reads a factory file: the file itself, defaults and channels. */
#include "lb/factory/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"
#include "lb/base/config_numbers.h"
#include "lb/base/read_file.h"

/* ---- messages ---- */

const char *evener_factory_config_place(const evener_factory_parse *parse, const config_setting_t *setting,
                                        unsigned *line)
{
    return evener_factory_text_place(parse->text, (unsigned)config_setting_source_line(setting), line);
}

/* Write the path of the setting with dots: "channels.orders.backoff.max_ms". */
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
    evener_vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    write_field(setting, field, sizeof field);
    unsigned line;
    const char *file = evener_factory_config_place(parse, setting, &line);
    return evener_status_set(parse->status, code, "%s:%u: %s%s%s", file, line, field, field[0] != '\0' ? ": " : "",
                             reason);
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory file: out of memory");
}

/* ---- files ---- */

static evener_status_code read_real_file(void *arg, const char *path, size_t bytes_max, char **text, size_t *bytes,
                                         evener_status *status)
{
    (void)arg;
    return evener_read_regular_file(path, bytes_max, text, bytes, status);
}

static const evener_factory_reader real_files = {.read = read_real_file};

evener_status_code evener_factory_config_load(const evener_factory_parse *parse, const char *path, size_t bytes_max,
                                              char **text, size_t *bytes, evener_status *status)
{
    if (evener_factory_files_add(&parse->config->files, path) == NULL) {
        return no_memory(status);
    }
    return parse->reader->read(parse->reader->arg, path, bytes_max, text, bytes, status);
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
    *channel = (evener_factory_channel_config){0};
    channel->file = evener_factory_config_place(parse, group, &channel->line);
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

static evener_status_code parse_text(const evener_factory_parse *parse)
{
    size_t bad_line;
    unsigned line;
    char *text = evener_config_widen_numbers(parse->text->text, &bad_line);
    if (text == NULL && bad_line == 0) {
        return evener_status_set(parse->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory file: out of memory");
    }
    if (text == NULL) {
        const char *file = evener_factory_text_place(parse->text, (unsigned)bad_line, &line);
        return evener_status_set(parse->status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s:%u: a number is out of range: 64 bits do not hold it", file, line);
    }
    config_t tree;
    config_init(&tree);
    evener_status_code code;
    if (config_read_string(&tree, text) != CONFIG_TRUE) {
        const char *file = evener_factory_text_place(parse->text, (unsigned)config_error_line(&tree), &line);
        const char *reason = config_error_text(&tree);
        code = evener_status_set(parse->status, EVENER_STATUS_INVALID_ARGUMENT, "%s:%u: %s", file, line,
                                 reason != NULL ? reason : "syntax error");
    } else {
        code = read_tree(parse, config_root_setting(&tree));
    }
    config_destroy(&tree);
    free(text);
    return code;
}

static void clear_channels(evener_factory_config *config)
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

evener_status_code evener_factory_config_parse(const char *path, const char *text, size_t length,
                                               const evener_factory_reader *reader, evener_factory_config *config,
                                               evener_status *status)
{
    *config = (evener_factory_config){0};
    reader = reader != NULL ? reader : &real_files;
    evener_factory_text expanded = {0};
    evener_status_code code = evener_factory_text_expand(&expanded, path, text, length, reader, &config->files, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    char *folder = evener_factory_folder_of(path);
    const evener_factory_parse parse = {
        .path = path, .folder = folder, .text = &expanded, .reader = reader, .config = config, .status = status};
    code = folder != NULL ? parse_text(&parse) : no_memory(status);
    free(folder);
    evener_factory_text_clear(&expanded);
    if (code != EVENER_STATUS_OK) {
        clear_channels(config);
    }
    return code;
}

evener_status_code evener_factory_config_read(const char *path, evener_factory_config *config, evener_status *status)
{
    char *text = NULL;
    size_t length = 0;
    evener_status_code code = evener_read_regular_file(path, EVENER_FACTORY_FILE_BYTES_MAX, &text, &length, status);
    if (code != EVENER_STATUS_OK) {
        *config = (evener_factory_config){0};
        return evener_factory_files_add(&config->files, path) != NULL ? code : no_memory(status);
    }
    code = evener_factory_config_parse(path, text, length, NULL, config, status);
    free(text);
    return code;
}

void evener_factory_config_clear(evener_factory_config *config)
{
    clear_channels(config);
    evener_factory_files_clear(&config->files);
}
