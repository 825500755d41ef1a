#include <criterion/criterion.h>

#include <malloc.h>
#include <stdint.h>
#include <string.h>

#include "lb/runtime/slab.h"

#define MANY 1000

static void *objects[MANY];

static void take_many(evener_slab *slab)
{
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = evener_slab_take(slab);
        cr_assert_not_null(objects[i]);
        memset(objects[i], (int)(i % 251 + 1), slab->object_bytes);
    }
}

static void check_many(const evener_slab *slab)
{
    for (size_t i = 0; i < MANY; i++) {
        const unsigned char *bytes = objects[i];
        for (size_t b = 0; bytes != NULL && b < slab->object_bytes; b++) {
            cr_assert_eq(bytes[b], i % 251 + 1, "object %zu, byte %zu", i, b);
        }
    }
}

static void give_back(evener_slab *slab, size_t i)
{
    evener_slab_give_back(slab, objects[i]);
    objects[i] = NULL;
}

Test(slab, objects_are_zeroed_also_when_they_were_used_before)
{
    evener_slab slab = evener_slab_for(40, 8);
    for (int round = 0; round < 3; round++) {
        unsigned char *object = evener_slab_take(&slab);
        cr_assert_not_null(object);
        for (size_t b = 0; b < 40; b++) {
            cr_assert_eq(object[b], 0);
        }
        memset(object, 0xff, 40);
        evener_slab_give_back(&slab, object);
    }
    evener_slab_clear(&slab);
}

Test(slab, objects_do_not_overlap)
{
    static const size_t bytes[] = {1, 24, 40, 88, 192, 640, 5000};
    for (size_t s = 0; s < sizeof bytes / sizeof *bytes; s++) {
        evener_slab slab = evener_slab_for(bytes[s], 8);
        cr_assert_geq(slab.object_bytes, bytes[s]);
        take_many(&slab);
        check_many(&slab);
        for (size_t i = 0; i < MANY; i++) {
            give_back(&slab, i);
        }
        evener_slab_clear(&slab);
    }
}

Test(slab, objects_are_aligned)
{
    evener_slab slab = evener_slab_for(72, 64);
    cr_assert_eq(slab.object_bytes, 128);
    take_many(&slab);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq((uintptr_t)objects[i] % 64, 0);
        give_back(&slab, i);
    }
    evener_slab_clear(&slab);
}

Test(slab, what_is_in_use_survives_what_comes_and_goes)
{
    evener_slab slab = evener_slab_for(88, 8);
    take_many(&slab);
    for (size_t round = 2; round < 7; round++) {
        for (size_t i = 0; i < MANY; i += round) {
            give_back(&slab, i);
        }
        check_many(&slab);
        for (size_t i = 0; i < MANY; i += round) {
            objects[i] = evener_slab_take(&slab);
            memset(objects[i], (int)(i % 251 + 1), slab.object_bytes);
        }
        check_many(&slab);
    }
    for (size_t i = MANY; i > 0; i--) {
        give_back(&slab, i - 1);
    }
    evener_slab_clear(&slab);
}

/* Take thousands of objects and give them back, three times. Return the bytes that malloc had in use when all were back,
 * with the slab and then without it. */
static void take_thousands(size_t *with_slab, size_t *after)
{
    enum { THOUSANDS = 20000, STEP = 7919 };
    static void *taken[THOUSANDS];
    evener_slab slab = evener_slab_for(192, 64);
    *with_slab = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < THOUSANDS; i++) {
            taken[i] = evener_slab_take(&slab);
            memset(taken[i], 0xff, 192);
        }
        for (size_t i = 0, at = 0; i < THOUSANDS; i++, at = (at + STEP) % THOUSANDS) {
            evener_slab_give_back(&slab, taken[at]);
        }
        const size_t bytes = mallinfo2().uordblks;
        *with_slab = bytes > *with_slab ? bytes : *with_slab;
    }
    evener_slab_clear(&slab);
    *after = mallinfo2().uordblks;
}

/* Thousands of objects come from chunks of pages. The chunks go back to malloc in whatever order their pages become
 * empty. Malloc counts what lies in the thread's cache as used, so the cache is filled by a first run. */
Test(slab, all_memory_goes_back)
{
    size_t before, with_slab, after;
    take_thousands(&with_slab, &before);
    take_thousands(&with_slab, &after);
    cr_assert_leq(with_slab, before + 17 * 4096);
    cr_assert_eq(after, before);
}

Test(slab, nothing_is_given_back)
{
    evener_slab slab = evener_slab_for(8, 8);
    evener_slab_give_back(&slab, NULL);
    evener_slab_clear(&slab);
}
