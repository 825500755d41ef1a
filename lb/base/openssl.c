#include "lb/base/openssl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libssl.so.3" /* brings libcrypto.so.3 */

#if OPENSSL_VERSION_MAJOR != 3
#error "lb/base/openssl.c loads OpenSSL 3: adapt LIBRARY to the version of the headers"
#endif

evener_openssl_table evener_openssl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char failure[256]; /* why it could not be loaded; "": it was. Written once */

/* Store the function of that name. Return false if the library has none. */
static bool find(void *library, const char *name, void *function, size_t bytes)
{
    void *const found = dlsym(library, name);
    memcpy(function, &found, bytes); /* ISO C has no conversion from an object's address to a function's */
    return found != NULL;
}

static void load(void)
{
    /* It stays loaded: OpenSSL cleans up when the process exits. */
    void *const library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool is_complete = library != NULL;
#define FIND(name)                                                                                                     \
    is_complete = is_complete && find(library, #name, &evener_openssl.name##_, sizeof evener_openssl.name##_);
    EVENER_OPENSSL_FUNCTIONS(FIND)
#undef FIND
    if (!is_complete) {
        const char *reason = dlerror();
        (void)strncpy(failure, reason != NULL ? reason : LIBRARY " cannot be loaded", sizeof failure - 1);
    }
}

evener_status_code evener_openssl_load(evener_status *status)
{
    (void)pthread_once(&once, load);
    if (failure[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "TLS needs OpenSSL 3 (" LIBRARY ", package libssl3): %s", failure);
    }
    return EVENER_STATUS_OK;
}
