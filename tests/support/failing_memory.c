#include "tests/support/failing_memory.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

static bool armed;
static bool all_after;
static uint64_t fails_at;
static uint64_t count;

void failing_memory_arm(uint64_t fail_at, bool for_good)
{
    armed = true;
    all_after = for_good;
    fails_at = fail_at;
    count = 0;
}

uint64_t failing_memory_disarm(void)
{
    armed = false;
    return count;
}

static bool refuse(void)
{
    if (!armed) {
        return false;
    }
    count++;
    return count == fails_at || (all_after && count > fails_at);
}

/* With the linker's --wrap=NAME, calls of NAME go to __wrap_NAME, and calls of __real_NAME to the original. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count_of, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count_of, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return refuse() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count_of, size_t bytes)
{
    return refuse() ? NULL : __real_calloc(count_of, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return refuse() ? NULL : __real_realloc(memory, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    return refuse() ? ENOMEM : __real_posix_memalign(memory, alignment, bytes);
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    if (refuse()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, bytes, protection, flags, descriptor, offset);
}

char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
    return refuse() ? NULL : __real_strndup(text, bytes);
}
