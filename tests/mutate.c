/* Parts of a mutation run (tests/mutate.sh).
 *
 * It is linked into each of the libraries, which are shared libraries there.
 *
 * With TRACED, the name of a library, that library's code calls __sanitizer_cov_trace_pc() at each basic block (gcc's
 * -fsanitize-coverage=trace-pc). A bit per four bytes of code is set in the file EVENER_MUTATE_MAP.TRACED, which all
 * processes of a test share, and which outlives those that crash.
 *
 * With QUERY it is a program: mutate_query FOLDER NAME ADDRESS... prints the ids of the tests that executed one of the
 * basic blocks at these addresses of the library NAME, one a line. Their files are FOLDER/ID.NAME. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#ifdef QUERY
#include <dirent.h>

static int has_executed(FILE *file, int count, char **addresses)
{
    for (int i = 0; i < count; i++) {
        const unsigned long at = (strtoul(addresses[i], NULL, 16) + 5) / 4; /* after the call, which has five bytes */
        int byte = 0;
        if (fseek(file, (long)(at / 8), SEEK_SET) == 0 && (byte = getc(file)) != EOF && (byte >> at % 8 & 1) != 0) {
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc < 3 ? NULL : opendir(argv[1]);
    if (folder == NULL) {
        fprintf(stderr, "mutate_query: no folder\n");
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *dot = strchr(entry->d_name, '.');
        char path[1024];
        if (dot == NULL || strcmp(dot + 1, argv[2]) != 0 ||
            snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name) >= (int)sizeof path) {
            continue;
        }
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            continue;
        }
        if (has_executed(file, argc - 3, argv + 3)) {
            printf("%.*s\n", (int)(dot - entry->d_name), entry->d_name);
        }
        fclose(file);
    }
    closedir(folder);
    return 0;
}
#else
/* The libraries are linked with --wrap, so that programs which define these (tests/support/failing_memory.c) take the
 * libraries' allocations. For all others there are these. */
#define DEFAULT __attribute__((weak, visibility("default")))

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);

DEFAULT void *__wrap_malloc(size_t bytes)
{
    return __real_malloc(bytes);
}

DEFAULT void *__wrap_calloc(size_t count, size_t bytes)
{
    return __real_calloc(count, bytes);
}

DEFAULT void *__wrap_realloc(void *memory, size_t bytes)
{
    return __real_realloc(memory, bytes);
}

DEFAULT void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return __real_aligned_alloc(alignment, bytes);
}

DEFAULT int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    return __real_posix_memalign(memory, alignment, bytes);
}

DEFAULT void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    return __real_mmap(address, bytes, protection, flags, descriptor, offset);
}

DEFAULT char *__wrap_strdup(const char *text)
{
    return __real_strdup(text);
}

DEFAULT char *__wrap_strndup(const char *text, size_t bytes)
{
    return __real_strndup(text, bytes);
}

#ifdef TRACED
#include <fcntl.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden")))

extern const char __executable_start_of_library[] __asm__("__ehdr_start") HIDDEN;
static unsigned char *bits;
static const size_t size = 1 << 20; /* 32 MB of code */
void __sanitizer_cov_trace_pc(void) HIDDEN;

void __sanitizer_cov_trace_pc(void)
{
    unsigned char *map = __atomic_load_n(&bits, __ATOMIC_RELAXED);
    if (map == NULL) {
        return;
    }
    const size_t at = ((size_t)__builtin_return_address(0) - (size_t)__executable_start_of_library) / 4;
    const unsigned char bit = (unsigned char)(1U << (at % 8));
    if ((__atomic_load_n(&map[at / 8], __ATOMIC_RELAXED) & bit) == 0) {
        __atomic_fetch_or(&map[at / 8], bit, __ATOMIC_RELAXED);
    }
}

__attribute__((constructor(101))) static void open_map(void)
{
    char path[1024];
    const char *folder = getenv("EVENER_MUTATE_MAP");
    if (folder == NULL || snprintf(path, sizeof path, "%s.%s", folder, TRACED) >= (int)sizeof path) {
        return;
    }
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) {
        return;
    }
    if (ftruncate(file, (off_t)size) == 0) {
        void *map = __real_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        __atomic_store_n(&bits, map == MAP_FAILED ? NULL : map, __ATOMIC_RELAXED);
    }
    close(file);
}
#endif
#endif
