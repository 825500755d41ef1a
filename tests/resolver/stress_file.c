/* A file that is edited at random, 10,000 times: written in place and in pieces, truncated, renamed over, deleted,
 * filled with garbage. No pushed list is empty, and the last pushed list is the file's. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/resolver_fixture.h"

#define EDITS 10000
#define ENDPOINTS_MAX 20
#define LIST_BYTES 1024

static char directory[64] = "/tmp/evener-stress-XXXXXX";
static char path[96], other_path[96], target[128];
static uint64_t random_state = 1;

static unsigned random_below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % bound;
}

static void make_list(char *text)
{
    const unsigned count = 1 + random_below(ENDPOINTS_MAX);
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        sprintf(text + strlen(text), "10.0.%u.%u:80 weight=%u\n", random_below(9), i, 1 + random_below(5));
    }
}

static void write_pieces(const char *to, const char *text, unsigned pieces)
{
    FILE *file = fopen(to, "w");
    assert(file != NULL);
    const size_t bytes = strlen(text);
    size_t written = 0;
    for (unsigned i = 0; i < pieces; i++) {
        const size_t end = i + 1 == pieces ? bytes : written + random_below((unsigned)(bytes - written) + 1);
        fwrite(text + written, 1, end - written, file);
        fflush(file);
        written = end;
    }
    fclose(file);
}

static void edit(void)
{
    char text[LIST_BYTES];
    make_list(text);
    switch (random_below(8)) {
    case 0:
        (void)unlink(path);
        break;
    case 1:
        write_pieces(path, "", 1);
        break;
    case 2:
        write_pieces(path, "10.0.0.1:80\nnonsense\n", 2);
        break;
    case 3:
    case 4:
        write_pieces(path, text, 1 + random_below(4));
        break;
    case 5:
        if (access(path, F_OK) == 0) {
            assert(truncate(path, (off_t)random_below(100)) == 0); /* may fill it with NULs */
        }
        break;
    default:
        write_pieces(other_path, text, 1);
        assert(rename(other_path, path) == 0);
    }
    if (random_below(4) == 0) {
        nanosleep(&(struct timespec){.tv_nsec = (long)random_below(2000000)}, NULL);
    }
}

static uint64_t updates, errors;

static void look_at_push(void *arg)
{
    const recording_sink *sink = arg;
    updates = sink->update_count;
    errors = sink->error_count;
    assert(sink->last_was_error || sink->address_count > 0);
    assert(sink->address_count == 0 || strncmp(sink->addresses, "10.0.", 5) == 0);
}

int main(void)
{
    assert(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/list", directory);
    snprintf(other_path, sizeof other_path, "%s/other", directory);
    snprintf(target, sizeof target, "file://%s", path);
    write_pieces(path, "10.0.0.1:80\n", 1);

    resolver_fixture *f = resolver_fixture_create_on_thread();
    f->sink.on_push = look_at_push;
    f->sink.on_push_arg = &f->sink;
    resolver_fixture_open(f, target);
    for (int i = 0; i < EDITS; i++) {
        edit();
    }
    write_pieces(path, "10.0.7.7:80\n10.0.8.8:80 weight=2\n", 2);
    assert(resolver_fixture_wait_addresses(f, "10.0.7.7:80,10.0.8.8:80;weight=2"));
    resolver_fixture_destroy(f);
    printf("%d edits: %lu updates, %lu errors\n", EDITS, (unsigned long)updates, (unsigned long)errors);

    (void)unlink(path);
    (void)rmdir(directory);
    return 0;
}
