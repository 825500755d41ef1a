/* Linked into every suite and stress program: they run in the locale of the environment, as programs do that call
 * setlocale(LC_ALL, ""). tests/run.sh --locale=de_DE.UTF-8 runs them in one with a decimal comma. */
#include <locale.h>

static __attribute__((constructor)) void use_locale(void)
{
    (void)setlocale(LC_ALL, "");
}
