#include "lb/base/secret.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Pages of its own: what is said of memory to the kernel is said of whole pages. */
char *evener_secret_copy(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(memory, bytes, MADV_DONTDUMP); /* both are a favour that the kernel may refuse */
    (void)mlock(memory, bytes);
    return memcpy(memory, text, bytes);
}

char *evener_secret_take(char *text)
{
    char *secret = evener_secret_copy(text);
    evener_secret_wipe(text);
    return secret;
}

void evener_secret_free(char *secret)
{
    if (secret != NULL) {
        const size_t bytes = strlen(secret) + 1;
        explicit_bzero(secret, bytes);
        (void)munmap(secret, bytes);
    }
}

void evener_secret_wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}
