/* `ipv4:`, `ipv6:`, `unix:`, `unix-abstract:`, `vsock:` - literal addresses, as the gRPC C core takes them (naming.md;
 * sockaddr_resolver_test.cc): lists separated by ',', with a port in each, no attributes and no authority. */
#include <string.h>

#include "resolver/builtin.h"
#include "resolver/fixed.h"
#include "resolver/list.h"

/* The `user_data` of a builder. */
struct kind {
    const char *scheme;
    const char *prefix; /* of an address text */
    const char *source;
    evener_address_family family;
    bool path; /* the leading '/' belongs to the address */
};

static const struct kind ipv4 = {"ipv4", "", "ipv4 list", EVENER_FAMILY_IPV4, false};
static const struct kind ipv6 = {"ipv6", "", "ipv6 list", EVENER_FAMILY_IPV6, false};
static const struct kind unix_path = {"unix", "unix:", "unix list", EVENER_FAMILY_UNIX, true};
static const struct kind unix_abstract = {"unix-abstract", "unix-abstract:", "unix-abstract list",
                                          EVENER_FAMILY_UNIX_ABSTRACT, true};
static const struct kind vsock = {"vsock", "vsock:", "vsock list", EVENER_FAMILY_VSOCK, false};

static evener_status_code parse(const struct kind *kind, const evener_target *target, evener_list *list,
                                evener_status *status)
{
    if (evener_target_authority(target)[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: an authority (\"%.100s\") has no meaning here; write %s:ADDRESS", kind->scheme,
                                 evener_target_authority(target), kind->scheme);
    }
    const char *text = kind->path ? evener_target_path(target) : evener_target_endpoint(target);
    evener_status_code code = evener_list_parse_family(list, kind->scheme, kind->prefix, kind->family, text, status);
    if (code == EVENER_STATUS_OK && list->count == 0) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no address in the list", kind->scheme);
    }
    if (code != EVENER_STATUS_OK) {
        evener_list_clear(list);
    }
    return code;
}

static evener_status_code sockaddr_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                         evener_status *status)
{
    evener_list list = EVENER_LIST_INIT;
    const evener_status_code code = parse(builder->user_data, args->target, &list, status);
    evener_list_clear(&list);
    return code;
}

static evener_status_code sockaddr_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                         evener_resolver **resolver, evener_status *status)
{
    const struct kind *kind = builder->user_data;
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = parse(kind, args->target, &list, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_fixed_resolver_create(args, &list, kind->source, resolver, status);
    }
    evener_list_clear(&list);
    return code;
}

static evener_server_names ip_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    (void)builder;
    (void)target;
    return EVENER_SERVER_NAMES_ADDRESSES;
}

static evener_server_names no_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    (void)builder;
    (void)target;
    return EVENER_SERVER_NAMES_MISSING;
}

/* Neither a path nor a context id names a host (grpc: naming.md); that is for plain text. */
static evener_status_code localhost_authority(const evener_resolver_builder *builder, const evener_target *target,
                                              char *buffer, size_t buffer_bytes, evener_status *status)
{
    (void)target;
    static const char authority[] = "localhost";
    if (buffer_bytes < sizeof authority) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no room for the authority",
                                 builder->scheme);
    }
    memcpy(buffer, authority, sizeof authority);
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_ipv4_resolver = {
    .size = sizeof evener_ipv4_resolver,
    .scheme = "ipv4",
    .build = sockaddr_build,
    .check = sockaddr_check,
    .server_names = ip_server_names,
    .user_data = (struct kind *)&ipv4,
};

const evener_resolver_builder evener_ipv6_resolver = {
    .size = sizeof evener_ipv6_resolver,
    .scheme = "ipv6",
    .build = sockaddr_build,
    .check = sockaddr_check,
    .server_names = ip_server_names,
    .user_data = (struct kind *)&ipv6,
};

const evener_resolver_builder evener_unix_resolver = {
    .size = sizeof evener_unix_resolver,
    .scheme = "unix",
    .build = sockaddr_build,
    .check = sockaddr_check,
    .default_authority = localhost_authority,
    .server_names = no_server_names,
    .user_data = (struct kind *)&unix_path,
};

const evener_resolver_builder evener_unix_abstract_resolver = {
    .size = sizeof evener_unix_abstract_resolver,
    .scheme = "unix-abstract",
    .build = sockaddr_build,
    .check = sockaddr_check,
    .default_authority = localhost_authority,
    .server_names = no_server_names,
    .user_data = (struct kind *)&unix_abstract,
};

const evener_resolver_builder evener_vsock_resolver = {
    .size = sizeof evener_vsock_resolver,
    .scheme = "vsock",
    .build = sockaddr_build,
    .check = sockaddr_check,
    .default_authority = localhost_authority,
    .server_names = no_server_names,
    .user_data = (struct kind *)&vsock,
};
