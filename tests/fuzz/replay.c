/* Drives a fuzz target without libFuzzer, with any compiler and sanitizer: each seed of the given folder, then
 * mutations of each, the same in every run. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUTATIONS_PER_SEED 500
#define GROWTH_BYTES 64 /* bytes that mutations may add to a seed */

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (SplitMix64). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t mutate(uint8_t *data, size_t size, size_t room, uint64_t *random)
{
    size_t at = size > 0 ? (size_t)(next_random(random) % size) : 0;
    switch (next_random(random) % 5) {
    case 0: /* change a byte */
        if (size > 0) {
            data[at] = (uint8_t)next_random(random);
        }
        return size;
    case 1: /* flip a bit */
        if (size > 0) {
            data[at] ^= (uint8_t)(1u << (next_random(random) % 8));
        }
        return size;
    case 2: /* cut the end */
        return at;
    case 3: /* drop a byte */
        if (size > 0) {
            memmove(data + at, data + at + 1, size - at - 1);
            return size - 1;
        }
        return size;
    default: /* duplicate a piece */
    {
        size_t piece = size - at;
        if (piece > room - size) {
            piece = room - size;
        }
        memmove(data + at + piece, data + at, size - at);
        return size + piece;
    }
    }
}

/* Pass the input in a block of exactly its size, so that a sanitizer reports the first byte read past it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(size > 0 ? size : 1, 1);
    if (copy == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static bool replay(const char *path, uint64_t *random)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    size_t size = end > 0 ? (size_t)end : 0;
    size_t room = size + GROWTH_BYTES;
    uint8_t *seed = malloc(room);
    uint8_t *mutant = malloc(room);
    bool ok = seed != NULL && mutant != NULL && fread(seed, 1, size, file) == size;
    fclose(file);
    if (!ok) {
        fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        run(seed, size);
        for (int i = 0; i < MUTATIONS_PER_SEED; i++) {
            size_t mutant_size = size;
            memcpy(mutant, seed, size);
            for (uint64_t steps = 1 + next_random(random) % 4; steps > 0; steps--) {
                mutant_size = mutate(mutant, mutant_size, room, random);
            }
            run(mutant, mutant_size);
        }
    }
    free(seed);
    free(mutant);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t random = 1;
    unsigned seeds = 0;
    run((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            char path[4096];
            if (entry->d_name[0] == '.') {
                continue;
            }
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (!replay(path, &random)) {
                closedir(folder);
                return 1;
            }
            seeds++;
        }
        closedir(folder);
    }
    printf("%u seeds, each with %d mutations\n", seeds, MUTATIONS_PER_SEED);
    return seeds > 0 ? 0 : 1;
}
