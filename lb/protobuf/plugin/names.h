/* Names: what protoc-c calls the C types of a message, and what this generator calls its functions. */
#ifndef EVENER_LB_PROTOBUF_PLUGIN_NAMES_H
#define EVENER_LB_PROTOBUF_PLUGIN_NAMES_H

#include <stdbool.h>

#include "lb/protobuf/plugin/text.h"

/* Add protoc-c's type of a full name without its first dot: "a.b_c.XThing" gives A__BC__XThing. */
void names_add_type(text *to, const char *full_name);

/* Add the words of a full name in lower case: "a.XMLThing.getIt" gives a__xmlthing__get_it with the separator "__", as
 * protoc-c writes it. */
void names_add_lower(text *to, const char *full_name, const char *separator);

/* Return whether the text is a name of protobuf: identifiers, separated by dots. */
bool names_is_full(const char *text);
/* Return whether the text is one identifier. */
bool names_is_identifier(const char *text);
/* Return whether C, C++ or their standard headers give a meaning to the identifier, of two or more words in lower case:
 * "static_assert", "not_eq", "size_t". */
bool names_is_reserved(const char *identifier);

#endif
