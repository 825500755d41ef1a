/* etcd: services that etcd v3 knows. The library libevener-etcd, linked beside libevener (pkg-config `evener-etcd`,
 * CMake component `etcd`).
 *
 *     #include <evener/etcd.h>
 *     ...
 *     evener_etcd_register_resolver(&status);
 *     evener_channel_create("etcd://10.0.0.1:2379,10.0.0.2:2379/orders", &options, &channel, &status);
 *
 * Once registered, targets of the scheme `etcd` work wherever a target stands: in channels, factory files, and parts of
 * `fallback:` and `merge:`. docs/etcd.md has the options (`etcd.layout`, `etcd.user`, `etcd.ca`, ...). */
#ifndef EVENER_ETCD_H
#define EVENER_ETCD_H

#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/resolver.h>
#include <evener/runtime.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* Register the resolver `etcd:` for the whole process. May be called again. Errors: those of
 * evener_resolver_register(). Any thread. */
EVENER_API evener_status_code evener_etcd_register_resolver(evener_status *status);

/* Return the builder of `etcd:`, for the `resolvers` of one channel or factory only. It is static. Any thread. */
EVENER_API const evener_resolver_builder *evener_etcd_resolver(void);

/* ---- registration of a server ---- */

typedef enum evener_etcd_state {
    EVENER_ETCD_REGISTERING = 0, /* not there yet, or lost: it is tried again with a backoff */
    EVENER_ETCD_REGISTERED = 1,  /* the key is there, and its lease is kept alive */
    EVENER_ETCD_REMOVED = 2      /* the registration was stopped */
} evener_etcd_state;

/* Zero in a member is its default. Everything is copied, but `runtime`, of which a reference is taken. */
typedef struct evener_etcd_registration_options {
    size_t size;             /* sizeof(evener_etcd_registration_options) */
    evener_runtime *runtime; /* NULL: the process-wide default */
    /* The service, as in a target of `etcd:`: "etcd://10.0.0.1:2379/orders". */
    const char *target;
    const char *address; /* under which clients reach the server: "10.0.0.7:50051" */
    const char *id;      /* makes the key unique in the service; no '/'; NULL: the address (go-zero: the lease) */
    /* Metadata of the endpoint ("weight", "zone", ...), in the layouts that have any. */
    const evener_attribute *attributes;
    size_t attribute_count;
    /* The options of the resolver, under the same names ("etcd.layout", "etcd.user", "etcd.ca", ...). */
    const evener_attribute *resolver_options;
    size_t resolver_option_count;
    uint64_t ttl_s; /* a server that is gone disappears after this time; 1 to 3600; 0: 10 */
    /* Report each change of the state, and each failure while it is REGISTERING. Borrowed status. On the control thread
     * of the runtime: must not block, nor unregister. NULL: not wanted. */
    void (*changed)(void *arg, evener_etcd_state state, const evener_status *status);
    void *arg;
} evener_etcd_registration_options;

/* A server's entry in etcd. */
typedef struct evener_etcd_registration evener_etcd_registration;

/* Register a server, from now on until evener_etcd_unregister(): put a key with a lease, keep the lease alive, and put
 * the key again when the lease or the key is lost. Does not wait for etcd. On success store an owned handle. Errors:
 * INVALID_ARGUMENT (names the member or the option), those of credentials and files. Any thread, but never while
 * holding a lock that control-thread code takes. */
EVENER_API evener_status_code evener_etcd_register(const evener_etcd_registration_options *options,
                                                   evener_etcd_registration **registration, evener_status *status);

/* Return the state. Any thread. */
EVENER_API evener_etcd_state evener_etcd_registration_state(const evener_etcd_registration *registration);

/* Return the key; NULL before it is known (go-zero: it contains the lease). Valid until evener_etcd_unregister(). Any
 * thread. */
EVENER_API const char *evener_etcd_registration_key(const evener_etcd_registration *registration);

/* Remove the entry and free the handle; NULL is allowed. Wait at most `timeout_ms` (0: 3 s) until etcd has confirmed;
 * otherwise DEADLINE_EXCEEDED, and the lease ends by itself. Nothing is reported afterwards. To be called before the
 * server stops, so that clients stop sending first. Return OK, or why the entry may still be there. On the control
 * thread it does not wait, and REMOVED may be reported later. In the child of a fork that came after the
 * registration: FAILED_PRECONDITION, at once, and the parent's entry stays. Any thread. */
EVENER_API evener_status_code evener_etcd_unregister(evener_etcd_registration *registration, uint64_t timeout_ms,
                                                     evener_status *status);

EVENER_END_DECLS

#endif
