/* IMPLEMENTATION NOTES
 *
 * A lookup works in rounds. A round starts the queries of all record types of its kind together (two for a host). It
 * ends when all of them have ended, or when the next round begins.
 *
 *     phase             leaves for
 *     NEW               ASKING (the first watch)
 *     ASKING            WAITING or BACKING_OFF (all ended), PARTLY_ANSWERED (one family has addresses, 50 ms later)
 *     PARTLY_ANSWERED   WAITING or BACKING_OFF (all ended), ASKING (refresh timer)
 *     WAITING           ASKING (refresh timer), BACKING_OFF (a new watch does not accept the answer)
 *     BACKING_OFF       ASKING (refresh timer)
 *
 * WAITING: the last answer was accepted. BACKING_OFF: the last round failed, or no watch accepted its answer. Two rare
 * cases leave BACKING_OFF for WAITING or PARTLY_ANSWERED: a family that answers late in a round that ran out of memory,
 * and a new watch that refuses an answer which other watches then accept.
 *
 * A and AAAA (RFC 8305 section 3, "resolution delay"): the first family with addresses waits 50 ms for the other and is
 * then reported alone; the other family is added when it answers. The refresh timer starts at the first report, so a
 * family that never answers (grpc 35638) delays nothing: the next round cancels its query and starts a new one. A
 * family that answered before and fails now is kept for FAMILY_KEPT_MS, so that one failed family does not halve the
 * list.
 *
 * A round asks for the candidate names of resolv.conf's search list one after the other (system.h), all record types of
 * one candidate together, so that A and AAAA are of the same host. The first candidate with addresses ends the search;
 * so does a time-out, because no server is there to answer for the next one. A candidate without addresses (NXDOMAIN,
 * NODATA) and one whose servers answer with an error (SERVFAIL, REFUSED) lead to the next. Without any addresses the
 * round is an answer only if every query was answered. Where nsswitch.conf has the hosts file behind DNS, the file comes
 * after the last candidate.
 *
 * Order: evener_dns_order() sorts within a family by RFC 6724. Between the families its rules 1 and 6 decide: first
 * those to which this machine has a route, then IPv6 before IPv4. pick_first interleaves them by itself (A61). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "resolver/dns/lookup_internal.h"

#define RESOLUTION_DELAY_MS 50   /* RFC 8305 section 8 */
#define UNKNOWN_TTL_MS 30000     /* the hosts file: as often as failing connections would query */
#define UNKNOWN_NEGATIVE_MS 5000 /* a negative answer without a SOA record */
#define FAMILY_KEPT_MS 300000    /* as long as a channel keeps its list after an empty update */
#define REFRESH_EARLIEST 0.8     /* of the TTL */

/* ---- phases ---- */

/* Return whether the table at the head of this file has this edge; staying is always allowed. */
static bool may_enter(lookup_phase from, lookup_phase to)
{
    enum {
        ENDS = 1U << LOOKUP_WAITING | 1U << LOOKUP_BACKING_OFF,
    };
    static const uint32_t edges[] = {
        [LOOKUP_NEW] = 1U << LOOKUP_ASKING,
        [LOOKUP_ASKING] = ENDS | 1U << LOOKUP_PARTLY_ANSWERED,
        [LOOKUP_PARTLY_ANSWERED] = ENDS | 1U << LOOKUP_ASKING,
        [LOOKUP_WAITING] = 1U << LOOKUP_ASKING | 1U << LOOKUP_BACKING_OFF,
        [LOOKUP_BACKING_OFF] = 1U << LOOKUP_ASKING | 1U << LOOKUP_WAITING | 1U << LOOKUP_PARTLY_ANSWERED,
    };
    return from == to || (edges[from] & 1U << to) != 0;
}

static void enter_phase(struct evener_dns_lookup *lookup, lookup_phase next)
{
    assert(may_enter(lookup->phase, next));
    (void)may_enter; /* in builds without assertions */
    lookup->phase = next;
}

