/* Saved list: the last good list of a channel as text, and the file that keeps it over a restart.
 *
 *     evener-list 1
 *     time 1790000000000                        Unix time in ms when the list was last known to be in force
 *     target etcd://10.0.0.1:2379/orders
 *     service_config {"loadBalancingPolicy":..  only if there is one
 *     address 10.0.0.7:50051 weight=3 zone=a    any number of lines
 *     checksum 0123456789abcdef                 XXH64 of everything before
 *
 * A byte of a text that is not a printable ASCII character, or is a space, '%' or '=', is written as %XX.
 *
 * The file is replaced as a whole: written beside its place, brought to the disk, and renamed. Whenever the writer is
 * killed, a reader finds the old list or the new one. Nothing here knows channels; every function runs on any thread.
 */
#ifndef EVENER_LB_CHANNEL_SAVED_LIST_H
#define EVENER_LB_CHANNEL_SAVED_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/status.h>

#define EVENER_SAVED_LIST_BYTES_MAX ((size_t)512 * 1024 * 1024) /* of a file that is read */

/* Zeroed: empty. */
typedef struct evener_saved_list {
    uint64_t time_ms;
    char *target;               /* owned */
    char *service_config;       /* owned; NULL: none */
    evener_address **addresses; /* owned, with a reference each */
    size_t count;
} evener_saved_list;

void evener_saved_list_clear(evener_saved_list *list);

/* Write the list as text (malloc; the caller frees it), without a NUL at its end. *content is a hash of everything but
 * the time. Return false on out of memory; the outputs are untouched then. */
bool evener_saved_list_encode(const evener_saved_list *list, char **text, size_t *bytes, uint64_t *content);

/* Read such a text into *list, which the caller clears. `text` is changed. Errors: INVALID_ARGUMENT (damaged, with the
 * line), RESOURCE_EXHAUSTED; *list is untouched then. */
evener_status_code evener_saved_list_parse(char *text, size_t bytes, evener_saved_list *list, evener_status *status);

/* Replace the file by this text. The folder must exist. Errors, with the path: UNAVAILABLE (another process writes it
 * now; any failure of the system), PERMISSION_DENIED, NOT_FOUND (no such folder). Blocks for the disk. */
evener_status_code evener_saved_list_write(const char *path, const char *text, size_t bytes, evener_status *status);

/* Read and parse the file. Errors as evener_read_regular_file() and evener_saved_list_parse(). Blocks for the disk. */
evener_status_code evener_saved_list_read(const char *path, evener_saved_list *list, evener_status *status);

#endif
