#include "bench/report/summary.h"

#include <stdio.h>
#include <string.h>

#include "bench/report/tables.h"

#define PICKS(which, backends)                                                                                         \
    {                                                                                                                  \
        "picker", {{"policy", which}, {"backends", backends}, {"threads", "1"}, {"updates_per_s", "0"}},               \
            "pick_done_ns"                                                                                             \
    }
#define CALLS(who, kind, number, key)                                                                                  \
    {                                                                                                                  \
        "rpc", {{"client", who}, {"mode", kind}, {"in_flight", number}, {"policy", "round_robin"}}, key                \
    }
#define TAILS(which, who, by)                                                                                          \
    {                                                                                                                  \
        "tail", {{"scenario", which}, {"client", who}, {"policy", by}}, "p99_us"                                       \
    }

/* One figure: the value of a key in the first row that matches. */
typedef struct figure {
    const char *array;
    table_only only[TABLE_ONLY_MAX];
    const char *key;
} figure;

/* Each '@' in the text is the next figure. */
static const struct line {
    const char *text;
    figure figures[3];
} lines[] = {
    {"A pick and its end cost nanoseconds: @ ns with round_robin, @ ns with p2c_ewma (10 backends, one thread).",
     {PICKS("round_robin", "10"), PICKS("p2c_ewma", "10")}},
    {"With 10,000 backends they cost @ ns and @ ns.", {PICKS("round_robin", "10000"), PICKS("p2c_ewma", "10000")}},
    {"No pick takes a lock, allocates memory or makes a system call: threads do not wait for each other.", {{0}}},
    {"A call over loopback takes @ us (http2), @ us (grpc) or @ us (the plain C core), thousands of picks. So "
     "choose a policy by how it spreads calls, not by what it costs.",
     {CALLS("http2", "blocking", "1", "p50_us"), CALLS("evener", "blocking", "1", "p50_us"),
      CALLS("core", "blocking", "1", "p50_us")}},
    {"With 64 calls in flight: @ calls per second (http2), @ (grpc), @ (the plain C core), clients and servers on one "
     "machine.",
     {CALLS("http2", "asynchronous", "64", "calls_per_s"), CALLS("evener", "asynchronous", "64", "calls_per_s"),
      CALLS("core", "asynchronous", "64", "calls_per_s")}},
    {"One of four servers slow by 5 ms: the 99th percentile is @ us with round_robin, @ us with p2c_ewma.",
     {TAILS("1 of 4 slow by 5 ms", "evener", "round_robin"), TAILS("1 of 4 slow by 5 ms", "evener", "p2c_ewma")}},
    {"One of four servers hangs: @ us with round_robin (the deadline), @ us with p2c_ewma.",
     {TAILS("1 of 4 hangs", "evener", "round_robin"), TAILS("1 of 4 hangs", "evener", "p2c_ewma")}},
    {"A changed weight in a list of 10,000 backends is in force after @ us; picks go on meanwhile.",
     {{"update", {{"policy", "round_robin"}, {"backends", "10000"}, {"changed", "1"}, {"what", "weight"}}, "us"}}},
    {"A backend that is not connected takes @ bytes with round_robin, @ bytes with p2c_ewma (10,000 backends).",
     {{"memory", {{"policy", "round_robin"}, {"backends", "10000"}}, "bytes_per_backend"},
      {"memory", {{"policy", "p2c_ewma"}, {"backends", "10000"}}, "bytes_per_backend"}}},
    {"What is not covered: networks, other processors, many clients at once. Simulations cover the last, below.",
     {{0}}},
};

static void print_figure(const json_t *results, const figure *f)
{
    size_t count = 0;
    while (count < TABLE_ONLY_MAX && f->only[count].key != NULL) {
        count++;
    }
    const json_t *row = table_find(json_object_get(results, f->array), f->only, count);
    char text[TABLE_TEXT_BYTES] = "";
    if (row != NULL) {
        table_text(row, f->key, text);
    }
    fputs(text[0] != '\0' ? text : "?", stdout);
}

void summary_print(const json_t *results)
{
    puts("## In short\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const figure *next = lines[i].figures;
        fputs("- ", stdout);
        for (const char *c = lines[i].text; *c != '\0'; c++) {
            if (*c == '@') {
                print_figure(results, next++);
            } else {
                putchar(*c);
            }
        }
        putchar('\n');
    }
    putchar('\n');
}
