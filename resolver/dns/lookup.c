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
 * one candidate together, so that A and AAAA are of the same host. The first candidate with addresses ends the search; so
 * does a time-out, because no server is there to answer for the next one. A candidate without addresses (NXDOMAIN,
 * NODATA) and one whose servers answer with an error (SERVFAIL, REFUSED) lead to the next. Without any addresses the
 * round is an answer only if every query was answered.
 *
 * Order: evener_dns_order() sorts within a family by RFC 6724. Between the families its rules 1 and 6 decide: first those to
 * which this machine has a route, then IPv6 before IPv4. pick_first interleaves them by itself (A61). */
#include "resolver/dns/lookup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/backoff.h>
#include <evener/log.h>

#include "lb/base/memory.h"
#include "resolver/dns/queue.h"
#include "resolver/dns/system.h"

#define RESOLUTION_DELAY_MS 50     /* RFC 8305 section 8 */
#define UNKNOWN_TTL_MS 30000       /* the hosts file: as often as failing connections would query */
#define UNKNOWN_NEGATIVE_MS 5000   /* a negative answer without a SOA record */
#define RESTART_AGE_MS 500         /* a younger round is not begun again by reset_backoff */
#define RESOLVE_NOW_FAILED_MS 5000 /* between rounds that hints ask for while rounds fail */
#define FAMILY_KEPT_MS 300000      /* as long as a channel keeps its list after an empty update */
#define REFRESH_EARLIEST 0.8       /* of the TTL */
#define BUCKETS 1024               /* 10,000 names: ten per bucket */
#define PARTS_MAX 2

typedef enum lookup_phase {
    LOOKUP_NEW,
    LOOKUP_ASKING,
    LOOKUP_PARTLY_ANSWERED,
    LOOKUP_WAITING,
    LOOKUP_BACKING_OFF,
} lookup_phase;

/* The state of a record type's query in this round: UNASKED -> ASKING -> ANSWERED or FAILED -> ASKING (next round). */
typedef enum part_phase {
    PART_UNASKED,
    PART_ASKING, /* `query` is in flight */
    PART_ANSWERED,
    PART_FAILED, /* `error` says why */
} part_phase;

/* One record type of a lookup. */
struct part {
    struct evener_dns_lookup *lookup;
    evener_dns_type type;
    part_phase phase;
    evener_dns_query *query;  /* ASKING */
    evener_dns_ticket ticket; /* ASKING: waits for its turn, or `query` runs */
    evener_status error;      /* FAILED */
    bool server_error;        /* FAILED: a server answered, with an error code */
    evener_dns_answer fresh;  /* ANSWERED: of this candidate, until the round takes it over */
    bool has_fresh;
    evener_dns_answer answer;                          /* last good answer */
    uint64_t answered_ns;                              /* time of `answer`; 0: never */
    uint64_t failed_ns;                                /* first failure since `answer`; 0: none */
    char answered_name[EVENER_DNS_NAME_BYTES_MAX + 1]; /* the candidate that `answer` is of */
};

struct evener_dns_lookup {
    struct cache *cache;
    struct evener_dns_lookup *next; /* in its bucket */
    uint32_t bucket;
    char *key;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    evener_dns_options options;
    evener_dns_client *client;
    evener_loop *loop;
    struct part parts[PARTS_MAX];
    size_t part_count;
    evener_dns_watch *first, *last;
    evener_dns_watch *cursor; /* the next watch to notify */
    bool notifying;           /* a watch is being called: do not free the lookup yet */
    lookup_phase phase;       /* changed by enter_phase() only */
    evener_timer refresh;     /* begins the next round */
    evener_timer settle;      /* the resolution delay */
    evener_dns_plan plan;     /* of this round */
    size_t candidate;         /* index of the name that is asked for */
    bool saw_nodata;          /* a candidate exists, without addresses */
    bool search_failed;       /* servers answered with an error for a candidate */
    char tried[360];          /* what became of the candidates, for messages */
    bool restarted;           /* reset_backoff has begun this round */
    uint64_t round_ns;        /* when the last round began */
    bool known;               /* an answer has been reported since the start */
    evener_status error;      /* of the last round; OK if it was answered */
    evener_backoff backoff;
};

/* One per runtime. */
struct cache {
    evener_loop *loop;
    evener_dns_system *system;
    evener_dns_queue queue;
    struct evener_dns_lookup *buckets[BUCKETS];
};

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

static bool is_asking(const struct evener_dns_lookup *lookup)
{
    bool asking = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        asking = asking || lookup->parts[i].phase == PART_ASKING;
    }
    return asking;
}

