/* Templates: the code that is generated for each method, by its kind.
 *
 * $F function, $P path "package.Service/Method", $Q and $q request (type, and prefix of its functions), $A and $a
 * answer. */
#ifndef EVENER_LB_PROTOBUF_PLUGIN_TEMPLATES_H
#define EVENER_LB_PROTOBUF_PLUGIN_TEMPLATES_H

typedef enum method_kind { METHOD_UNARY, METHOD_CLIENT_STREAM, METHOD_SERVER_STREAM, METHOD_BOTH_STREAM } method_kind;

typedef struct method_templates {
    const char *kind; /* in words */
    const char *header;
    const char *source;
    const char *const *suffixes; /* of all names that a method of this kind takes, up to NULL */
} method_templates;

extern const method_templates method_kinds[4]; /* by method_kind */

#endif
