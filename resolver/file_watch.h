/* Watch one path and report when the file it leads to may have changed.
 *
 * The directory of the file is watched rather than the file, to detect a replacement by rename. Every directory that
 * contains a symbolic link of the path is watched too, to detect a changed link (Kubernetes' ConfigMap replaces
 * `..data`). If a component does not exist yet, the last existing directory is watched. */
#ifndef EVENER_RESOLVER_FILE_WATCH_H
#define EVENER_RESOLVER_FILE_WATCH_H

#include <stdbool.h>

#include <evener/loop.h>

typedef struct evener_file_watch evener_file_watch;

/* Create a watch. `changed(arg)` runs on the control thread, often several times per change. `path` is borrowed and
 * must outlive the watch. Nothing is watched until the first refresh. NULL: out of memory. Control thread, as all
 * functions here. */
evener_file_watch *evener_file_watch_create(evener_loop *loop, const char *path, evener_task_fn changed, void *arg);

/* Walk the path and watch its directories. Call it before each read of the file, so that a change of the path itself is
 * never missed. Return whether the complete path is watched; false where inotify does not work (a virtual loop, no more
 * watches): the caller must poll. */
bool evener_file_watch_refresh(evener_file_watch *watch);

/* Stop watching and free the watch. NULL is allowed. */
void evener_file_watch_destroy(evener_file_watch *watch);

#endif
