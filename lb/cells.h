/* Cells: the counters of picks, one pair a backend and lane, laid out so that two lanes never share a cache line.
 *
 * A block holds 16 backends: for each lane one row of 16 cells (256 bytes). A thread that goes round its backends stays
 * in its own row; 128 bytes a backend is the whole price. Control thread, but for evener_cell_of and what follows. */
#ifndef EVENER_LB_CELLS_H
#define EVENER_LB_CELLS_H

#include <stddef.h>
#include <stdint.h>

#include <evener/picker.h>

#define EVENER_CELL_ROW 16

typedef struct evener_cell {
    uint64_t started;  /* picks that began on this lane */
    uint64_t finished; /* picks that were ended on this lane, wherever they began */
} evener_cell;

typedef struct evener_cell_block evener_cell_block;

typedef struct evener_cell_pool {
    evener_cell_block *with_room; /* blocks that have a free column */
} evener_cell_pool;

/* A backend's column: lane l's cell is cells[l * EVENER_CELL_ROW]. */
typedef struct evener_cell_column {
    evener_cell *cells; /* NULL: none */
    evener_cell_block *block;
} evener_cell_column;

/* A zeroed column; its `cells` is NULL without memory. */
evener_cell_column evener_cells_take(evener_cell_pool *pool);
void evener_cells_give_back(evener_cell_pool *pool, evener_cell_column column);

static inline evener_cell *evener_cell_of(evener_cell *cells, uint32_t lane)
{
    return &cells[(size_t)lane * EVENER_CELL_ROW];
}

static inline void evener_cell_start(evener_cell *cells, uint32_t lane)
{
    uint64_t *counter = &evener_cell_of(cells, lane)->started;
    if (lane != EVENER_LANE_SHARED) {
        __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
    } else {
        (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
    }
}

/* The last touch of a pick: release, so that whoever sees all finished may free what the pick used. */
static inline void evener_cell_finish(evener_cell *cells, uint32_t lane)
{
    uint64_t *counter = &evener_cell_of(cells, lane)->finished;
    if (lane != EVENER_LANE_SHARED) {
        __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
    } else {
        (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELEASE);
    }
}

/* Sums over the lanes. `finished` first, where both are wanted: then the difference is never negative. */
uint64_t evener_cells_started(const evener_cell *cells);
uint64_t evener_cells_finished(const evener_cell *cells);

#endif
