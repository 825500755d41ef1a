/* Shared by the commands of `evener`: messages, files, and output of text that comes from elsewhere. */
#ifndef EVENER_CLI_H
#define EVENER_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

/* Print "evener: ..." on standard error, control characters escaped. Return false, for the caller to return. */
bool cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print text of servers, name servers or files, with control characters escaped (lb/base/printable.h). */
void cli_print_foreign(FILE *to, const char *text, size_t bytes);
void cli_puts_foreign(FILE *to, const char *text);

/* Return text of servers, name servers or files as a JSON string; bytes that are not UTF-8 are escaped. */
json_t *cli_json_text(const char *text, size_t bytes);

/* Print a JSON value on one line of standard output, ASCII only, and release it. */
void cli_print_json(json_t *json);

/* Write out standard output's buffer. False: some of the output was lost; *error is the errno of that, or 0. */
bool cli_flush(int *error);

#define CLI_DATA_BYTES_MAX (64 * 1024 * 1024) /* of a file, of a message of standard input */

/* Read a whole file, to be freed; "-" is standard input. NULL: the error was printed. */
char *cli_read_file(const char *path, size_t *length);

#endif
