#include "lb/cells.h"

#include <stdlib.h>
#include <string.h>

#define ALL_FREE UINT32_C(0xffff)

struct evener_cell_block {
    evener_cell *cells; /* EVENER_LANES rows of EVENER_CELL_ROW */
    uint32_t free_columns;
    evener_cell_block *next, *previous; /* among those with room */
};

static void link_block(evener_cell_pool *pool, evener_cell_block *block)
{
    block->previous = NULL;
    block->next = pool->with_room;
    if (pool->with_room != NULL) {
        pool->with_room->previous = block;
    }
    pool->with_room = block;
}

static void unlink_block(evener_cell_pool *pool, evener_cell_block *block)
{
    if (block->previous != NULL) {
        block->previous->next = block->next;
    } else {
        pool->with_room = block->next;
    }
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
}

static evener_cell_block *create_block(void)
{
    evener_cell_block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        return NULL;
    }
    const size_t row_bytes = EVENER_CELL_ROW * sizeof(evener_cell);
    block->cells = aligned_alloc(row_bytes, EVENER_LANES * row_bytes);
    if (block->cells == NULL) {
        free(block);
        return NULL;
    }
    block->free_columns = ALL_FREE;
    return block;
}

evener_cell_column evener_cells_take(evener_cell_pool *pool)
{
    evener_cell_block *block = pool->with_room;
    if (block == NULL) {
        block = create_block();
        if (block == NULL) {
            return (evener_cell_column){NULL, NULL};
        }
        link_block(pool, block);
    }
    const uint32_t column = (uint32_t)__builtin_ctz(block->free_columns);
    block->free_columns &= ~(UINT32_C(1) << column);
    if (block->free_columns == 0) {
        unlink_block(pool, block);
    }
    evener_cell *cells = &block->cells[column];
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        memset(evener_cell_of(cells, lane), 0, sizeof *cells);
    }
    return (evener_cell_column){cells, block};
}

void evener_cells_give_back(evener_cell_pool *pool, evener_cell_column column)
{
    if (column.cells == NULL) {
        return;
    }
    evener_cell_block *block = column.block;
    if (block->free_columns == 0) {
        link_block(pool, block);
    }
    block->free_columns |= UINT32_C(1) << (column.cells - block->cells);
    if (block->free_columns == ALL_FREE) {
        unlink_block(pool, block);
        free(block->cells);
        free(block);
    }
}

uint64_t evener_cells_started(const evener_cell *cells)
{
    uint64_t sum = 0;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        sum += __atomic_load_n(&cells[lane * EVENER_CELL_ROW].started, __ATOMIC_ACQUIRE);
    }
    return sum;
}

uint64_t evener_cells_finished(const evener_cell *cells)
{
    uint64_t sum = 0;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        sum += __atomic_load_n(&cells[lane * EVENER_CELL_ROW].finished, __ATOMIC_ACQUIRE);
    }
    return sum;
}
