/* Failures in a row: see failures.h. */
#include "pool/core/failures.h"

#include "base/text.h"

void failures_init(struct failures *f, struct core *core)
{
    *f = (struct failures){.core = core};
    timer_init(&f->pause);
}

void failures_dispose(struct failures *f)
{
    timer_stop(&f->pause);
}

static void pause_over(struct timer *t)
{
    core_kick(container_of(t, struct failures, pause)->core);
}

static uint64_t pause_after(unsigned n, uint64_t ms, uint64_t max_ms)
{
    for (unsigned i = 1; i < n && ms < max_ms; i++)
        ms *= 2;
    return ms < max_ms ? ms : max_ms;
}

void failures_add(struct failures *f, int answer, const char *text, uint64_t pause_ms,
                  uint64_t pause_max_ms)
{
    f->n++;
    f->answer = answer;
    format_fits(f->text, sizeof f->text, "%s", text);
    timer_start(&f->core->timers, &f->pause, pause_after(f->n, pause_ms, pause_max_ms), pause_over);
}

void failures_forget(struct failures *f)
{
    f->n = 0;
    f->answer = ANSWER_NONE;
    f->text[0] = '\0';
}

void failures_reset(struct failures *f)
{
    failures_forget(f);
    timer_stop(&f->pause);
}

void failures_memory_freed(struct failures *f)
{
    if (f->answer == ANSWER_NO_HOST_MEMORY)
        timer_stop(&f->pause);
}

uint64_t failures_pause_ms(const struct failures *f)
{
    uint64_t now = core_now_us(f->core);
    return timer_armed(&f->pause) && f->pause.due_us > now ? (f->pause.due_us - now) / 1000 + 1 : 0;
}

int failures_answer(const struct failures *f)
{
    bool host = f->answer == ANSWER_NO_HOST_MEMORY || f->answer == ANSWER_XEN_UNAVAILABLE;
    return host ? f->answer : ANSWER_IMAGE_BROKEN;
}