/* ---- notifying watches ---- */

static bool is_usable(const struct part *part, uint64_t now_ns)
{
    return part->answered_ns != 0 &&
           (part->failed_ns == 0 || now_ns - part->failed_ns <= FAMILY_KEPT_MS * EVENER_NS_PER_MS);
}

static bool is_nxdomain(const evener_dns_answer *answer)
{
    return answer->nothing != NULL && strcmp(answer->nothing, "NXDOMAIN") == 0;
}

/* FNV-1a. Only used to detect an unchanged answer. */
static uint64_t hash(uint64_t state, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        state = (state ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    }
    return state;
}

static uint64_t fingerprint(const evener_dns_result *result)
{
    uint64_t state = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < result->count; i++) {
        const evener_dns_record *record = result->records[i];
        const uint16_t numbers[] = {record->port, record->priority, record->weight};
        state = hash(state, record->text, strlen(record->text) + 1);
        state = hash(state, numbers, sizeof numbers);
    }
    for (size_t i = 0; i < result->glue_count; i++) {
        state = hash(state, result->glue[i].text, strlen(result->glue[i].text) + 1);
    }
    return hash(state, result->nothing, result->count == 0 ? strlen(result->nothing) : 0);
}

/* Order the usable parts by the preference of their families. */
static size_t order_parts(struct evener_dns_lookup *lookup, uint64_t now_ns, struct part *ordered[PARTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < lookup->part_count; i++) {
        if (is_usable(&lookup->parts[i], now_ns)) {
            ordered[count++] = &lookup->parts[i];
        }
    }
    if (count == 2) {
        const struct part *a = ordered[0];
        const struct part *aaaa = ordered[1];
        if (aaaa->answer.reachable || !a->answer.reachable || lookup->options.family == EVENER_DNS_FAMILY_IPV6_FIRST) {
            struct part *first = ordered[0];
            ordered[0] = ordered[1];
            ordered[1] = first;
        }
    }
    return count;
}

