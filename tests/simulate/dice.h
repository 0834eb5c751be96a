/* dice: chance that a seed repeats. */
#ifndef MR_SIMULATE_DICE_H
#define MR_SIMULATE_DICE_H

#include <stdint.h>

struct dice { uint64_t state; };

static inline struct dice dice_make(uint64_t seed)
{
    return (struct dice){(seed + 1) * 0x9E3779B97F4A7C15U | 1};
}

/* From `least` to `most`, both among them. */
static inline int dice_roll(struct dice *dice, int least, int most)
{
    dice->state ^= dice->state << 13; /* xorshift64 */
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return least + (int)((dice->state >> 32) % (uint64_t)(most - least + 1));
}

#endif