bool evener_dns_round_is_asking(const struct evener_dns_lookup *lookup)
{
    bool asking = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        asking = asking || lookup->parts[i].phase == PART_ASKING;
    }
    return asking;
}

/* ---- notifying watches ---- */

static bool is_usable(const struct evener_dns_part *part, uint64_t now_ns)
{
    return part->answered_ns != 0 &&
           (part->failed_ns == 0 || now_ns - part->failed_ns <= FAMILY_KEPT_MS * EVENER_NS_PER_MS);
}

static bool is_nxdomain(const evener_dns_answer *answer)
{
    return answer->nothing != NULL && strcmp(answer->nothing, "NXDOMAIN") == 0;
}

/* Order the usable parts by the preference of their families. */
static size_t order_parts(struct evener_dns_lookup *lookup, uint64_t now_ns,
                          struct evener_dns_part *ordered[EVENER_DNS_PARTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < lookup->part_count; i++) {
        if (is_usable(&lookup->parts[i], now_ns)) {
            ordered[count++] = &lookup->parts[i];
        }
    }
    if (count == 2) {
        const struct evener_dns_part *a = ordered[0];
        const struct evener_dns_part *aaaa = ordered[1];
        if (aaaa->answer.reachable || !a->answer.reachable || lookup->options.family == EVENER_DNS_FAMILY_IPV6_FIRST) {
            struct evener_dns_part *first = ordered[0];
            ordered[0] = ordered[1];
            ordered[1] = first;
        }
    }
    return count;
}

/* Let `part` bound the validity of the result. A part without records counts only if all are without (`negative`). */
static void note_ttl(const struct evener_dns_part *part, bool negative, uint64_t *ttl_ms, bool *ttl_known)
{
    if (!part->answer.ttl_known || (part->answer.record_count == 0) != negative) {
        return;
    }
    const uint64_t part_ms = (uint64_t)part->answer.ttl_s * 1000;
    if (!*ttl_known || part_ms < *ttl_ms) {
        *ttl_ms = part_ms;
    }
    *ttl_known = true;
}

/* Combine the answers of the parts. The caller frees result->records. False: out of memory. */
bool evener_dns_round_result(struct evener_dns_lookup *lookup, evener_dns_result *result, bool *ttl_known)
{
    struct evener_dns_part *ordered[EVENER_DNS_PARTS_MAX];
    const size_t parts = order_parts(lookup, evener_loop_now_ns(lookup->loop), ordered);
    size_t count = 0;
    for (size_t i = 0; i < parts; i++) {
        count += ordered[i]->answer.record_count;
    }
    const evener_dns_record **records = malloc((count + 1) * sizeof *records);
    if (records == NULL) {
        return false;
    }
    *result = (evener_dns_result){.records = records, .count = count, .nothing = "NODATA", .source = "dns"};
    *ttl_known = false;
    size_t filled = 0;
    for (size_t i = parts; i-- > 0;) {
        const evener_dns_answer *answer = &ordered[i]->answer;
        if (answer->record_count > 0 || count == 0) {
            result->source = answer->source;
        }
        if (is_nxdomain(answer)) {
            result->nothing = "NXDOMAIN";
        }
        if (answer->glue_count > 0) {
            result->glue = answer->glue;
            result->glue_count = answer->glue_count;
        }
        note_ttl(ordered[i], count == 0, &result->ttl_ms, ttl_known);
    }
    if (lookup->saw_nodata) {
        result->nothing = "NODATA";
    }
    for (size_t i = 0; i < parts; i++) {
        for (size_t j = 0; j < ordered[i]->answer.record_count; j++) {
            records[filled++] = &ordered[i]->answer.records[j];
        }
    }
    return true;
}

/* ---- the time of the next round ---- */

void evener_dns_round_within(struct evener_dns_lookup *lookup, uint64_t delay_ns)
{
    if (!lookup->refresh.active || lookup->refresh.deadline_ns > evener_loop_now_ns(lookup->loop) + delay_ns) {
        evener_timer_start(lookup->loop, &lookup->refresh, delay_ns);
    }
}

