#include "lb/channel/throttle.h"

#define TOKEN_MILLI 1000

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

void evener_throttle_configure(evener_throttle *throttle, const evener_throttle_config *config)
{
    const uint32_t old_max = load(&throttle->max_milli);
    if (old_max == config->max_milli && load(&throttle->ratio_milli) == config->ratio_milli) {
        return;
    }
    const uint64_t scaled =
        old_max > 0 ? (uint64_t)load(&throttle->tokens_milli) * config->max_milli / old_max : config->max_milli;
    /* Calls that count meanwhile may see the old bounds; they keep the tokens between 0 and one of the two maxima, and
     * the next success or failure corrects a sum above the new one. */
    __atomic_store_n(&throttle->tokens_milli, (uint32_t)scaled, __ATOMIC_RELAXED);
    __atomic_store_n(&throttle->ratio_milli, config->ratio_milli, __ATOMIC_RELAXED);
    __atomic_store_n(&throttle->max_milli, config->max_milli, __ATOMIC_RELAXED);
}

void evener_throttle_succeeded(evener_throttle *throttle)
{
    const uint32_t max = load(&throttle->max_milli);
    const uint32_t ratio = load(&throttle->ratio_milli);
    uint32_t tokens = load(&throttle->tokens_milli);
    /* A full bucket is not written: without failures this costs three loads. */
    while (tokens != max) {
        const uint32_t more = tokens < max && ratio < max - tokens ? tokens + ratio : max;
        if (__atomic_compare_exchange_n(&throttle->tokens_milli, &tokens, more, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return;
        }
    }
}

void evener_throttle_failed(evener_throttle *throttle)
{
    if (load(&throttle->max_milli) == 0) {
        return;
    }
    uint32_t tokens = load(&throttle->tokens_milli);
    uint32_t less;
    do {
        less = tokens > TOKEN_MILLI ? tokens - TOKEN_MILLI : 0;
    } while (tokens != 0 && !__atomic_compare_exchange_n(&throttle->tokens_milli, &tokens, less, true, __ATOMIC_RELAXED,
                                                         __ATOMIC_RELAXED));
}

bool evener_throttle_allows(const evener_throttle *throttle)
{
    const uint32_t max = load(&throttle->max_milli);
    return max == 0 || load(&throttle->tokens_milli) > max / 2;
}
