/* Watches one path: says when what it leads to may have changed.
 *
 * Not the file is watched but the directory it is in, so that replacing it by renaming is seen; and every directory on
 * the way that holds a symbolic link of the path, so that turning a link to another file or directory is seen too
 * (Kubernetes' ConfigMap turns `..data`). What does not exist yet is waited for in the last directory that does. */
#ifndef EVENER_RESOLVER_FILE_WATCH_H
#define EVENER_RESOLVER_FILE_WATCH_H

#include <stdbool.h>

#include <evener/loop.h>

typedef struct evener_file_watch evener_file_watch;

/* `changed(arg)` runs on the control thread, often several times for one change. `path` is borrowed and lives longer.
 * Watches nothing until the first refresh. NULL without memory. Control thread, as everything here. */
evener_file_watch *evener_file_watch_create(evener_loop *loop, const char *path, evener_task_fn changed, void *arg);

/* Walks the path and watches what it finds. To be called before each reading of the file: a change of the way itself is
 * then never missed. Returns whether all of the way is watched; false where inotify does not work (a virtual loop, no
 * more watches), and changes have to be looked for. */
bool evener_file_watch_refresh(evener_file_watch *watch);

/* NULL is allowed. */
void evener_file_watch_destroy(evener_file_watch *watch);

#endif
