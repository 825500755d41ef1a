/* Declarations of types as in a .proto file, with their comments. Each function returns text to be freed; NULL: out of
 * memory. */
#ifndef EVENER_CLI_DECLARATION_H
#define EVENER_CLI_DECLARATION_H

#include <evener/descriptors.h>

char *declaration_of_service(const evener_service_type *service);
char *declaration_of_method(const evener_method *method);
char *declaration_of_message(const evener_message_type *message);
char *declaration_of_enum(const evener_enum_type *enumeration);

#endif