static void back_off(struct evener_dns_lookup *lookup)
{
    evener_dns_round_within(lookup, evener_backoff_next_ns(&lookup->backoff, NULL, lookup->loop));
}

static void refresh_by_ttl(struct evener_dns_lookup *lookup, const evener_dns_result *result, bool ttl_known)
{
    uint64_t ttl_ms = ttl_known ? result->ttl_ms : result->count > 0 ? UNKNOWN_TTL_MS : UNKNOWN_NEGATIVE_MS;
    if (ttl_ms < lookup->options.min_refresh_ms) {
        ttl_ms = lookup->options.min_refresh_ms;
    }
    if (ttl_ms > lookup->options.max_refresh_ms) {
        ttl_ms = lookup->options.max_refresh_ms;
    }
    const double share = REFRESH_EARLIEST + (1.0 - REFRESH_EARLIEST) * evener_loop_random_unit(lookup->loop);
    evener_backoff_reset(&lookup->backoff);
    evener_dns_round_within(lookup, (uint64_t)((double)(ttl_ms * EVENER_NS_PER_MS) * share));
}

/* ---- rounds ---- */

static void round_failed(struct evener_dns_lookup *lookup, const evener_status *why)
{
    lookup->restarted = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        struct evener_dns_part *part = &lookup->parts[i];
        if (part->phase == PART_FAILED && part->failed_ns == 0) {
            part->failed_ns = evener_loop_now_ns(lookup->loop);
        }
    }
    evener_status_set(&lookup->error, EVENER_STATUS_UNAVAILABLE, "dns: %s: %s", lookup->name, why->message);
    evener_log(EVENER_LOG_WARNING, "resolver", "%s", lookup->error.message);
    back_off(lookup);
    enter_phase(lookup, LOOKUP_BACKING_OFF);
    (void)evener_dns_notify(lookup, NULL);
}

static const char *candidate_name(const struct evener_dns_lookup *lookup)
{
    return lookup->plan.is_local || lookup->candidate >= lookup->plan.names.count
               ? lookup->name
               : lookup->plan.names.names[lookup->candidate];
}

