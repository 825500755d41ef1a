/* Bearer tokens out of a file that something else renews, as credentials of calls: "authorization: Bearer TOKEN". The file
 * is read again when it has changed, so a renewed token is used by the next call.
 *
 *     token_file *token = token_file_open("/var/run/secrets/token");
 *     const evener_call_credentials bearer = {.size = sizeof bearer, .arg = token, .add = token_file_add};
 *     const evener_interceptor auth = EVENER_CALL_CREDENTIALS(&bearer);
 *     const evener_interceptor *const interceptors[] = {&auth};
 *     ... .interceptors = interceptors, .interceptor_count = 1 in the options of a channel or a call ...
 *     token_file_close(token); */
#ifndef EXAMPLES_TOKEN_FILE_H
#define EXAMPLES_TOKEN_FILE_H

#include <evener/interceptor.h>

typedef struct token_file token_file;

/* Return NULL without memory. The file need not exist yet. */
token_file *token_file_open(const char *path);
void token_file_close(token_file *file);

/* The `add` of evener_call_credentials; `arg` is the token_file. Any thread. */
evener_status_code token_file_add(void *arg, evener_new_call *call, const char *url, evener_status *status);

#endif
