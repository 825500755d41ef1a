/* Factory file: any input is either refused with a message or gives a consistent config.
 *
 * The input is several files, separated by \x01: the main file, then "1", "2", ..., which @include and PEM settings can
 * name, in any folder. Nothing is read from disk. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/factory/config.h"
#include "tests/fuzz/text.h"

#define SEPARATOR '\x01'

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const char *text;
    size_t size;
} input;

/* Return the n-th file; past the last one, its text is NULL. */
static input file_of(input whole, unsigned n)
{
    const char *end = whole.text + whole.size;
    const char *begin = whole.text;
    for (; n > 0 && begin != NULL; n--) {
        const char *separator = memchr(begin, SEPARATOR, (size_t)(end - begin));
        begin = separator != NULL ? separator + 1 : NULL;
    }
    if (begin == NULL) {
        return (input){.text = NULL};
    }
    const char *separator = memchr(begin, SEPARATOR, (size_t)(end - begin));
    return (input){.text = begin, .size = (size_t)((separator != NULL ? separator : end) - begin)};
}

static evener_status_code read_part(void *arg, const char *path, size_t bytes_max, char **text, size_t *bytes,
                                    evener_status *status)
{
    const char *name = strrchr(path, '/');
    name = name != NULL ? name + 1 : path;
    const input part = name[0] >= '1' && name[0] <= '9' && name[1] == '\0'
                           ? file_of(*(const input *)arg, (unsigned)(name[0] - '0'))
                           : (input){.text = NULL};
    if (part.text == NULL || part.size > bytes_max) {
        return evener_status_set(status, EVENER_STATUS_NOT_FOUND, "%s: cannot be read", path);
    }
    *text = fuzz_text((const uint8_t *)part.text, part.size);
    *bytes = part.size;
    return EVENER_STATUS_OK;
}

/* Check that the expanded text has no '@', so that libconfig's scanner neither includes a file nor ends the process. */
static void check_expansion(input main_file, size_t size, const evener_factory_reader *reader)
{
    evener_factory_text text = {0};
    evener_factory_files files = {0};
    evener_status status;
    if (evener_factory_text_expand(&text, "/nowhere/fuzz.cfg", main_file.text, main_file.size, reader, &files,
                                   &status) == EVENER_STATUS_OK) {
        assert(text.bytes <= EVENER_FACTORY_TEXT_BYTES_MAX && strlen(text.text) == text.bytes);
        assert(strchr(text.text, '@') == NULL);
        unsigned text_line = 1;
        for (const char *c = text.text; *c != '\0'; c++) {
            text_line += *c == '\n';
            if (*c == '\n') {
                unsigned line = 0;
                assert(evener_factory_text_place(&text, text_line, &line) != NULL && line >= 1 && line <= size + 1);
            }
        }
        evener_factory_text_clear(&text);
    }
    evener_factory_files_clear(&files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_text(data, size);
    input whole = {.text = copy, .size = size};
    const input main_file = file_of(whole, 0);
    const evener_factory_reader reader = {.read = read_part, .arg = &whole};
    check_expansion(main_file, size, &reader);
    evener_factory_config config;
    evener_status status;
    if (evener_factory_config_parse("/nowhere/fuzz.cfg", main_file.text, main_file.size, &reader, &config, &status) ==
        EVENER_STATUS_OK) {
        for (size_t i = 0; i < config.channel_count; i++) {
            assert(config.channels[i].settings.target != NULL);
            assert(i == 0 || strcmp(config.channels[i - 1].name, config.channels[i].name) < 0);
        }
    } else {
        assert(status.message[0] != '\0' && config.channel_count == 0);
    }
    assert(config.files.count >= 1 && strcmp(config.files.names[0], "/nowhere/fuzz.cfg") == 0);
    evener_factory_config_clear(&config);
    free(copy);
    return 0;
}
