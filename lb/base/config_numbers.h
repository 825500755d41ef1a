/* Whole numbers in the text of a libconfig file.
 *
 * libconfig reads a number without the suffix L as a C int: 4294968320 becomes 1024, and 4294967295 becomes -1, without
 * an error. Therefore evener adds the suffix before libconfig sees the text, and refuses what 64 bits do not hold. */
#ifndef EVENER_LB_BASE_CONFIG_NUMBERS_H
#define EVENER_LB_BASE_CONFIG_NUMBERS_H

#include <stddef.h>

/* Return a malloc()ed copy of `text` in which every whole number has the suffix; lines stay as they are. NULL: on out of
 * memory *bad_line is 0, otherwise the line, from 1, of a number beyond 64 bits. Any thread. */
char *evener_config_widen_numbers(const char *text, size_t *bad_line);

#endif