/* Let `part` bound the validity of the result. A part without records counts only if all are without (`negative`). */
static void note_ttl(const struct part *part, bool negative, uint64_t *ttl_ms, bool *ttl_known)
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
static bool build_result(struct evener_dns_lookup *lookup, evener_dns_result *result, bool *ttl_known)
{
    struct part *ordered[PARTS_MAX];
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

void evener_dns_result_source(const evener_dns_result *result, char *source, size_t source_bytes)
{
    const bool empty = result->count == 0;
    (void)snprintf(source, source_bytes, "%s%s%s%s", result->source, empty ? " (" : "", empty ? result->nothing : "",
                   empty ? ")" : "");
}

static void notify_watch(evener_dns_watch *watch, const evener_dns_result *result, uint64_t print)
{
    if (watch->content && watch->fingerprint == print) {
        return;
    }
    watch->fingerprint = print;
    watch->content = watch->answer(watch, result);
}

static void lookup_destroy(struct evener_dns_lookup *lookup);

/* Notify every watch. A watch may stop others and start new ones; new ones are notified when they start. `result` NULL:
 * report lookup->error. Return whether a watch accepts the result. */
static bool notify(struct evener_dns_lookup *lookup, const evener_dns_result *result)
{
    const uint64_t print = result != NULL ? fingerprint(result) : 0;
    bool accepted = false;
    lookup->notifying = true;
    for (evener_dns_watch *watch = lookup->first; watch != NULL; watch = lookup->cursor) {
        lookup->cursor = watch->next;
        if (result != NULL) {
            notify_watch(watch, result, print);
            accepted = accepted || watch->content;
        } else {
            watch->content = false;
            watch->error(watch, &lookup->error);
        }
    }
    lookup->cursor = NULL;
    lookup->notifying = false;
    return accepted;
}

/* ---- the time of the next round ---- */

static void refresh_within(struct evener_dns_lookup *lookup, uint64_t delay_ns)
{
    if (!lookup->refresh.active || lookup->refresh.deadline_ns > evener_loop_now_ns(lookup->loop) + delay_ns) {
        evener_timer_start(lookup->loop, &lookup->refresh, delay_ns);
    }
}

static void back_off(struct evener_dns_lookup *lookup)
{
    refresh_within(lookup, evener_backoff_next_ns(&lookup->backoff, NULL, lookup->loop));
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
    refresh_within(lookup, (uint64_t)((double)(ttl_ms * EVENER_NS_PER_MS) * share));
}

/* ---- rounds ---- */

static void round_failed(struct evener_dns_lookup *lookup, const evener_status *why)
{
    lookup->restarted = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        struct part *part = &lookup->parts[i];
        if (part->phase == PART_FAILED && part->failed_ns == 0) {
            part->failed_ns = evener_loop_now_ns(lookup->loop);
        }
    }
    (void)evener_status_set(&lookup->error, EVENER_STATUS_UNAVAILABLE, "dns: %s: %s", lookup->name, why->message);
    evener_log(EVENER_LOG_WARNING, "resolver", "%s", lookup->error.message);
    back_off(lookup);
    enter_phase(lookup, LOOKUP_BACKING_OFF);
    (void)notify(lookup, NULL);
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
static void keep_removed(struct part *part, uint64_t keep_ms, uint64_t now_ns)
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
        struct part *part = &lookup->parts[i];
        const bool same_name = strcmp(part->answered_name, name) == 0;
        if (part->has_fresh) {
            if (same_name && lookup->part_count == PARTS_MAX) {
                keep_removed(part, lookup->options.keep_removed_ms, now_ns);
            }
            evener_dns_answer_clear(&part->answer);
            part->answer = part->fresh;
            part->fresh = (evener_dns_answer){.records = NULL};
            part->has_fresh = false;
            part->answered_ns = now_ns;
            part->failed_ns = 0;
            (void)snprintf(part->answered_name, sizeof part->answered_name, "%s", name);
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
    if (!build_result(lookup, &result, &ttl_known)) {
        const evener_status no_memory = {EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory"};
        round_failed(lookup, &no_memory);
        return;
    }
    evener_status_clear(&lookup->error);
    lookup->restarted = false;
    lookup->known = true;
    enter_phase(lookup, is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_WAITING);
    if (notify(lookup, &result)) {
        refresh_by_ttl(lookup, &result, ttl_known);
        enter_phase(lookup, is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_WAITING);
    } else {
        back_off(lookup);
        enter_phase(lookup, is_asking(lookup) ? LOOKUP_PARTLY_ANSWERED : LOOKUP_BACKING_OFF);
    }
    free((void *)(uintptr_t)result.records);
}

static void ask_candidate(struct evener_dns_lookup *lookup);

/* Note what became of a candidate, for a message. `failed` NULL: it has no addresses. */
static void note_tried(struct evener_dns_lookup *lookup, const struct part *failed, bool nodata)
{
    const size_t used = strlen(lookup->tried);
    (void)snprintf(lookup->tried + used, sizeof lookup->tried - used, "%s%s: %.150s", used > 0 ? "; " : "",
                   candidate_name(lookup),
                   failed != NULL ? failed->error.message
                   : nodata       ? "NODATA"
                                  : "NXDOMAIN");
}

/* All queries of a candidate have ended, without addresses. */
static void candidate_ended(struct evener_dns_lookup *lookup, const struct part *failed)
{
    bool nodata = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        const struct part *part = &lookup->parts[i];
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
    } else if (!lookup->search_failed) {
        round_answered(lookup);
    } else if (searched) {
        evener_status status;
        (void)evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s", lookup->tried);
        round_failed(lookup, &status);
    } else {
        round_failed(lookup, &failed->error);
    }
}

/* Evaluate the state of the round. `patient`: wait for a family that has not answered. */
static void judge(struct evener_dns_lookup *lookup, bool patient)
{
    const struct part *failed = NULL;
    bool asking = false;
    size_t fresh = 0; /* records of this candidate */
    for (size_t i = 0; i < lookup->part_count; i++) {
        const struct part *part = &lookup->parts[i];
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
        lookup_destroy(lookup);
    }
}

static void settled(void *arg)
{
    judge_and_clean(arg, false);
}

static void set_fresh(struct part *part, evener_dns_answer *answer)
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
    struct part *part = arg;
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
    struct part *part = arg;
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
        (void)evener_status_set(&part->error, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a query");
        evener_timer_start(lookup->loop, &lookup->settle, 0); /* not from inside: the caller may be in a push */
    }
}

/* End a part's query, wherever it is. */
static void part_stop(struct part *part)
{
    if (part->query != NULL) {
        part->lookup->client->vtable->cancel(part->lookup->client, part->query);
        part->query = NULL;
    }
    evener_dns_queue_leave(&part->lookup->cache->queue, &part->ticket);
    evener_dns_answer_clear(&part->fresh);
    part->has_fresh = false;
}