static bool has_record(const evener_dns_answer *answer, const char *text)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        if (strcmp(answer->records[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

/* Move to `fresh` what the old answer had and the new one has not, while it is young (options->keep_removed_ms). */
static void keep_removed(struct evener_dns_part *part, uint64_t keep_ms, uint64_t now_ns)
{
    for (size_t i = 0; i < part->fresh.record_count; i++) {
        part->fresh.records[i].seen_ns = now_ns;
    }
    for (size_t i = 0; i < part->answer.record_count && part->fresh.record_count > 0 && keep_ms > 0; i++) {
        const evener_dns_record *old = &part->answer.records[i];
        evener_dns_record *kept;
        if (now_ns - old->seen_ns <= keep_ms * EVENER_NS_PER_MS && !has_record(&part->fresh, old->text) &&
            evener_dns_answer_add(&part->fresh, old->text, &kept) && kept != NULL) {
            kept->seen_ns = old->seen_ns;
        }
    }
}

/* The round has its answer: take over what its queries found for the candidate. */
static void commit(struct evener_dns_lookup *lookup)
{
    const char *name = candidate_name(lookup);
    const uint64_t now_ns = evener_loop_now_ns(lookup->loop);
    for (size_t i = 0; i < lookup->part_count; i++) {
        struct evener_dns_part *part = &lookup->parts[i];
        const bool same_name = strcmp(part->answered_name, name) == 0;
        if (part->has_fresh) {
            if (same_name && lookup->part_count == EVENER_DNS_PARTS_MAX) {
                keep_removed(part, lookup->options.keep_removed_ms, now_ns);
            }
            evener_dns_answer_clear(&part->answer);
            part->answer = part->fresh;
            part->fresh = (evener_dns_answer){.records = NULL};
            part->has_fresh = false;
            part->answered_ns = now_ns;
            part->failed_ns = 0;
            snprintf(part->answered_name, sizeof part->answered_name, "%s", name);
        } else if (part->phase != PART_ANSWERED && !same_name) {
            evener_dns_answer_clear(&part->answer); /* of another host */
            part->answered_ns = 0;
        } else if (part->phase != PART_ANSWERED && part->failed_ns == 0) {
            part->failed_ns = now_ns;
        }
    }
}

static void round_answered(struct evener_dns_lookup *lookup)
{
    evener_dns_result result;
    bool ttl_known;
    commit(lookup);
    if (!evener_dns_round_result(lookup, &result, &ttl_known)) {
        const evener_status no_memory = {EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory"};
        round_failed(lookup, &no_memory);
        return;
    }
    evener_status_clear(&lookup->error);
    lookup->restarted = false;
    lookup->known = true;
    enter_phase(lookup, evener_dns_round_is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_WAITING);
    if (evener_dns_notify(lookup, &result)) {
        refresh_by_ttl(lookup, &result, ttl_known);
        enter_phase(lookup, evener_dns_round_is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_WAITING);
    } else {
        back_off(lookup);
        enter_phase(lookup, evener_dns_round_is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_BACKING_OFF);
    }
    free((void *)(uintptr_t)result.records);
}

static void ask_candidate(struct evener_dns_lookup *lookup);

static bool is_wanted(const struct evener_dns_lookup *lookup, evener_dns_type type)
{
    const evener_dns_family family = lookup->options.family;
    return !(type == EVENER_DNS_A && family == EVENER_DNS_FAMILY_IPV6) &&
           !(type == EVENER_DNS_AAAA && (family == EVENER_DNS_FAMILY_IPV4 || lookup->plan.no_aaaa));
}

/* Return whether the hosts file, asked after DNS, has addresses of a wanted family for this round. */
static bool local_is_next(const struct evener_dns_lookup *lookup)
{
    const evener_dns_plan *plan = &lookup->plan;
    bool found = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        found = found || (is_wanted(lookup, lookup->parts[i].type) && plan->local[i].record_count > 0);
    }
    return found && (plan->then_local == EVENER_DNS_THEN_LOCAL ||
                     (plan->then_local == EVENER_DNS_IF_UNAVAILABLE && lookup->search_failed));
}

/* Note what became of a candidate, for a message. `failed` NULL: it has no addresses. */
static void note_tried(struct evener_dns_lookup *lookup, const struct evener_dns_part *failed, bool nodata)
{
    const size_t used = strlen(lookup->tried);
    snprintf(lookup->tried + used, sizeof lookup->tried - used, "%s%s: %.150s", used > 0 ? "; " : "",
             candidate_name(lookup),
             failed != NULL ? failed->error.message
             : nodata       ? "NODATA"
                            : "NXDOMAIN");
}

/* All queries of a candidate have ended, without addresses. */
static void candidate_ended(struct evener_dns_lookup *lookup, const struct evener_dns_part *failed)
{
    bool nodata = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        const struct evener_dns_part *part = &lookup->parts[i];
        nodata = nodata || (part->phase == PART_ANSWERED && !is_nxdomain(&part->fresh) && !part->fresh.skipped);
    }
    const char *name = candidate_name(lookup);
    const bool searched = lookup->plan.names.count > 1 || strncmp(name, lookup->name, strlen(name)) != 0;
    const bool final = failed != NULL && !failed->server_error;
    note_tried(lookup, failed, nodata);
    lookup->search_failed = lookup->search_failed || failed != NULL;
    if (!final && lookup->candidate + 1 < lookup->plan.names.count) {
        lookup->saw_nodata = lookup->saw_nodata || nodata;
        lookup->candidate++;
        ask_candidate(lookup);
    } else if (local_is_next(lookup)) {
        lookup->plan.then_local = EVENER_DNS_NEVER_LOCAL;
        lookup->plan.is_local = true;
        ask_candidate(lookup);
    } else if (!lookup->search_failed) {
        round_answered(lookup);
    } else if (searched) {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", lookup->tried);
        round_failed(lookup, &status);
    } else {
        round_failed(lookup, &failed->error);
    }
}

/* Evaluate the state of the round. `patient`: wait for a family that has not answered. */
static void judge(struct evener_dns_lookup *lookup, bool patient)
{
    const struct evener_dns_part *failed = NULL;
    bool asking = false;
    size_t fresh = 0; /* records of this candidate */
    for (size_t i = 0; i < lookup->part_count; i++) {
        const struct evener_dns_part *part = &lookup->parts[i];
        asking = asking || part->phase == PART_ASKING;
        /* A failure that ends the search counts before one that does not. */
        if (part->phase == PART_FAILED && (failed == NULL || failed->server_error)) {
            failed = part;
        }
        if (part->phase == PART_ANSWERED) {
            fresh += part->has_fresh ? part->fresh.record_count : part->answer.record_count;
        }
    }
    if (asking) {
        if (fresh > 0 && !patient) {
            round_answered(lookup);
        } else if (fresh > 0 && !lookup->settle.active && lookup->phase == LOOKUP_ASKING) {
            evener_timer_start(lookup->loop, &lookup->settle, RESOLUTION_DELAY_MS * EVENER_NS_PER_MS);
        }
        return;
    }
    evener_timer_stop(lookup->loop, &lookup->settle);
    if (fresh > 0) {
        round_answered(lookup);
    } else {
        candidate_ended(lookup, failed);
    }
}

/* Call judge(), then free the lookup if its last watch was stopped meanwhile. */
static void judge_and_clean(struct evener_dns_lookup *lookup, bool patient)
{
    judge(lookup, patient);
    if (lookup->first == NULL) {
        evener_dns_lookup_destroy(lookup);
    }
}

static void settled(void *arg)
{
    judge_and_clean(arg, false);
}

static void set_fresh(struct evener_dns_part *part, evener_dns_answer *answer)
{
    evener_dns_answer_clear(&part->fresh);
    part->fresh = *answer;
    part->has_fresh = true;
    part->phase = PART_ANSWERED;
    answer->records = NULL;
    answer->record_count = 0;
    answer->glue = NULL;
    answer->glue_count = 0;
}

static void part_ended(void *arg, evener_dns_answer *answer)
{
    struct evener_dns_part *part = arg;
    part->query = NULL;
    if (answer->status.code == EVENER_STATUS_OK) {
        set_fresh(part, answer);
        if (part->fresh.record_count == EVENER_DNS_RECORDS_MAX) {
            evener_log(EVENER_LOG_WARNING, "resolver", "dns: %s: of the %s records only the first %d are used",
                       part->lookup->name, evener_dns_type_name(part->type), EVENER_DNS_RECORDS_MAX);
        }
    } else {
        part->phase = PART_FAILED;
        part->error = answer->status;
        part->server_error = answer->server_error;
    }
    evener_dns_queue_leave(&part->lookup->cache->queue, &part->ticket);
    judge_and_clean(part->lookup, true);
}

/* It is this query's turn. */
static void part_begins(void *arg)
{
    struct evener_dns_part *part = arg;
    struct evener_dns_lookup *lookup = part->lookup;
    const evener_dns_plan *plan = &lookup->plan;
    const evener_dns_question question = {
        .type = part->type,
        .name = candidate_name(lookup),
        .servers = plan->servers,
        .timeout_ms = plan->timeout_ms,
        .tries = plan->tries,
        .try_ms = plan->try_ms,
        .rotate = plan->rotate,
        .use_tcp = plan->use_tcp,
    };
    part->query = lookup->client->vtable->start(lookup->client, lookup->loop, &question, part_ended, part);
    if (part->query == NULL) {
        part->phase = PART_FAILED;
        part->server_error = false;
        evener_status_set(&part->error, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a query");
        evener_dns_queue_leave(&lookup->cache->queue, &part->ticket);
        evener_timer_start(lookup->loop, &lookup->settle, 0); /* not from inside: the caller may be in a push */
    }
}

/* End a part's query, wherever it is. */
static void part_stop(struct evener_dns_part *part)
{
    if (part->query != NULL) {
        part->lookup->client->vtable->cancel(part->lookup->client, part->query);
        part->query = NULL;
    }
    evener_dns_queue_leave(&part->lookup->cache->queue, &part->ticket);
    evener_dns_answer_clear(&part->fresh);
    part->has_fresh = false;
}

/* Start the queries of the current candidate. */
static void ask_candidate(struct evener_dns_lookup *lookup)
{
    bool asking = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        struct evener_dns_part *part = &lookup->parts[i];
        part_stop(part);
        if (lookup->plan.status.code != EVENER_STATUS_OK) {
            part->phase = PART_FAILED;
            part->error = lookup->plan.status;
            part->server_error = false;
        } else if (!is_wanted(lookup, part->type)) {
            evener_dns_answer none = {.nothing = "NODATA", .skipped = true, .source = "dns"};
            set_fresh(part, &none);
        } else if (lookup->plan.is_local) {
            set_fresh(part, &lookup->plan.local[i]);
        } else {
            part->phase = PART_ASKING;
            asking = true;
        }
    }
    for (size_t i = 0; i < lookup->part_count; i++) {
        if (lookup->parts[i].phase == PART_ASKING) {
            evener_dns_queue_enter(&lookup->cache->queue, &lookup->parts[i].ticket, lookup->options.owner,
                                   lookup->options.in_flight_max);
        }
    }
    if (!asking) {
        evener_timer_start(lookup->loop, &lookup->settle, 0); /* not from inside: the caller may be in a push */
    }
}

void evener_dns_round_begin(void *arg)
{
    struct evener_dns_lookup *lookup = arg;
    evener_timer_stop(lookup->loop, &lookup->refresh);
    evener_timer_stop(lookup->loop, &lookup->settle);
    lookup->round_ns = evener_loop_now_ns(lookup->loop);
    enter_phase(lookup, LOOKUP_ASKING);
    for (size_t i = 0; i < lookup->part_count; i++) {
        part_stop(&lookup->parts[i]); /* its question borrows from the plan */
    }
    evener_dns_plan_clear(&lookup->plan);
    if (!evener_dns_system_plan(lookup->cache->system, lookup->client->texts, lookup->name, lookup->part_count == 2,
                                &lookup->options, &lookup->plan)) {
        evener_dns_plan_clear(&lookup->plan);
        evener_status_set(&lookup->plan.status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a query");
    }
    lookup->candidate = 0;
    lookup->saw_nodata = false;
    lookup->search_failed = false;
    lookup->tried[0] = '\0';
    ask_candidate(lookup);
}

/* ---- for lookup.c ---- */

void evener_dns_round_init(struct evener_dns_lookup *lookup)
{
    for (size_t i = 0; i < EVENER_DNS_PARTS_MAX; i++) {
        lookup->parts[i].lookup = lookup;
        lookup->parts[i].ticket = (evener_dns_ticket){.begin = part_begins, .arg = &lookup->parts[i]};
    }
    lookup->refresh = (evener_timer)EVENER_TIMER_INIT(evener_dns_round_begin, lookup);
    lookup->settle = (evener_timer)EVENER_TIMER_INIT(settled, lookup);
}

void evener_dns_round_stop(struct evener_dns_lookup *lookup)
{
    for (size_t i = 0; i < lookup->part_count; i++) {
        part_stop(&lookup->parts[i]);
        evener_dns_answer_clear(&lookup->parts[i].answer);
    }
    evener_dns_plan_clear(&lookup->plan);
    evener_timer_stop(lookup->loop, &lookup->refresh);
    evener_timer_stop(lookup->loop, &lookup->settle);
}

void evener_dns_round_refused(struct evener_dns_lookup *lookup)
{
    back_off(lookup);
    enter_phase(lookup, LOOKUP_BACKING_OFF);
}
