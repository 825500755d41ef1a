/* The counters of `evener load`: each backend has a row with its own calls, in the order of addresses, however many
 * there are and in whatever order they answer. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/evener/load_stats.h"
#include "tests/support/channel_fixture.h"

#define PEERS 3000 /* 60 KiB each, and 100 KiB with AddressSanitizer */
#define ROUNDS 3
#define ADDRESS_COLUMN 28 /* of the table */
#define STRIDE 7919       /* a prime that does not divide PEERS: neighbours come far from each other */

static load_stats stats;

static void set_up(void)
{
    load_stats_init(&stats);
}

static void tear_down(void)
{
    load_stats_clear(&stats);
}

TestSuite(load_stats, .init = set_up, .fini = tear_down);

static void add(const char *peer, evener_status_code code)
{
    const evener_status status = {.code = code, .message = "no"};
    load_stats_add(&stats, peer, &status, 1000);
}

/* Number i is called by the first i % 3 + 1 rounds, and its call of the first round fails if i is even. */
static void add_round(unsigned round, unsigned i)
{
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:10.1.%u.%u:50051", i / 256, i % 256);
    if (round <= i % 3) {
        add(peer, round == 0 && i % 2 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
    }
}

/* Backwards, which is the worst for a sorted list, and then all over it. */
Test(load_stats, each_of_3000_backends_has_its_own_calls_in_the_order_of_addresses)
{
    for (unsigned i = PEERS; i > 0; i--) {
        add_round(0, i - 1);
    }
    for (unsigned round = 1; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PEERS; i++) {
            add_round(round, (unsigned)((uint64_t)i * STRIDE % PEERS));
        }
    }
    cr_assert_eq(stats.backend_count, PEERS);
    cr_expect_eq(stats.calls, PEERS / 3 * (1 + 2 + 3));
    cr_expect_eq(stats.failed, PEERS / 2);
    cr_expect_eq(stats.nowhere.calls, 0);
    for (size_t row = 0; row < stats.backend_count; row++) {
        const load_backend *backend = stats.backends[row];
        unsigned high, low;
        cr_assert_eq(sscanf(backend->address, "10.1.%u.%u:50051", &high, &low), 2, "%s", backend->address);
        const unsigned i = high * 256 + low;
        cr_assert(row == 0 || strcmp(stats.backends[row - 1]->address, backend->address) < 0, "%s", backend->address);
        cr_assert_eq(backend->calls, i % 3 + 1, "%s", backend->address);
        cr_assert_eq(backend->failed, i % 2 == 0, "%s", backend->address);
        cr_assert_eq(backend->succeeded.count, backend->calls - backend->failed, "%s", backend->address);
    }
}

/* The table's rows, each as "ADDRESS CALLS STATE\n". */
static void rows_of(evener_channel *channel, char *rows, size_t room)
{
    const load_run run = {.elapsed_s = 1, .window_s = 1};
    char *table = NULL;
    size_t bytes;
    FILE *to = open_memstream(&table, &bytes);
    cr_assert_not_null(to);
    load_stats_print_table(&stats, to, channel, &run);
    fclose(to);
    rows[0] = '\0';
    for (const char *line = strchr(table, '\n'); line != NULL && line[1] != '\n'; line = strchr(line + 1, '\n')) {
        char address[ADDRESS_COLUMN + 1] = "", calls[32], state[32];
        cr_assert_eq(sscanf(line, "%*1c%28c %31s %*s %*s %*s %*s %*s %31s", address, calls, state), 3, "%s", line);
        snprintf(rows + strlen(rows), room - strlen(rows), "%.*s %s %s\n", (int)(strstr(address, "  ") - address),
                 address, calls, state);
    }
    free(table);
}

/* "127.0.0.1:3" is not in the channel's list any more, "127.0.0.1:20" and ":7" had no calls. */
Test(load_stats, backends_are_printed_by_address_with_their_states_and_calls_without_one_last)
{
    char rows[512];
    fixture *f = fixture_create(NULL);
    fixture_push(f, "127.0.0.1:7,127.0.0.1:20,127.0.0.1:1");
    fixture_connect(f);
    add(NULL, EVENER_STATUS_UNAVAILABLE);
    add("ipv4:127.0.0.1:3", EVENER_STATUS_OK);
    add("ipv4:127.0.0.1:1", EVENER_STATUS_OK);
    add("ipv4:127.0.0.1:3", EVENER_STATUS_OK);
    add("", EVENER_STATUS_UNAVAILABLE);
    for (int again = 0; again < 2; again++) {
        rows_of(f->channel, rows, sizeof rows);
        cr_expect_str_eq(rows, "127.0.0.1:1 1 READY\n"
                               "127.0.0.1:20 0 READY\n"
                               "127.0.0.1:3 2 -\n"
                               "127.0.0.1:7 0 READY\n"
                               "(no backend) 2 -\n");
    }
    fixture_push(f, "127.0.0.1:3");
    fixture_connect(f);
    rows_of(f->channel, rows, sizeof rows);
    cr_expect_str_eq(rows, "127.0.0.1:1 1 -\n"
                           "127.0.0.1:20 0 -\n"
                           "127.0.0.1:3 2 READY\n"
                           "127.0.0.1:7 0 -\n"
                           "(no backend) 2 -\n");
    fixture_destroy(f);
}