static bool is_wanted(const struct evener_dns_lookup *lookup, evener_dns_type type)
{
    const evener_dns_family family = lookup->options.family;
    return !(type == EVENER_DNS_A && family == EVENER_DNS_FAMILY_IPV6) &&
           !(type == EVENER_DNS_AAAA && (family == EVENER_DNS_FAMILY_IPV4 || lookup->plan.no_aaaa));
}

/* Start the queries of the current candidate. */
static void ask_candidate(struct evener_dns_lookup *lookup)
{
    bool asking = false;
    for (size_t i = 0; i < lookup->part_count; i++) {
        struct part *part = &lookup->parts[i];
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

static void begin_round(void *arg)
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
        (void)evener_status_set(&lookup->plan.status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a query");
    }
    lookup->candidate = 0;
    lookup->saw_nodata = false;
    lookup->search_failed = false;
    lookup->tried[0] = '\0';
    ask_candidate(lookup);
}

/* ---- create and destroy ---- */

static void *cache_create(evener_runtime *runtime, evener_status *status)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        (void)evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        return NULL;
    }
    cache->loop = evener_runtime_loop(runtime);
    cache->system = evener_dns_system_create();
    if (cache->system == NULL) {
        free(cache);
        (void)evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        return NULL;
    }
    return cache;
}

static void cache_destroy(void *shared)
{
    struct cache *cache = shared;
    evener_dns_system_destroy(cache->system);
    free(cache);
}

static const evener_shared_key cache_key = {.name = "dns", .create = cache_create, .destroy = cache_destroy};

static void lookup_destroy(struct evener_dns_lookup *lookup)
{
    struct evener_dns_lookup **link = &lookup->cache->buckets[lookup->bucket];
    while (*link != lookup) {
        link = &(*link)->next;
    }
    *link = lookup->next;
    evener_timer_stop(lookup->loop, &lookup->refresh);
    evener_timer_stop(lookup->loop, &lookup->settle);
    for (size_t i = 0; i < lookup->part_count; i++) {
        part_stop(&lookup->parts[i]);
        evener_dns_answer_clear(&lookup->parts[i].answer);
    }
    evener_dns_plan_clear(&lookup->plan);
    free(lookup->key);
    free(lookup);
}

/* Everything that makes two lookups different. */
static char *make_key(const evener_dns_client *client, evener_dns_kind kind, const char *name,
                      const evener_dns_options *options)
{
    char *key = NULL;
    const int bytes = asprintf(
        &key, "%p %d %s %s %d%d%d%d %d %u %llu %llu %llu %llu %llu %u", (const void *)client, (int)kind, name,
        options->servers, options->direct, options->absolute, options->timeout_set, options->tries_set,
        (int)options->family, options->in_flight_max, (unsigned long long)options->keep_removed_ms,
        (unsigned long long)options->min_refresh_ms, (unsigned long long)options->max_refresh_ms,
        (unsigned long long)options->resolve_now_min_ms, (unsigned long long)options->timeout_ms, options->tries);
    return bytes < 0 ? NULL : key;
}

static struct evener_dns_lookup *lookup_create(struct cache *cache, char *key, uint32_t bucket,
                                               evener_dns_client *client, evener_dns_kind kind, const char *name,
                                               const evener_dns_options *options)
{
    struct evener_dns_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        return NULL;
    }
    lookup->cache = cache;
    lookup->next = cache->buckets[bucket];
    cache->buckets[bucket] = lookup;
    lookup->bucket = bucket;
    lookup->key = key;
    (void)snprintf(lookup->name, sizeof lookup->name, "%s", name);
    lookup->options = *options;
    lookup->client = client;
    lookup->loop = cache->loop;
    lookup->part_count = kind == EVENER_DNS_HOST ? 2 : 1;
    lookup->parts[0].type = kind == EVENER_DNS_HOST      ? EVENER_DNS_A
                            : kind == EVENER_DNS_SERVICE ? EVENER_DNS_SRV
                                                         : EVENER_DNS_TXT;
    lookup->parts[1].type = EVENER_DNS_AAAA;
    for (size_t i = 0; i < PARTS_MAX; i++) {
        lookup->parts[i].lookup = lookup;
        lookup->parts[i].ticket = (evener_dns_ticket){.begin = part_begins, .arg = &lookup->parts[i]};
    }
    lookup->refresh = (evener_timer)EVENER_TIMER_INIT(begin_round, lookup);
    lookup->settle = (evener_timer)EVENER_TIMER_INIT(settled, lookup);
    return lookup;
}

