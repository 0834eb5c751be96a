#include "lab/play.h"

#include "os/clock.h"

int64_t play_now_ms(const struct play *play)
{
    return clock_mono_ms() - play->began_ms;
}

static int dice(struct play *play) /* 0 to 99 */
{
    play->random ^= play->random << 13; /* xorshift64 */
    play->random ^= play->random >> 7;
    play->random ^= play->random << 17;
    return (int)((play->random >> 32) % 100);
}

const struct lab_phase *play_phase(struct play *play, const struct lab_phases *phases, play_says_fn *says, int what)
{
    int64_t at_ms = play_now_ms(play);
    for (size_t i = phases->count; i-- > 0;) {
        const struct lab_phase *phase = &phases->items[i];
        if (at_ms >= phase->span.from_ms && at_ms < phase->span.to_ms && says(phase, what) && (phase->chance == 100 || dice(play) < phase->chance))
            return phase;
    }
    return NULL;
}

static bool has_delay(const struct lab_phase *phase, int what)
{
    (void)what;
    return phase->delay_ms != LAB_UNSAID;
}

int64_t play_delay_ms(struct play *play, const struct lab_phases *phases, int64_t standard_ms)
{
    const struct lab_phase *phase = play_phase(play, phases, has_delay, 0);
    return phase ? phase->delay_ms : standard_ms;
}
