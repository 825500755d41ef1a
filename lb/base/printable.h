/* Printable: foreign text (of servers, name servers and files) for a terminal or a log.
 *
 * Unescaped, an ESC would control the reader's terminal, and a line feed would forge a line of the log. Compiled into
 * the library (its log) and into the command-line program. */
#ifndef EVENER_LB_BASE_PRINTABLE_H
#define EVENER_LB_BASE_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Write as much of the text as fits into `out` of `room` bytes (at least 5) as one line that ends with a NUL. UTF-8
 * text stays as it is. Tab, line feed and carriage return become \t, \n and \r. Each byte of another control
 * character becomes \x1b and so on: C0 and C1 controls, DEL, U+2028 and U+2029 (line and paragraph separators), the
 * characters that change the direction of writing (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), and
 * bytes that are not UTF-8. A backslash stays: the output is for people, and is not parsed again.
 *
 * Return how many bytes of the text were written: less than `bytes` if `out` was full. The rest may follow in another
 * call, as neither a character nor an escape is split. */
size_t evener_printable(const char *text, size_t bytes, char *out, size_t room);

/* Return whether the text may be the value of a header as it is: ASCII without controls. Any thread. */
bool evener_is_header_text(const char *text);

/* Return whether a server accepts the text as :authority (RFC 3986 section 3.2, without user information, which RFC 9113
 * section 8.3.1 forbids). Any thread. */
bool evener_is_authority(const char *text);

#endif