/* Return the lookup with this key; create it, without a round, if there is none. NULL: out of memory. */
static struct evener_dns_lookup *find_or_create(struct cache *cache, evener_dns_client *client, evener_dns_kind kind,
                                                const char *name, const evener_dns_options *options)
{
    char *key = make_key(client, kind, name, options);
    if (key == NULL) {
        return NULL;
    }
    const uint32_t bucket = (uint32_t)(hash(UINT64_C(0xcbf29ce484222325), key, strlen(key)) % BUCKETS);
    struct evener_dns_lookup *lookup = cache->buckets[bucket];
    while (lookup != NULL && strcmp(lookup->key, key) != 0) {
        lookup = lookup->next;
    }
    if (lookup == NULL) {
        lookup = lookup_create(cache, key, bucket, client, kind, name, options);
        key = lookup != NULL ? NULL : key; /* owned by the lookup */
    }
    free(key);
    return lookup;
}

/* Report the current answer to a new watch. */
static void notify_new_watch(struct evener_dns_lookup *lookup, evener_dns_watch *watch)
{
    evener_dns_result result;
    bool ttl_known;
    if (lookup->known && build_result(lookup, &result, &ttl_known)) {
        notify_watch(watch, &result, fingerprint(&result));
        free((void *)(uintptr_t)result.records);
        if (!watch->content && !is_asking(lookup)) {
            back_off(lookup);
            enter_phase(lookup, LOOKUP_BACKING_OFF);
        }
    } else if (lookup->error.code != EVENER_STATUS_OK) {
        watch->error(watch, &lookup->error);
    }
}

evener_status_code evener_dns_watch_start(evener_dns_watch *watch, evener_runtime *runtime, evener_dns_client *client,
                                          evener_dns_kind kind, const char *name, const evener_dns_options *options,
                                          evener_status *status)
{
    if (client == NULL && evener_loop_uv(evener_runtime_loop(runtime)) == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "dns: %s: the runtime's loop has no libuv loop to ask the network with", name);
    }
    struct cache *cache = evener_runtime_shared(runtime, &cache_key, status);
    if (cache == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    struct evener_dns_lookup *lookup =
        find_or_create(cache, client != NULL ? client : evener_dns_ares_client(), kind, name, options);
    if (lookup == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: %s: out of memory", name);
    }
    const bool started = lookup->phase != LOOKUP_NEW;
    watch->lookup = lookup;
    watch->next = NULL;
    watch->previous = lookup->last;
    watch->content = false;
    *(lookup->last != NULL ? &lookup->last->next : &lookup->first) = watch;
    lookup->last = watch;
    if (started) {
        notify_new_watch(lookup, watch);
    } else {
        begin_round(lookup);
    }
    return EVENER_STATUS_OK;
}

void evener_dns_watch_resolve_now(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL || is_asking(lookup)) {
        return;
    }
    uint64_t pause_ms = lookup->options.resolve_now_min_ms;
    if (lookup->phase == LOOKUP_BACKING_OFF && pause_ms > RESOLVE_NOW_FAILED_MS) {
        pause_ms = RESOLVE_NOW_FAILED_MS;
    }
    const uint64_t now_ns = evener_loop_now_ns(lookup->loop);
    const uint64_t earliest_ns = lookup->round_ns + pause_ms * EVENER_NS_PER_MS;
    /* By timer even without delay: the round that is being reported has not set its own timer yet. */
    refresh_within(lookup, earliest_ns > now_ns ? earliest_ns - now_ns : 0);
}

void evener_dns_watch_reset_backoff(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL) {
        return;
    }
    evener_backoff_reset(&lookup->backoff);
    const uint64_t age_ns = evener_loop_now_ns(lookup->loop) - lookup->round_ns;
    const bool retrying = lookup->phase == LOOKUP_ASKING && age_ns >= RESTART_AGE_MS * EVENER_NS_PER_MS;
    /* A round that began while the network was away waits for its next try: begin it again, but not for ever. */
    if (lookup->phase == LOOKUP_BACKING_OFF || (retrying && !lookup->restarted)) {
        lookup->restarted = true;
        refresh_within(lookup, 0);
    }
}

void evener_dns_watch_stop(evener_dns_watch *watch)
{
    struct evener_dns_lookup *lookup = watch->lookup;
    if (lookup == NULL) {
        return;
    }
    if (lookup->cursor == watch) {
        lookup->cursor = watch->next;
    }
    *(watch->previous != NULL ? &watch->previous->next : &lookup->first) = watch->next;
    *(watch->next != NULL ? &watch->next->previous : &lookup->last) = watch->previous;
    watch->lookup = NULL;
    if (lookup->first == NULL && !lookup->notifying) {
        lookup_destroy(lookup);
    }
}
