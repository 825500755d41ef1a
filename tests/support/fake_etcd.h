/* A scripted etcd: the calls of etcd's API v3 that evener uses, over a store in memory, and every misbehaviour that a
 * test wants. No consensus: one member, or several with a store each.
 *
 *     fake_etcd *etcd = fake_etcd_start();
 *     fake_etcd_put(etcd, "orders/a", "{\"Addr\":\"127.0.0.1:1\"}");
 *     ... open etcd://127.0.0.1:<fake_etcd_port(etcd)>/orders ...
 *     fake_etcd_compact(etcd);
 *     fake_etcd_hang_up(etcd);
 *     fake_etcd_stop(etcd);
 *
 * Any thread. Functions abort the test program on failure. */
#ifndef TESTS_SUPPORT_FAKE_ETCD_H
#define TESTS_SUPPORT_FAKE_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fake_etcd fake_etcd;

typedef enum fake_etcd_count {
    FAKE_ETCD_CONNECTIONS,
    FAKE_ETCD_RANGES, /* requests for several keys, not for their number only */
    FAKE_ETCD_CHECKS, /* requests for the number of keys only */
    FAKE_ETCD_WATCHES,
    FAKE_ETCD_PUTS,
    FAKE_ETCD_GRANTS,
    FAKE_ETCD_REVOKES,
    FAKE_ETCD_KEEP_ALIVES,
    FAKE_ETCD_AUTHENTICATIONS,
    FAKE_ETCD_REFUSED_TOKENS,
    FAKE_ETCD_WITHOUT_HASLEADER, /* requests without the metadata `hasleader` */
    FAKE_ETCD_COUNTS
} fake_etcd_count;

/* Listen on a free port of 127.0.0.1. The store is empty, at revision 1. */
fake_etcd *fake_etcd_start(void);
void fake_etcd_stop(fake_etcd *etcd);
uint16_t fake_etcd_port(const fake_etcd *etcd);

/* Close the port and all connections; open the same port again. */
void fake_etcd_set_down(fake_etcd *etcd, bool is_down);
/* Answer nothing any more on the streams that are open now, as a member that is frozen. */
void fake_etcd_freeze_streams(fake_etcd *etcd);
/* Close all connections. */
void fake_etcd_hang_up(fake_etcd *etcd);
/* End all watches with a status. */
void fake_etcd_end_watches(fake_etcd *etcd, int code, const char *message);

void fake_etcd_put(fake_etcd *etcd, const char *key, const char *value);
void fake_etcd_put_bytes(fake_etcd *etcd, const char *key, const void *value, size_t bytes);
/* Put many keys in one revision: "<prefix><number>" with "127.x.y.z:port" values in the naming layout. */
void fake_etcd_put_many(fake_etcd *etcd, const char *prefix, unsigned first, unsigned count);
void fake_etcd_delete(fake_etcd *etcd, const char *key);
/* Return whether there is such a key; copy its value. */
bool fake_etcd_get(fake_etcd *etcd, const char *key, char *value, size_t room);
/* Copy the first key with that prefix. */
bool fake_etcd_find(fake_etcd *etcd, const char *prefix, char *key, size_t room);
/* Forget the history: a watch from before, or a listing at an older revision, is refused. */
void fake_etcd_compact(fake_etcd *etcd);
/* Empty the store and go on at another revision and cluster id, as after a restore. Watches end with the
 * connections. */
void fake_etcd_restore(fake_etcd *etcd, uint64_t cluster_id, int64_t revision);

/* The next `count` calls of a method ("Range", "Watch", ...) end with this status, or (FAKE_ETCD_SILENT) do not end.
 * "List": of Range for several keys. */
#define FAKE_ETCD_SILENT (-1)
void fake_etcd_fail(fake_etcd *etcd, const char *method, unsigned count, int code, const char *message);
/* Split watch responses into fragments of that many events; 0: do not. */
void fake_etcd_fragment(fake_etcd *etcd, unsigned events);
/* Answer Range with these bytes instead of a list; NULL: no longer. Borrowed. */
void fake_etcd_answer_ranges(fake_etcd *etcd, const void *bytes, size_t length);
/* Send these bytes as a message of each watch. */
void fake_etcd_send_to_watches(fake_etcd *etcd, const void *bytes, size_t length);
/* Send each watch a progress notification. */
void fake_etcd_send_progress(fake_etcd *etcd);
/* Refuse the next watches in their first answer. */
void fake_etcd_refuse_watches(fake_etcd *etcd, unsigned count, const char *reason);

/* Require a token, which `user` and `password` get. */
void fake_etcd_set_user(fake_etcd *etcd, const char *user, const char *password);
/* Refuse all tokens that were given out so far. */
void fake_etcd_expire_tokens(fake_etcd *etcd);

/* End a lease with its keys. 0: all leases. */
void fake_etcd_expire_lease(fake_etcd *etcd, int64_t lease);

uint64_t fake_etcd_count_of(fake_etcd *etcd, fake_etcd_count what);
/* Wait, 20 s at most, until that many have come. False: they have not. */
bool fake_etcd_wait(fake_etcd *etcd, fake_etcd_count what, uint64_t wanted);

#endif
