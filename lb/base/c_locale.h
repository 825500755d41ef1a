/* The C locale: what evener reads and writes does not depend on the locale that the program has set. In de_DE a number
 * has a decimal comma; in tr_TR, "I" and "i" are no pair. */
#ifndef EVENER_LB_BASE_C_LOCALE_H
#define EVENER_LB_BASE_C_LOCALE_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>

#include <evener/export.h>

#include "lb/base/sibling.h"

/* Return the C locale, for strtod_l(), strcasecmp_l() and the like. It lives as long as the process. Any thread. */
EVENER_SIBLING locale_t evener_c_locale(void);

/* As gai_strerror(), in the C locale. Any thread. */
const char *evener_gai_strerror(int error);

/* As vsnprintf() and snprintf(), in the C locale. Any thread. */
int evener_vsnprintf(char *to, size_t bytes, const char *format, va_list arguments);
EVENER_SIBLING int evener_snprintf(char *to, size_t bytes, const char *format, ...) EVENER_PRINTF(3, 4);

#endif
