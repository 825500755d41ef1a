/* The messages of --data, one after the other: JSON values of the command line, of a file, or of standard input as they
 * come. */
#ifndef EVENER_CLI_MESSAGES_H
#define EVENER_CLI_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/descriptors.h>

#include "examples/evener/options.h"

typedef struct cli_messages {
    const cli_options *options;
    const evener_method *method;
    int stop; /* a file descriptor that becomes readable when no further message is wanted; -1: none */
    /* What was read, from `at` on not yet taken. Owned if it is of standard input. */
    const char *text;
    char *owned;
    size_t length, room, at;
    bool at_end;   /* nothing follows `text` */
    bool is_later; /* not the first message */
    /* Where the search for the end of the value at `at` has got to. */
    size_t scanned, depth;
    bool begun, in_string, escaped;
} cli_messages;

/* Begin with the messages for the method. To be closed. */
cli_messages cli_messages_open(const cli_options *options, const evener_method *method);
void cli_messages_close(cli_messages *messages);

/* Take the next message; of standard input, wait for it. *more: false if there is none left, or `stop` is readable.
 * False: the error was printed. */
bool cli_messages_next(cli_messages *messages, bool *more, evener_bytes *message);

/* Store the message of a unary call, to be cleared. False: the error was printed, also if there are several, and the
 * message is empty. */
bool cli_messages_take_one(const cli_options *options, const evener_method *method, evener_bytes *message);

#endif
