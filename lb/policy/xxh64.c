#include "lb/policy/xxh64.h"

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)
#define STRIPE 32

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t little_endian(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint64_t round_of(uint64_t accumulator, uint64_t lane)
{
    return rotate_left(accumulator + lane * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t accumulator, uint64_t lane)
{
    return (accumulator ^ round_of(0, lane)) * PRIME_1 + PRIME_4;
}

/* Whole stripes of 32 bytes; advances *at. */
static uint64_t stripes(const uint8_t **at, const uint8_t *end, uint64_t seed)
{
    uint64_t lanes[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
    while (end - *at >= STRIPE) {
        for (unsigned i = 0; i < 4; i++) {
            lanes[i] = round_of(lanes[i], little_endian(*at + 8 * i, 8));
        }
        *at += STRIPE;
    }
    uint64_t hash =
        rotate_left(lanes[0], 1) + rotate_left(lanes[1], 7) + rotate_left(lanes[2], 12) + rotate_left(lanes[3], 18);
    for (unsigned i = 0; i < 4; i++) {
        hash = merge(hash, lanes[i]);
    }
    return hash;
}

uint64_t evener_xxh64(const void *bytes, size_t size, uint64_t seed)
{
    const uint8_t *at = bytes;
    const uint8_t *end = at + size;
    uint64_t hash = size >= STRIPE ? stripes(&at, end, seed) : seed + PRIME_5;
    hash += size;
    for (; end - at >= 8; at += 8) {
        hash = rotate_left(hash ^ round_of(0, little_endian(at, 8)), 27) * PRIME_1 + PRIME_4;
    }
    if (end - at >= 4) {
        hash = rotate_left(hash ^ little_endian(at, 4) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        at += 4;
    }
    for (; at < end; at++) {
        hash = rotate_left(hash ^ *at * PRIME_5, 11) * PRIME_1;
    }
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}
