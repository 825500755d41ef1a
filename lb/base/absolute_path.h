/* Absolute path: names of files that a later chdir() does not change. */
#ifndef EVENER_LB_BASE_ABSOLUTE_PATH_H
#define EVENER_LB_BASE_ABSOLUTE_PATH_H

/* Return `path` if it is absolute, otherwise the working folder, a '/' and `path`; to be freed. Symbolic links and ".."
 * stay as they are, so a link that changes is followed. NULL on out of memory or without a working folder. Any
 * thread. */
char *evener_absolute_path(const char *path);

#endif
