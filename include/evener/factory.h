/* Channel factory: creates the channels that a libconfig file names, and applies changes of the file to them.
 *
 *     evener_factory *factory;
 *     evener_channel *orders;
 *     evener_status status;
 *     if (evener_factory_open("evener.cfg", NULL, &factory, &status) != EVENER_STATUS_OK) ...
 *     if (evener_factory_channel(factory, "orders", &orders, &status) != EVENER_STATUS_OK) ...
 *     ... calls on `orders` ...
 *     evener_channel_unref(orders);
 *     evener_factory_close(factory);
 *
 * The file (all its settings: examples/evener.cfg and docs/factory.md):
 *
 *     defaults = { credentials = "tls"; };
 *     channels = {
 *         orders = { target = "dns:///orders.prod:50051"; policy = { p2c_ewma = { }; }; };
 *         stock = { target = "static:10.0.0.1:50051,10.0.0.2:50051"; credentials = "insecure"; };
 *     };
 *
 * There is one channel per name, shared by all callers. It remains the same object when the file changes:
 *
 *   - A new policy, service config, backoff, timeout or limit takes effect in place.
 *   - A new target or resolver option starts a new resolver. The old backends serve until it has an answer.
 *   - New credentials, authority or keepalive replace the connections. Old connections drain once new ones are READY,
 *     however often the new ones fail.
 *
 * None of these drops a call. A file with any error is refused as a whole, and the configuration in force stays. So is
 * a certificate whose key has not been written yet. Files that cannot be read for a reason that may pass (no file
 * descriptors, no memory, an error of the disk) are read again after each interval of the watch. */
#ifndef EVENER_FACTORY_H
#define EVENER_FACTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>
#include <evener/policy.h>
#include <evener/resolver.h>
#include <evener/runtime.h>
#include <evener/status.h>
#include <evener/transport.h>

EVENER_BEGIN_DECLS

typedef struct evener_factory evener_factory;

#define EVENER_FACTORY_FILE_BYTES_MAX ((size_t)4 * 1024 * 1024) /* a larger file is refused */
#define EVENER_FACTORY_CHANNELS_MAX 10000                       /* more channels in one file are refused */

/* Zero in any member selects the documented default. */
typedef struct evener_factory_options {
    size_t size;             /* sizeof(evener_factory_options) */
    evener_runtime *runtime; /* runs the channels and the watch; NULL: the process-wide default */
    /* Interval between two checks of the file, its includes and its PEM files for changes. 0: 1 s. EVENER_NEVER_MS:
     * only evener_factory_reload() reads again. A change is read once the files have not changed for 50 ms. */
    uint64_t watch_interval_ms;
    /* As in evener_channel_options, for all channels of the factory. The arrays are copied. Builders must outlive the
     * factory and its channels, except reference-counted ones (evener_resolver_builder.ref), which these keep alive. */
    const evener_resolver_builder *const *resolvers;
    size_t resolver_count;
    const evener_policy_builder *const *policies;
    size_t policy_count;
    evener_transport *transport; /* NULL: the gRPC C core. With another one, the file's credentials and keepalive are
                                  * not used */
    /* Called after each reload, also one that is tried again, with OK or with the reason for the refusal. Runs on the
     * control thread; must not block. May call evener_factory_channel(), but not reload or close the factory. NULL: no
     * callback. */
    void (*reloaded)(void *arg, const evener_status *status);
    void *arg;
} evener_factory_options;

/* Read and check the file, and start to watch it. A relative `path` is fixed to the working folder of the moment of the
 * call, and with it all files that the file names. `options` may be NULL. On success store an owned factory in
 * *factory. Channels connect at their first call. Waits for the runtime's control thread: call it on any other thread,
 * or on the thread that drives the runtime's loop. Errors: INVALID_ARGUMENT with file, line and field; NOT_FOUND or
 * PERMISSION_DENIED when a file cannot be read; RESOURCE_EXHAUSTED; INTERNAL. */
EVENER_API evener_status_code evener_factory_open(const char *path, const evener_factory_options *options,
                                                  evener_factory **factory, evener_status *status);

/* Return the channel of a name. On success store a reference in *channel; release it with evener_channel_unref(). All
 * callers get the same channel while the factory is open and the file names it. A channel whose name is removed from
 * the file keeps its last settings until its last reference is released. Any thread; does not wait for the network.
 * Errors: NOT_FOUND with the file's name. */
EVENER_API evener_status_code evener_factory_channel(evener_factory *factory, const char *name,
                                                     evener_channel **channel, evener_status *status);

/* Read the file again now, whether it changed or not. OK: the file is in force. Otherwise the status gives the reason,
 * and the configuration in force stays; only without memory it may be that of some channels (RESOURCE_EXHAUSTED), and the
 * others follow with the next reload. Errors and thread as evener_factory_open(). */
EVENER_API evener_status_code evener_factory_reload(evener_factory *factory, evener_status *status);

/* One channel of a file. Valid during the call of `visit` only. */
typedef struct evener_factory_entry {
    size_t size; /* sizeof(evener_factory_entry) */
    const char *name;
    const char *target;
    const char *authority;      /* in force: the file's, otherwise the target's */
    const char *credentials;    /* "insecure", "tls", "mtls" */
    const char *service_config; /* JSON, including the policy; NULL: none */
    const char *file;           /* file and line that define the channel */
    unsigned line;
    /* TLS or mTLS without an authority in the file and without a host in the target: each backend is verified against
     * its own attribute "authority" or its own IP address, which is also its :authority. */
    bool verifies_addresses;
} evener_factory_entry;

/* Call `visit` for each channel of the configuration in force, sorted by name. `visit` must not call into the factory.
 * Any thread. */
EVENER_API void evener_factory_visit(evener_factory *factory,
                                     void (*visit)(void *arg, const evener_factory_entry *entry), void *arg);

/* Return the number of reloads that took effect, and of those that were refused, since the factory was opened. Any
 * thread. */
EVENER_API uint64_t evener_factory_reload_count(const evener_factory *factory);
EVENER_API uint64_t evener_factory_refused_count(const evener_factory *factory);

/* End the watch and release the factory's references to its channels. Channels with other references live on. NULL is
 * allowed. Thread as evener_factory_open(). No other call on the factory may be in progress. */
EVENER_API void evener_factory_close(evener_factory *factory);

EVENER_END_DECLS

#endif
