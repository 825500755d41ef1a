#include "lb/policy/choice.h"

#include <stdlib.h>

typedef struct shared_config {
    uint32_t references; /* atomic */
    const evener_policy_builder *builder;
    evener_policy_config *config;
} shared_config;

bool evener_policy_choice_share(evener_policy_choice *choice, const evener_policy_builder *builder,
                                evener_policy_config *config)
{
    shared_config *shared = malloc(sizeof *shared);
    if (shared == NULL) {
        return false;
    }
    *shared = (shared_config){.references = 1, .builder = builder, .config = config};
    choice->shared = shared;
    return true;
}

void *evener_policy_shared_ref(void *shared)
{
    if (shared != NULL) {
        /* Relaxed: the caller has a reference already. */
        (void)__atomic_fetch_add(&((shared_config *)shared)->references, 1, __ATOMIC_RELAXED);
    }
    return shared;
}

void evener_policy_shared_unref(void *shared)
{
    shared_config *s = shared;
    /* Release: this thread's reads of the configuration come before. Acquire: all others' do, when it is destroyed. */
    if (s == NULL || __atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    if (s->builder->config_destroy != NULL) {
        s->builder->config_destroy(s->config);
    }
    free(s);
}

void evener_policy_choice_clear(evener_policy_choice *choice)
{
    if (choice == NULL) {
        return;
    }
    if (choice->shared != NULL) {
        evener_policy_shared_unref(choice->shared);
    } else if (choice->config != NULL && choice->builder->config_destroy != NULL) {
        choice->builder->config_destroy(choice->config);
    }
    *choice = (evener_policy_choice){NULL, NULL, NULL};
}
