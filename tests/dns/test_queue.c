/* The queue of queries (resolver/dns/queue.h) and tiers of SRV records (resolver/dns/tiers.h), each by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/queue.h"
#include "resolver/dns/tiers.h"
#include "tests/support/virtual_loop.h"

#define TICKETS 16

static virtual_loop *loop;
static evener_dns_queue queue;
static evener_dns_ticket tickets[TICKETS];
static char begun[TICKETS + 1]; /* in their order: 'a' is the first ticket */

static void begin(void *arg)
{
    begun[strlen(begun)] = (char)('a' + ((evener_dns_ticket *)arg - tickets));
}

static void set_up(void)
{
    loop = virtual_loop_create(1);
    evener_dns_queue_init(&queue, virtual_loop_loop(loop));
    for (size_t i = 0; i < TICKETS; i++) {
        tickets[i] = (evener_dns_ticket){.begin = begin, .arg = &tickets[i]};
    }
}

static void tear_down(void)
{
    cr_assert_eq(virtual_loop_next_deadline_ns(loop), UINT64_MAX);
    virtual_loop_destroy(loop);
}

TestSuite(dns_queue, .init = set_up, .fini = tear_down);

static void enter(size_t ticket, const void *owner, size_t limit)
{
    evener_dns_queue_enter(&queue, &tickets[ticket], owner, limit);
}

static void expect(const char *order, size_t running, size_t waiting)
{
    cr_assert_str_eq(begun, order, "%s", begun);
    cr_assert_eq(queue.running, running, "%zu", queue.running);
    cr_assert_eq(queue.waiting, waiting, "%zu", queue.waiting);
}

/* Leave, and let others begin. */
static void leave_and_run(size_t ticket)
{
    evener_dns_queue_leave(&queue, &tickets[ticket]);
    virtual_loop_run_until_idle(loop);
}

static void leave(size_t ticket, const char *order, size_t running, size_t waiting)
{
    leave_and_run(ticket);
    cr_assert_eq(tickets[ticket].state, EVENER_DNS_TICKET_NONE);
    expect(order, running, waiting);
}

Test(dns_queue, at_most_the_limit_runs_and_the_others_wait_in_order)
{
    for (size_t i = 0; i < 5; i++) {
        enter(i, &queue, 2);
    }
    expect("ab", 2, 3);
    cr_assert_eq(tickets[1].state, EVENER_DNS_TICKET_RUNNING);
    cr_assert_eq(tickets[2].state, EVENER_DNS_TICKET_WAITING);
    leave(0, "abc", 2, 2);
    cr_assert_eq(tickets[2].state, EVENER_DNS_TICKET_RUNNING);
    leave(0, "abc", 2, 2); /* not in the queue */
    leave(2, "abcd", 2, 1);
    leave(1, "abcde", 2, 0);
    leave(3, "abcde", 1, 0);
    leave(4, "abcde", 0, 0);
    enter(5, &queue, 1);
    expect("abcdef", 1, 0);
    leave(5, "abcdef", 0, 0);
}

Test(dns_queue, one_may_leave_from_anywhere_in_the_line)
{
    for (size_t i = 0; i < 7; i++) {
        enter(i, &queue, 1);
    }
    leave(3, "a", 1, 5); /* in the middle */
    leave(6, "a", 1, 4); /* the last */
    leave(1, "a", 1, 3); /* the first */
    enter(7, &queue, 1);
    expect("a", 1, 4);
    leave(0, "ac", 1, 3);
    leave(2, "ace", 1, 2);
    leave(5, "ace", 1, 1); /* the first of two, while another runs */
    leave(7, "ace", 1, 0); /* the only one */
    enter(8, &queue, 1);
    leave(4, "acei", 1, 0);
    leave(8, "acei", 0, 0);
    for (size_t i = 0; i < EVENER_DNS_QUEUE_LINES; i++) {
        cr_assert(queue.lines[i].first == NULL && queue.lines[i].last == NULL);
    }
}

/* Each owner gets its turn, however many tickets another one has. */
Test(dns_queue, owners_take_turns)
{
    static const char owners[4096];
    const void *other = NULL;
    enter(0, owners, 1);
    enter(1, owners, 1);
    for (size_t i = 1; other == NULL; i++) { /* one of another line */
        cr_assert_lt(i, sizeof owners);
        enter(2, owners + i, 1);
        other = tickets[2].line != tickets[1].line ? owners + i : NULL;
        leave_and_run(2);
    }
    for (size_t i = 2; i < 6; i++) {
        enter(i, owners, 1);
    }
    enter(6, other, 1);
    enter(7, other, 1);
    for (size_t i = 0; i < 8; i++) { /* whoever runs leaves */
        leave_and_run((size_t)(begun[i] - 'a'));
    }
    expect(begun, 0, 0);
    cr_assert(strcmp(begun, "abgchdef") == 0 || strcmp(begun, "agbhcdef") == 0, "%s", begun);
}

