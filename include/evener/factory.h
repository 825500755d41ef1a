/* Channel factory: makes channels by name out of a libconfig file, and keeps them as the file says while it changes.
 *
 *     evener_factory *factory;
 *     evener_channel *orders;
 *     evener_status status;
 *     if (evener_factory_open("evener.cfg", NULL, &factory, &status) != EVENER_STATUS_OK) ...
 *     if (evener_factory_channel(factory, "orders", &orders, &status) != EVENER_STATUS_OK) ...
 *     ... calls on `orders`, for as long as the program likes ...
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
 * There is one channel a name, shared by all who ask, and it stays the same one whatever changes in the file: its
 * inside is exchanged. A new policy or service config, backoff, timeouts and limits are taken over where they stand; a
 * new target or resolver option starts another resolver, and the old backends serve until it has an answer; new
 * credentials, another authority or keepalive let the old connections drain once new ones are READY, however often those
 * fail. No call is dropped by any of them. A file that is wrong anywhere, or a certificate whose key has not come yet, is
 * refused as a whole, and everything stays as it was. */
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

/* Everything zero is the documented default. */
typedef struct evener_factory_options {
    size_t size;             /* sizeof(evener_factory_options) */
    evener_runtime *runtime; /* for the channels and the watch; NULL: the process-wide default */
    /* How often the file, what it includes and the PEM files it names are looked at; 0: 1 s; EVENER_NEVER_MS: only
     * evener_factory_reload() does. A change is taken over once the files have stood still for 50 ms. */
    uint64_t watch_interval_ms;
    /* For all channels: as in evener_channel_options. The arrays are copied. The builders outlive the factory and its
     * channels, unless they are counted (evener_resolver_builder.ref): then these hold references. */
    const evener_resolver_builder *const *resolvers;
    size_t resolver_count;
    const evener_policy_builder *const *policies;
    size_t policy_count;
    evener_transport *transport; /* NULL: the gRPC C core. Else the file's credentials and keepalive are not used */
    /* Told after every change of the file that was seen: OK when it was taken over, else why it was refused. On the
     * control thread; must not block; may ask for channels, but not reload or close the factory. NULL: nobody asks. */
    void (*reloaded)(void *arg, const evener_status *status);
    void *arg;
} evener_factory_options;

/* Reads and checks the file, and watches it from then on. `options` may be NULL. On success stores an owned factory in
 * *factory. Channels connect with their first call only. Errors: INVALID_ARGUMENT with file, line and field;
 * NOT_FOUND or PERMISSION_DENIED when a file cannot be read; RESOURCE_EXHAUSTED, INTERNAL. Waits for the runtime's
 * control thread: any other thread, or the one that drives the runtime's loop. */
EVENER_API evener_status_code evener_factory_open(const char *path, const evener_factory_options *options,
                                                  evener_factory **factory, evener_status *status);

/* The channel of a name. On success stores a reference in *channel, to be given back with evener_channel_unref(); it is
 * the same channel for all who ask, while the factory is open and the file names it. One whose name goes from the file
 * stays, with its last settings, until its holders give it back. Errors: NOT_FOUND with the file's name. Any thread; does
 * not wait for the network. */
EVENER_API evener_status_code evener_factory_channel(evener_factory *factory, const char *name,
                                                     evener_channel **channel, evener_status *status);

/* Reads the file again now, whether it changed or not. OK: it is in force. Else the reason, and everything stays as it
 * was. Errors and thread as evener_factory_open(). */
EVENER_API evener_status_code evener_factory_reload(evener_factory *factory, evener_status *status);

/* What a file says of one channel. Borrowed for the call of `visit`. */
typedef struct evener_factory_entry {
    size_t size; /* sizeof(evener_factory_entry) */
    const char *name;
    const char *target;
    const char *authority;      /* in force, whether set or by the target */
    const char *credentials;    /* "insecure", "tls", "mtls" */
    const char *service_config; /* JSON, with the policy in it; NULL: none */
    const char *file;           /* where the channel is written */
    unsigned line;
    /* TLS or mTLS, and the file sets no authority, nor does the target name a host: each backend is verified against its
     * own attribute "authority" or its own IP address, which is then its :authority too. */
    bool verifies_addresses;
} evener_factory_entry;

/* Calls `visit` for every channel of the file in force, in order of their names. It must not call into the factory.
 * Any thread. */
EVENER_API void evener_factory_visit(evener_factory *factory,
                                     void (*visit)(void *arg, const evener_factory_entry *entry), void *arg);

/* Changes that were taken over and changes that were refused since the factory was opened. Any thread. */
EVENER_API uint64_t evener_factory_reload_count(const evener_factory *factory);
EVENER_API uint64_t evener_factory_refused_count(const evener_factory *factory);

/* Ends the watch and gives the factory's references to its channels back; those that somebody holds live on. NULL is
 * allowed. Thread as evener_factory_open(); nothing else of the factory may be under way. */
EVENER_API void evener_factory_close(evener_factory *factory);

EVENER_END_DECLS

#endif
