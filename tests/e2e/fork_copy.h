/* One copy of evener in a process that forks: the program contains one, plug-ins contain others. */
#ifndef TESTS_E2E_FORK_COPY_H
#define TESTS_E2E_FORK_COPY_H

#include <stdbool.h>

typedef struct fork_copy {
    /* Open a channel to the target and call from two threads without pause. Return whether the channel is open. */
    bool (*start)(const char *target);
    unsigned (*calls)(void);  /* made so far */
    unsigned (*failed)(void); /* of these */
    void (*stop)(void);
    /* In a child: return whether the parent's channel refuses and a call on a new one succeeds. */
    bool (*works_in_child)(const char *target);
    void (*leave_rcu)(void);
} fork_copy;

/* Also the name that dlsym() finds. */
extern const fork_copy fork_copy_functions;

#endif
