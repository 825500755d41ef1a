/* Members of a real etcd (the package etcd-server), on free ports of 127.0.0.1 with data in a temporary folder.
 *
 *     real_etcd *etcd = real_etcd_start(3, NULL);
 *     if (etcd == NULL) ... etcd is not installed: skip, and say so ...
 *     real_etcd_put(etcd, "orders/a", "{\"Addr\":\"127.0.0.1:1\"}");
 *     real_etcd_kill(etcd, 0);
 *     real_etcd_revive(etcd, 0);
 *     real_etcd_stop(etcd);
 *
 * Requests go through evener's own calls, to any member, and are retried for 20 s: they abort the test program if they
 * still fail. One thread. */
#ifndef TESTS_SUPPORT_REAL_ETCD_H
#define TESTS_SUPPORT_REAL_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/credentials.h>

typedef struct real_etcd real_etcd;

/* What members are started with, besides; "" or NULL: nothing. Without TLS `credentials` is NULL. */
typedef struct real_etcd_options {
    const char *arguments[8]; /* up to the first NULL */
    const evener_credentials *credentials;
    const char *etcdctl; /* further arguments of etcdctl */
} real_etcd_options;

/* Start members and wait until they serve. NULL: there is no etcd in PATH. */
real_etcd *real_etcd_start(unsigned members, const real_etcd_options *options);
void real_etcd_stop(real_etcd *etcd);

/* Write the members as in a target: "127.0.0.1:1,127.0.0.1:2". */
const char *real_etcd_members(const real_etcd *etcd);

/* Kill a member; start it again with the data it had. */
void real_etcd_kill(real_etcd *etcd, unsigned member);
void real_etcd_revive(real_etcd *etcd, unsigned member);
/* Start a member that was killed with no data: of a cluster of one, another cluster. */
void real_etcd_reset(real_etcd *etcd, unsigned member);

void real_etcd_put(real_etcd *etcd, const char *key, const char *value);
/* Put with a lease, which is granted if *lease is 0. */
void real_etcd_put_leased(real_etcd *etcd, const char *key, const char *value, int64_t ttl_s, int64_t *lease);
/* Put the keys "<prefix><8 digits>" from 0 on, with addresses 127.x.y.z:80 in the layout `naming`, 5,000 in a
 * transaction: the members need the argument --max-txn-ops=5000. */
void real_etcd_put_many(real_etcd *etcd, const char *prefix, unsigned count);
void real_etcd_delete(real_etcd *etcd, const char *key);
/* Compact up to the present revision. */
void real_etcd_compact(real_etcd *etcd);
/* Visit all keys with that prefix. */
void real_etcd_visit(real_etcd *etcd, const char *prefix, void (*visit)(void *arg, const char *key, const char *value),
                     void *arg);

/* Run etcdctl with these arguments (a shell's words) and return its output, to be freed. */
char *real_etcd_ctl(real_etcd *etcd, const char *arguments);

#endif
