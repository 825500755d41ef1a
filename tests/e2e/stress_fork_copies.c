/* stress_fork_copies STATIC_PLUGIN SHARED_PLUGIN: a process that forks while three copies of evener call: the program's
 * own, that of a plug-in that contains the static library, and the shared library. liburcu-bp exists once; it must be
 * brought over a fork once. Each case runs in a process of its own, which is killed if a fork() never returns. */
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <urcu-bp.h>

#include "tests/e2e/fork_copy.h"
#include "tests/e2e/server_process.h"

#define FORKS 20
#define COPIES 3

static server_process server;
static char target[64];
static const char *plugins[COPIES - 1];
static const fork_copy *copies[COPIES];

static void load_copies(void)
{
    copies[0] = &fork_copy_functions;
    for (int i = 0; i < COPIES - 1; i++) {
        void *plugin = dlopen(plugins[i], RTLD_NOW | RTLD_LOCAL);
        if (plugin == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            _exit(1);
        }
        copies[i + 1] = dlsym(plugin, "fork_copy_functions");
        assert(copies[i + 1] != NULL && copies[i + 1] != copies[i]);
    }
}

static void let_pass(const fork_copy *copy, unsigned more)
{
    const unsigned until = copy->calls() + more;
    while (copy->calls() < until) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* The child waits for grace periods, which would not end if a reader of the parent's were left. */
static void fork_once(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(60);
        for (int i = 0; i < COPIES; i++) {
            if (!copies[i]->works_in_child(target)) {
                _exit(1);
            }
        }
        urcu_bp_synchronize_rcu();
        _exit(0);
    }
    int status = -1;
    assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void fork_under_load(void)
{
    for (int i = 0; i < COPIES; i++) {
        assert(copies[i]->start(target));
        let_pass(copies[i], 10);
    }
    for (int round = 0; round < FORKS; round++) {
        fork_once();
        for (int i = 0; i < COPIES; i++) {
            let_pass(copies[i], 1);
        }
    }
    for (int i = 0; i < COPIES; i++) {
        copies[i]->stop();
        assert(copies[i]->failed() == 0);
    }
}

static void leave_rcu_to_program(void)
{
    for (int i = 0; i < COPIES; i++) {
        copies[i]->leave_rcu();
    }
}

static void register_own_handlers(void)
{
    assert(pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent, urcu_bp_after_fork_child) == 0);
}

/* ---- the cases ---- */

static void several_copies_agree(void)
{
    load_copies();
    fork_under_load();
}

static void a_program_with_handlers_from_before(void)
{
    register_own_handlers();
    load_copies();
    leave_rcu_to_program();
    fork_under_load();
}

static void a_program_with_handlers_from_afterwards(void)
{
    load_copies();
    leave_rcu_to_program();
    register_own_handlers();
    fork_under_load();
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"several copies agree who brings liburcu over a fork", several_copies_agree},
    {"a program that registered liburcu's functions before", a_program_with_handlers_from_before},
    {"a program that registered liburcu's functions afterwards", a_program_with_handlers_from_afterwards},
};

/* Return the status of the process. It is killed if it does not end: a fork() that waits for ever has all signals
 * blocked, so that alarm() would not end it. */
static int wait_or_kill(pid_t pid)
{
    int status = -1;
    for (int tries = 0; tries < 120000; tries++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return status;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return status;
}

int main(int argc, char **argv)
{
    int worst = 0;
    assert(argc == COPIES);
    memcpy(plugins, argv + 1, sizeof plugins);
    assert(server_process_start(&server, 0));
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", server.port);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fflush(NULL);
        const pid_t pid = fork(); /* nothing of evener's has been made here: the child begins anew */
        if (pid == 0) {
            cases[i].run();
            _exit(0);
        }
        assert(pid > 0);
        const int status = wait_or_kill(pid);
        printf("%s: %s\n", status == 0 ? "ok" : "FAILED", cases[i].name);
        worst = status != 0 ? 1 : worst;
    }
    server_process_end(&server);
    return worst;
}
