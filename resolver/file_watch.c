#include "resolver/file_watch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define LINKS_MAX 40 /* the kernel's limit (ELOOP) */
#define POINTS_MAX (LINKS_MAX + 1)

/* One name in one directory. libuv shares one kernel watch per directory among its points. */
struct point {
    uv_fs_event_t handle;
    evener_file_watch *watch; /* NULL: closing */
    char *directory;
    char *name;
    dev_t device; /* the watched directory, to detect a replacement */
    ino_t inode;
    bool stale;  /* the directory was moved or deleted */
    bool wanted; /* used by a refresh */
};

struct evener_file_watch {
    uv_loop_t *uv; /* NULL: nothing can be watched */
    const char *path;
    evener_task_fn changed;
    void *arg;
    struct point *points[POINTS_MAX];
    size_t point_count;
    bool complete; /* during a refresh: every point is watched */
};

/* ---- points ---- */

static void point_free(struct point *point)
{
    free(point->directory);
    free(point->name);
    free(point);
}

static void handle_closed(uv_handle_t *handle)
{
    point_free(handle->data);
}

static void point_close(struct point *point)
{
    point->watch = NULL;
    uv_close((uv_handle_t *)&point->handle, handle_closed);
}

static void event(uv_fs_event_t *handle, const char *filename, int events, int error)
{
    (void)events;
    struct point *point = handle->data;
    if (point->watch == NULL) {
        return;
    }
    /* Of other files in the directory there may be many changes. An event without a name, or with the directory's own,
     * concerns the directory itself. */
    const char *slash = strrchr(point->directory, '/');
    const char *directory_name = slash != NULL && slash[1] != '\0' ? slash + 1 : point->directory;
    if (error != 0 || filename == NULL || strcmp(filename, directory_name) == 0) {
        point->stale = true;
    } else if (strcmp(filename, point->name) != 0) {
        return;
    }
    point->watch->changed(point->watch->arg);
}

static void point_add(evener_file_watch *watch, const char *directory, const char *name)
{
    struct stat about;
    if (stat(directory, &about) != 0) {
        watch->complete = false;
        return;
    }
    for (size_t i = 0; i < watch->point_count; i++) {
        struct point *point = watch->points[i];
        if (strcmp(point->directory, directory) == 0 && strcmp(point->name, name) == 0 && !point->stale &&
            point->device == about.st_dev && point->inode == about.st_ino) {
            point->wanted = true;
            return;
        }
    }
    struct point *point = watch->point_count < POINTS_MAX ? calloc(1, sizeof *point) : NULL;
    if (point == NULL) {
        watch->complete = false;
        return;
    }
    point->watch = watch;
    point->wanted = true;
    point->device = about.st_dev;
    point->inode = about.st_ino;
    point->directory = strdup(directory);
    point->name = strdup(name);
    point->handle.data = point;
    if (point->directory == NULL || point->name == NULL || uv_fs_event_init(watch->uv, &point->handle) != 0) {
        watch->complete = false;
        point_free(point);
        return;
    }
    if (uv_fs_event_start(&point->handle, event, directory, 0) != 0) {
        watch->complete = false;
        point_close(point);
        return;
    }
    watch->points[watch->point_count++] = point;
}

/* ---- walking the path ---- */

/* Write `first`, a '/' and `second` into `buffer`; false if they do not fit. */
static bool join(char buffer[PATH_MAX], const char *first, const char *second)
{
    const int bytes = snprintf(buffer, PATH_MAX, "%s/%s", first, second);
    return bytes > 0 && bytes < PATH_MAX;
}

/* The position of a walk: the directory reached (no symbolic link in it but those the working directory has; "" is
 * the root), and what of the path is left. */
struct walk {
    char directory[PATH_MAX];
    char rest[PATH_MAX];
    unsigned links;
};

/* Advance by one component. Return whether components are left. */
static bool walk_step(evener_file_watch *watch, struct walk *walk)
{
    char *name = walk->rest + strspn(walk->rest, "/");
    const size_t name_bytes = strcspn(name, "/");
    if (name_bytes == 0) {
        return false;
    }
    char component[PATH_MAX];
    memcpy(component, name, name_bytes);
    component[name_bytes] = '\0';
    char rest[PATH_MAX];
    memcpy(rest, name + name_bytes, strlen(name + name_bytes) + 1);
    const bool last = rest[strspn(rest, "/")] == '\0';

    char reached[PATH_MAX];
    struct stat about;
    if (!join(reached, walk->directory, component)) {
        return false;
    }
    const char *directory = walk->directory[0] != '\0' ? walk->directory : "/";
    const bool exists = lstat(reached, &about) == 0;
    if (!exists || last || S_ISLNK(about.st_mode)) {
        point_add(watch, directory, component);
    }
    if (!exists) {
        return false;
    }
    if (!S_ISLNK(about.st_mode)) {
        memcpy(walk->directory, reached, strlen(reached) + 1);
        memcpy(walk->rest, rest, strlen(rest) + 1);
        return !last;
    }
    char link[PATH_MAX];
    const ssize_t link_bytes = readlink(reached, link, sizeof link - 1);
    if (link_bytes <= 0 || ++walk->links > LINKS_MAX) {
        return false;
    }
    link[link_bytes] = '\0';
    if (!join(walk->rest, link, rest)) {
        return false;
    }
    if (walk->rest[0] == '/') {
        walk->directory[0] = '\0';
    }
    return true;
}

/* ---- create, refresh, destroy ---- */

evener_file_watch *evener_file_watch_create(evener_loop *loop, const char *path, evener_task_fn changed, void *arg)
{
    evener_file_watch *watch = calloc(1, sizeof *watch);
    if (watch != NULL) {
        watch->uv = evener_loop_uv(loop);
        watch->path = path;
        watch->changed = changed;
        watch->arg = arg;
    }
    return watch;
}

bool evener_file_watch_refresh(evener_file_watch *watch)
{
    if (watch->uv == NULL) {
        return false;
    }
    struct walk walk = {.links = 0};
    if (strlen(watch->path) >= sizeof walk.rest ||
        (watch->path[0] != '/' && getcwd(walk.directory, sizeof walk.directory) == NULL)) {
        return false;
    }
    memcpy(walk.rest, watch->path, strlen(watch->path) + 1);
    for (size_t i = 0; i < watch->point_count; i++) {
        watch->points[i]->wanted = false;
    }
    watch->complete = true;
    while (walk_step(watch, &walk)) {
    }
    size_t kept = 0;
    for (size_t i = 0; i < watch->point_count; i++) {
        if (watch->points[i]->wanted) {
            watch->points[kept++] = watch->points[i];
        } else {
            point_close(watch->points[i]);
        }
    }
    watch->point_count = kept;
    return watch->complete;
}

void evener_file_watch_destroy(evener_file_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    for (size_t i = 0; i < watch->point_count; i++) {
        point_close(watch->points[i]);
    }
    free(watch);
}
