/* Messages: the few of etcd's API v3 that are used (etcd: api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto). What is
 * parsed points into the bytes that were parsed. Any thread. */
#ifndef EVENER_RESOLVER_ETCD_MESSAGES_H
#define EVENER_RESOLVER_ETCD_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/bytes.h>
#include <evener/status.h>

#define EVENER_ETCD_RANGE "/etcdserverpb.KV/Range"
#define EVENER_ETCD_PUT "/etcdserverpb.KV/Put"
#define EVENER_ETCD_WATCH "/etcdserverpb.Watch/Watch"
#define EVENER_ETCD_LEASE_GRANT "/etcdserverpb.Lease/LeaseGrant"
#define EVENER_ETCD_LEASE_REVOKE "/etcdserverpb.Lease/LeaseRevoke"
#define EVENER_ETCD_LEASE_KEEP_ALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define EVENER_ETCD_AUTHENTICATE "/etcdserverpb.Auth/Authenticate"

/* Bytes that are not text: keys and values. */
typedef struct evener_etcd_span {
    const uint8_t *bytes;
    size_t length;
} evener_etcd_span;

typedef struct evener_etcd_header {
    uint64_t cluster_id;
    int64_t revision;
} evener_etcd_header;

typedef struct evener_etcd_key_value {
    evener_etcd_span key, value;
    int64_t mod_revision;
} evener_etcd_key_value;

/* Store the end of the range of all keys that begin with `prefix`: the prefix with its last byte increased, carried
 * over 0xff; one NUL byte, "to the last key", if there is no such byte. `end` has room for length + 1 bytes. Return the
 * length of the end. */
size_t evener_etcd_prefix_end(evener_etcd_span prefix, uint8_t *end);

/* ---- requests: an owned message each; false: no memory ---- */

typedef struct evener_etcd_range {
    evener_etcd_span key, end;
    int64_t limit, revision; /* revision 0: the latest */
    bool keys_only, count_only;
} evener_etcd_range;

bool evener_etcd_range_request(const evener_etcd_range *range, evener_bytes *message);
bool evener_etcd_watch_request(evener_etcd_span key, evener_etcd_span end, int64_t start_revision,
                               evener_bytes *message);
bool evener_etcd_put_request(evener_etcd_span key, evener_etcd_span value, int64_t lease, evener_bytes *message);
bool evener_etcd_lease_grant_request(int64_t ttl_s, evener_bytes *message);
/* For LeaseRevoke and LeaseKeepAlive, which have the same form. */
bool evener_etcd_lease_request(int64_t lease, evener_bytes *message);
bool evener_etcd_authenticate_request(const char *user, const char *password, evener_bytes *message);

/* ---- responses; false: malformed ---- */

typedef struct evener_etcd_range_response {
    evener_etcd_header header;
    bool more;
    uint64_t count;
} evener_etcd_range_response;

/* `visit` gets each key; false ends the parse, which then succeeds. */
bool evener_etcd_range_parse(const evener_bytes *message, evener_etcd_range_response *response,
                             bool (*visit)(void *arg, const evener_etcd_key_value *kv), void *arg);

typedef struct evener_etcd_watch_response {
    evener_etcd_header header;
    bool created, canceled, fragment;
    int64_t compact_revision;
    evener_etcd_span cancel_reason;
    size_t events;
} evener_etcd_watch_response;

bool evener_etcd_watch_parse(const evener_bytes *message, evener_etcd_watch_response *response,
                             bool (*visit)(void *arg, bool is_delete, const evener_etcd_key_value *kv), void *arg);

/* LeaseGrant and LeaseKeepAlive have the same form. */
typedef struct evener_etcd_lease_response {
    int64_t lease, ttl_s; /* ttl_s 0: the lease is gone */
    evener_etcd_span error;
} evener_etcd_lease_response;

bool evener_etcd_lease_parse(const evener_bytes *message, evener_etcd_lease_response *response);
/* Store the token, which is printable ASCII, as owned text. False also on out of memory. */
bool evener_etcd_authenticate_parse(const evener_bytes *message, char **token);

#endif
