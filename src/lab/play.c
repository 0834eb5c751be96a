#include "lab/play.h"

#include "os/clock.h"

int64_t play_now_ms(const struct play *play)
{
    return clock_mono_ms() - play->began_ms;
}

int play_dice(void *arg)
{
    struct play *play = arg;
    play->random ^= play->random << 13; /* xorshift64 */
    play->random ^= play->random >> 7;
    play->random ^= play->random << 17;
    return (int)((play->random >> 32) % 100);
}

static bool has_delay(const struct lab_phase *phase, int what)
{
    (void)what;
    return phase->delay_ms != LAB_UNSAID;
}

int64_t play_delay_ms(struct play *play, const struct lab_phases *phases, int64_t standard_ms)
{
    const struct lab_phase *phase = lab_phase_at(phases, play_now_ms(play), has_delay, 0, play_dice, play);
    return phase ? phase->delay_ms : standard_ms;
}
