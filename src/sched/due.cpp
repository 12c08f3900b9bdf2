#include "sched/due.hpp"

#include "base/prefetch.hpp"
#include "base/sizes.hpp"
#include "sched/hooks.hpp"
#include "sched/schedule.hpp"

namespace handoff::detail {

namespace {

constexpr unsigned timers_at_once = base::sized(64, 2);

void append_due(M* m, timer* objects) noexcept {
    timer** end = &m->due;
    while (*end) end = &(*end)->next_due;
    *end = objects;
}

}  // namespace

void run_due(M* m) noexcept {
    while (timer* t = m->due) {
        m->due = t->next_due;   // t may be destroyed once it has run
        t->run(t, m);
    }
}

unsigned run_timers(M* m, P& p, std::int64_t now) noexcept {
    G* woken[timers_at_once];
    unsigned n = 0;
    timer* objects = p.timers.take_due(now, timers_at_once, woken, n);
    append_due(m, objects);
    for (unsigned i = 0; i < n; ++i) {
        base::prefetch_lines<8>(woken[i]->exec.sp);   // the frames of its wait; no other thread has it
        ready(m, woken[i]);
    }
    for (; objects; objects = objects->next_due) ++n;
    return n;
}

bool poll_descriptors(M* m, own_p p) noexcept {
    event_batch events;
    m->s->poller.poll(p->id, static_cast<int>(p->runq.room()), events);
    if (events.count != 0) hooks.descriptors_ready(m, events);
    return events.count != 0;
}

void poll_soon(M* m) noexcept {
    timer& t = m->asks_poller;
    if (t.run) return;   // it is in `due`
    t.next_due = nullptr;
    t.run = [](timer* asks, M* on) noexcept {
        asks->run = nullptr;
        if (const own_p p(on); p) poll_descriptors(on, p);
    };
    append_due(m, &t);
}

}  // namespace handoff::detail
