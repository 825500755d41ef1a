#include "lb/base/c_locale.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc has it built in: needs no memory */
}

locale_t evener_c_locale(void)
{
    (void)pthread_once(&once, make);
    return c_locale;
}

int evener_vsnprintf(char *to, size_t bytes, const char *format, va_list arguments)
{
    const locale_t before = uselocale(evener_c_locale()); /* this thread's only */
    const int length = vsnprintf(to, bytes, format, arguments);
    (void)uselocale(before);
    return length;
}

int evener_snprintf(char *to, size_t bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = evener_vsnprintf(to, bytes, format, arguments);
    va_end(arguments);
    return length;
}

const char *evener_gai_strerror(int error)
{
    const locale_t callers = uselocale(evener_c_locale());
    const char *text = gai_strerror(error);
    (void)uselocale(callers);
    return text;
}
