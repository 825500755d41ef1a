/* A process forks while threads use OpenSSL: neither the fork nor the child waits for a lock that one of them held. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <evener/credentials.h>

#include "tests/support/certificates.h"

#define THREADS 4
#define FORKS 50
#define CHILD_S 60 /* a child that waits for a lock is killed after this time */

static certificates made;
static atomic_bool stop;
static atomic_uint_fast64_t created, failed;

static void create(void)
{
    const evener_tls_options options = {.size = sizeof options,
                                        .root_certificates = made.authority,
                                        .certificate_chain = made.client_certificate,
                                        .private_key = made.client_key};
    evener_credentials *credentials = NULL;
    const evener_status_code code = evener_credentials_create_tls(&options, &credentials, NULL);
    atomic_fetch_add(code == EVENER_STATUS_OK ? &created : &failed, 1);
    evener_credentials_destroy(credentials);
}

static void *create_without_pause(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        create();
    }
    return NULL;
}

/* Return whether the child could create credentials, and its own child too. */
static bool fork_once(unsigned depth)
{
    const pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CHILD_S);
        const uint64_t before = atomic_load(&created);
        create();
        _exit(atomic_load(&created) == before + 1 && (depth == 0 || fork_once(depth - 1)) ? 0 : 1);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
    certificates_make(&made);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, create_without_pause, NULL);
    }
    int bad = 0;
    for (int i = 0; i < FORKS; i++) {
        const uint64_t before = atomic_load(&created);
        while (atomic_load(&created) == before) { /* the threads go on after a fork */
            usleep(100);
        }
        bad += !fork_once(1);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%d forks, %llu credentials created, %llu not, %d children failed\n", FORKS,
           (unsigned long long)atomic_load(&created), (unsigned long long)atomic_load(&failed), bad);
    certificates_free(&made);
    return bad > 0 || atomic_load(&failed) > 0;
}