/* Owners of any line: all get a place in the end, each owner's tickets in their order. */
Test(dns_queue, tickets_of_all_owners_get_a_place)
{
    static const char owners[TICKETS / 2];
    for (size_t i = 0; i < TICKETS; i++) {
        enter(i, owners + i / 2, 3);
    }
    expect("abc", 3, TICKETS - 3);
    for (size_t i = 0; i < TICKETS; i++) { /* whoever began first leaves */
        cr_assert_gt(strlen(begun), i);
        leave_and_run((size_t)(begun[i] - 'a'));
        cr_assert_leq(queue.running, 3);
    }
    cr_assert_eq(strlen(begun), TICKETS);
    cr_assert(queue.running == 0 && queue.waiting == 0);
    for (char one = 'a'; one < 'a' + TICKETS; one = (char)(one + 2)) {
        cr_assert_lt(strchr(begun, one), strchr(begun, one + 1), "%s", begun);
    }
}

/* Who comes later does not overtake one that waits, even with a higher limit; several may begin at once. */
Test(dns_queue, a_higher_limit_does_not_overtake)
{
    enter(0, &queue, 1);
    enter(1, &queue, 1);
    enter(2, &queue, 5);
    enter(3, &queue, 5);
    expect("a", 1, 3);
    leave(0, "abcd", 3, 0);
    enter(4, &queue, 3);
    expect("abcd", 3, 1);
    leave(1, "abcde", 3, 0);
}

/* Who may run more at once does not wait for the end of a query of one who may not. */
Test(dns_queue, another_owner_below_its_limit_begins)
{
    static const int other;
    enter(0, &queue, 1);
    enter(1, &queue, 1);
    enter(2, &other, 5);
    virtual_loop_run_until_idle(loop);
    expect("ac", 2, 1);
    leave(0, "ac", 1, 1);
    leave(2, "acb", 1, 0);
}

/* A channel that is closed takes its tickets away one by one: none begins meanwhile. */
Test(dns_queue, nothing_begins_while_others_leave)
{
    for (size_t i = 0; i < 6; i++) {
        enter(i, &queue, 2);
    }
    for (size_t i = 0; i < 4; i++) {
        evener_dns_queue_leave(&queue, &tickets[i]);
        cr_assert_str_eq(begun, "ab");
    }
    enter(6, &queue, 2); /* does not overtake */
    expect("ab", 0, 3);
    virtual_loop_run_until_idle(loop);
    expect("abef", 2, 1);
    leave(6, "abef", 2, 0);
    enter(7, &queue, 2);
    evener_dns_queue_leave(&queue, &tickets[4]);
    evener_dns_queue_leave(&queue, &tickets[7]); /* the last that waits: nothing is left to begin */
    cr_assert_eq(virtual_loop_next_deadline_ns(loop), UINT64_MAX);
    leave(5, "abef", 0, 0);
}

static void begin_and_leave(void *arg)
{
    begin(arg);
    evener_dns_queue_leave(&queue, arg);
}

/* A query that does not start gives its place back at once. */
Test(dns_queue, a_ticket_may_leave_when_it_begins)
{
    tickets[0].begin = tickets[2].begin = tickets[4].begin = begin_and_leave;
    for (size_t i = 0; i < 5; i++) {
        enter(i, &queue, 1);
    }
    expect("ab", 1, 3);
    leave(1, "abcd", 1, 1);
    leave(3, "abcde", 0, 0);
}

/* ---- tiers ---- */

