#include "examples/evener/load_schedule.h"

static uint64_t due_after_ns(const load_schedule *s, uint64_t number)
{
    return (uint64_t)((double)number * 1e9 / s->rate);
}

/* Return how many calls are due before a time after the start, at most `most`. */
static uint64_t count_due(const load_schedule *s, uint64_t before_ns, uint64_t most)
{
    const double about = (double)before_ns / 1e9 * s->rate;
    if (about >= (double)most) {
        return most;
    }
    uint64_t count = (uint64_t)about;
    while (count > 0 && due_after_ns(s, count - 1) >= before_ns) {
        count--;
    }
    while (count < most && due_after_ns(s, count) < before_ns) {
        count++;
    }
    return count;
}

load_schedule load_schedule_begin(double rate, uint64_t began_ns, uint64_t end_ns, uint64_t calls_max)
{
    load_schedule s = {.rate = rate, .began_ns = began_ns, .end_ns = end_ns, .last_start_ns = began_ns};
    const uint64_t most = calls_max != 0 ? calls_max : UINT64_MAX;
    s.due = end_ns != UINT64_MAX ? count_due(&s, end_ns - began_ns, most) : most;
    return s;
}

uint64_t load_schedule_next_ns(const load_schedule *s)
{
    return s->started < s->due ? s->began_ns + due_after_ns(s, s->started) : UINT64_MAX;
}

uint64_t load_schedule_start(load_schedule *s, uint64_t now_ns)
{
    const uint64_t due_ns = load_schedule_next_ns(s);
    if (due_ns == UINT64_MAX || now_ns >= s->end_ns) {
        return UINT64_MAX;
    }
    s->started++;
    s->last_start_ns = now_ns;
    return due_ns;
}

void load_schedule_interrupt(load_schedule *s, uint64_t now_ns)
{
    const uint64_t due = count_due(s, now_ns - s->began_ns, s->due);
    s->due = due > s->started ? due : s->started;
}

uint64_t load_schedule_not_started(const load_schedule *s)
{
    return s->due - s->started;
}

double load_schedule_spread_s(const load_schedule *s)
{
    const double due_s = (double)s->due / s->rate;
    const double late_s = (double)(s->last_start_ns - s->began_ns) / 1e9;
    return due_s > late_s ? due_s : late_s;
}
