#include "examples/evener/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/printable.h"

#define REAL_DIGITS 12 /* of a number in JSON */

bool cli_error(const char *format, ...)
{
    va_list arguments;
    char *message = NULL;
    va_start(arguments, format);
    const int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    fputs("evener: ", stderr);
    if (length >= 0) {
        cli_print_foreign(stderr, message, (size_t)length);
        free(message);
    } else {
        fputs("out of memory", stderr);
    }
    fputc('\n', stderr);
    return false;
}

void cli_print_foreign(FILE *to, const char *text, size_t bytes)
{
    char piece[512];
    while (bytes > 0) {
        const size_t printed = evener_printable(text, bytes, piece, sizeof piece);
        fputs(piece, to);
        text += printed;
        bytes -= printed;
    }
}

void cli_puts_foreign(FILE *to, const char *text)
{
    cli_print_foreign(to, text, strlen(text));
}

json_t *cli_json_text(const char *text, size_t bytes)
{
    json_t *json = json_stringn(text, bytes);
    char *escaped = NULL;
    size_t length = 0;
    FILE *memory = json == NULL ? open_memstream(&escaped, &length) : NULL;
    if (memory != NULL) {
        cli_print_foreign(memory, text, bytes);
        fclose(memory);
        json = json_stringn(escaped, length);
        free(escaped);
    }
    return json != NULL ? json : json_null();
}

void cli_print_json(json_t *json)
{
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(REAL_DIGITS);
    char *line = json != NULL ? json_dumps(json, flags) : NULL;
    puts(line != NULL ? line : "null");
    free(line);
    json_decref(json);
}

bool cli_flush(int *error)
{
    static int first_error; /* later writes may succeed, or fail for another reason */
    errno = 0;
    const bool ok = fflush(stdout) == 0 && !ferror(stdout);
    if (!ok && first_error == 0) {
        first_error = errno;
    }
    *error = first_error;
    return ok;
}

char *cli_read_file(const char *path, size_t *length)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    const char *name = standard ? "standard input" : path;
    char *text = NULL;
    size_t used = 0;
    size_t room = 4096;
    if (file == NULL) {
        cli_error("%s: %s", name, strerror(errno));
        return NULL;
    }
    for (;;) {
        char *grown = realloc(text, room);
        if (grown == NULL || room > CLI_DATA_BYTES_MAX) {
            cli_error("%s: larger than %d bytes", name, CLI_DATA_BYTES_MAX);
            text = grown != NULL ? grown : text;
            break;
        }
        text = grown;
        used += fread(text + used, 1, room - used - 1, file);
        if (ferror(file)) {
            cli_error("%s: %s", name, strerror(errno));
            break;
        }
        if (feof(file)) {
            text[used] = '\0';
            *length = used;
            if (!standard) {
                fclose(file);
            }
            return text;
        }
        room *= 2;
    }
    if (!standard) {
        fclose(file);
    }
    free(text);
    return NULL;
}