/* Fill a list from services "priority weight port address|address"; '?' in front: the target has not answered. */
static const char *tiers(const char *const *texts, size_t count, bool all)
{
    static char result[1024];
    evener_dns_service services[8];
    evener_dns_answer targets[8];
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    bool waiting = false;
    memset(targets, 0, sizeof targets);
    for (size_t i = 0; i < count; i++) {
        unsigned priority, weight, port;
        char addresses[256] = "", *rest = NULL;
        const bool pending = texts[i][0] == '?';
        evener_dns_record *record;
        cr_assert_geq(sscanf(texts[i] + pending, "%u %u %u %255s", &priority, &weight, &port, addresses), 3);
        for (char *one = strtok_r(addresses, "|", &rest); one != NULL; one = strtok_r(NULL, "|", &rest)) {
            cr_assert(evener_dns_answer_add(&targets[i], one, &record));
        }
        services[i] = (evener_dns_service){
            .srv = {.port = (uint16_t)port, .priority = (uint16_t)priority, .weight = (uint16_t)weight},
            .target = &targets[i],
            .pending = pending};
    }
    evener_dns_services_sort(services, count);
    cr_assert_eq(evener_dns_tiers_fill(&list, services, count, all, &waiting, &status), EVENER_STATUS_OK);
    size_t used = (size_t)snprintf(result, sizeof result, "%s", waiting ? "waiting" : "");
    for (size_t i = 0; i < list.count; i++) {
        used += (size_t)snprintf(result + used, sizeof result - used, "%s%s/%s/%s", used > 0 ? " " : "",
                                 evener_address_text(list.addresses[i]),
                                 evener_address_attribute(list.addresses[i], "priority"),
                                 evener_address_attribute(list.addresses[i], "weight"));
    }
    evener_list_clear(&list);
    for (size_t i = 0; i < count; i++) {
        evener_dns_answer_clear(&targets[i]);
    }
    return result;
}

#define expect_tiers(all, expected, ...)                                                                               \
    do {                                                                                                               \
        const char *const texts_[] = {__VA_ARGS__};                                                                    \
        const char *got_ = tiers(texts_, sizeof texts_ / sizeof texts_[0], all);                                       \
        cr_expect_str_eq(got_, expected, "%s", got_);                                                                  \
    } while (0)

Test(dns_tiers, services_are_sorted_by_priority_and_otherwise_stay_in_order)
{
    expect_tiers(true, "10.0.0.4:4/0/1 10.0.0.2:2/1/1 10.0.0.5:5/1/1 10.0.0.1:1/2/1 10.0.0.3:3/2/1", "7 1 1 10.0.0.1",
                 "5 1 2 10.0.0.2", "7 1 3 10.0.0.3", "0 1 4 10.0.0.4", "5 1 5 10.0.0.5");
}

Test(dns_tiers, weights_are_scaled_only_where_they_are_shared_or_zero)
{
    expect_tiers(false, "10.0.0.1:1/0/3 10.0.0.2:2/0/1", "0 3 1 10.0.0.1", "0 1 2 10.0.0.2");
    expect_tiers(false, "10.0.0.1:1/0/1 10.0.0.2:2/0/1", "0 0 1 10.0.0.1", "0 0 2 10.0.0.2");
    expect_tiers(false, "10.0.0.1:1/0/300 10.0.0.2:2/0/1", "0 3 1 10.0.0.1", "0 0 2 10.0.0.2");
    expect_tiers(false, "10.0.0.1:1/0/150 10.0.0.3:1/0/150 10.0.0.2:2/0/100", "0 3 1 10.0.0.1|10.0.0.3",
                 "0 1 2 10.0.0.2");
    expect_tiers(false, "10.0.0.1:1/0/1 10.0.0.3:1/0/1", "0 0 1 10.0.0.1|10.0.0.3");
    expect_tiers(false, "10.0.0.1:1/0/6553500 10.0.0.2:2/0/1", "0 65535 1 10.0.0.1", "0 0 2 10.0.0.2");
}

Test(dns_tiers, each_tier_has_its_own_scale_and_number)
{
    expect_tiers(true, "10.0.0.1:1/0/100 10.0.0.2:1/0/100 10.0.0.3:2/1/2", "1 2 1 10.0.0.1|10.0.0.2", "2 2 2 10.0.0.3");
    expect_tiers(false, "10.0.0.3:3/2/1", "1 1 1", "2 1 2", "3 1 3 10.0.0.3");
    expect_tiers(false, "", "1 1 1", "2 1 2");
}

Test(dns_tiers, a_target_that_has_not_answered_is_waited_for_in_the_tiers_that_count)
{
    expect_tiers(false, "waiting 10.0.0.1:1/0/1", "1 1 1 10.0.0.1", "?1 1 2");
    expect_tiers(false, "10.0.0.1:1/0/1", "1 1 1 10.0.0.1", "?2 1 2");
    expect_tiers(true, "waiting 10.0.0.1:1/0/1", "1 1 1 10.0.0.1", "?2 1 2");
    expect_tiers(false, "waiting 10.0.0.2:2/1/1", "?1 1 1", "2 1 2 10.0.0.2");
    expect_tiers(false, "waiting 10.0.0.2:2/1/1", "?1 1 1", "2 1 2 10.0.0.2", "3 1 3 10.0.0.3");
}
