#include <evener/version.h>

const char *evener_version_string(void)
{
    return EVENER_VERSION_STRING;
}
