/* Secret: the text of a private key, kept out of core dumps and, where the limit RLIMIT_MEMLOCK allows it, out of swap;
 * wiped before its memory is given back. */
#ifndef EVENER_LB_BASE_SECRET_H
#define EVENER_LB_BASE_SECRET_H

/* Return a secret with a copy of `text`; NULL on out of memory. Any thread, as all of these. */
char *evener_secret_copy(const char *text);

/* Return a secret with the text of `text`, which is wiped and freed in any case; NULL on out of memory. */
char *evener_secret_take(char *text);

/* Wipe and free a secret. NULL is allowed. */
void evener_secret_free(char *secret);

/* Wipe and free a malloc()ed text. NULL is allowed. */
void evener_secret_wipe(char *text);

#endif
