// Timers that are objects: they outlive the call that starts them, and may be stopped while they fire.
//
// A timer_state is referred to by its handle, and by the heap that it is in; the latter reference passes to whoever takes
// it out because it is due. Its lock decides between those and the handle. Between being taken out of the heap and running
// it is in flight: part of somebody's list, so that it can't be added anywhere; who starts it anew leaves that to run().
// Lock order: link, state, then heap or channel.
//
// The timer of after() is referred to by its channel in place of a handle, and does not refer to the channel: once nobody
// has a handle on that, nobody could receive the time. It is stopped as the first step of the channel's end. fire() sends
// under the timer's lock, and only while `pending`, so after that it does not touch the channel any more; it may still be
// at work, or the timer in flight, with a reference of its own.
#include <handoff/timer.hpp>

#include "base/check.hpp"
#include "goroutine/spawn.hpp"
#include "os/backoff.hpp"
#include "os/clock.hpp"
#include "sched/handover.hpp"
#include "sched/simulation_hooks.hpp"
#include "sync/channel.hpp"

#include <handoff/select.hpp>

#include <algorithm>

namespace handoff::detail {

using steady_time = std::chrono::steady_clock::time_point;

struct timer_state : timer {
    timer_state(channel<steady_time> c, std::function<void()> function, std::shared_ptr<sched_link> l)
        : kept(std::move(c)), to(channel_access::of(kept)), f(std::move(function)), link(std::move(l)) {
        run = run_state;
    }
    // Of after().
    timer_state(channel_base& owner, std::shared_ptr<sched_link> l) : to(&owner), link(std::move(l)) { run = run_state; }

    void drop() noexcept {
        // acq_rel: all uses come before the end.
        if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    static void run_state(timer* t, M* m) noexcept { static_cast<timer_state*>(t)->fire(m); }

    bool owned_by_channel() const noexcept { return to && !kept; }

    bool stop_locked() noexcept;
    void start_locked(M* m, std::int64_t at, std::int64_t every);
    void add(M* m);
    void fire(M* m) noexcept;
    void send(wake_list& won) noexcept;
    bool drain() noexcept;
    void call(M* m);
    void again(M* m, std::int64_t at) noexcept;

    const channel<steady_time> kept;   // empty: it calls a function, or its channel owns it
    channel_base* const to;            // null: it calls a function
    const std::function<void()> f;
    const std::shared_ptr<sched_link> link;
    base::atomic<std::uint32_t> refs{1};

    // Calls of fire() at work; a ticker may be due again during one. Raised under the lock; lowered by fire() as the last
    // that it does with a state whose handle is there (release). The handle waits for 0 (acquire) before it goes, so
    // that it is never fire(), in a runtime section, that destroys the program's function.
    base::atomic<std::uint32_t> firing{0};

    base::mutex lock;          // guards what follows; not a spin lock, since timers are added under it
    bool pending = false;      // it is to fire
    bool out = false;          // in a heap, or in flight
    bool restart = false;      // in flight, and started anew: for `next`
    std::int64_t next = 0;
    std::int64_t period = 0;   // 0: once
};

namespace {

// What the goroutine of a timer's function runs.
struct call_function {
    using moves_quietly = std::true_type;
    timer_state* t;
    explicit call_function(timer_state* of) noexcept : t(of) {}
    call_function(call_function&& other) noexcept : t(std::exchange(other.t, nullptr)) {}
    ~call_function() {
        if (t) t->drop();
    }
    void operator()() const { t->f(); }
};

// The runtime of a timer, for as long as this is held: the calling goroutine's, or one that is kept from ending.
class held_runtime {
public:
    explicit held_runtime(timer_state& t) HANDOFF_NO_TSA : m_(enter_current()), link_(*t.link) {
        if (m_ && m_->s->link == t.link) {
            s_ = m_->s;
            return;
        }
        link_.lock.lock();
        locked_ = true;
        s_ = link_.s;
        foreign_ = m_;
        m_ = nullptr;
    }
    ~held_runtime() HANDOFF_NO_TSA {
        if (locked_) link_.lock.unlock();
        leave_current(m_ ? m_ : foreign_);
    }
    held_runtime(const held_runtime&) = delete;
    held_runtime& operator=(const held_runtime&) = delete;

    sched* get() const noexcept { return s_; }
    M* m() const noexcept { return m_; }   // null: not one of its threads

private:
    M* m_;
    M* foreign_ = nullptr;   // of another runtime
    sched_link& link_;
    sched* s_ = nullptr;
    bool locked_ = false;
};

}  // namespace

// The heap gets a reference.
void timer_state::add(M* m) {
    refs.fetch_add(1, std::memory_order_relaxed);
    try {
        if (m) m->p.load(std::memory_order_relaxed)->timers.add(this);
        else add_timer_outside(*link->s, this);
    } catch (...) {
        refs.fetch_sub(1, std::memory_order_relaxed);
        throw;
    }
    out = true;
}

bool timer_state::stop_locked() noexcept {
    restart = false;
    if (out && timer_heap::remove_anywhere(this)) {
        out = false;
        refs.fetch_sub(1, std::memory_order_relaxed);   // the handle has one
    }
    return std::exchange(pending, false);
}

void timer_state::start_locked(M* m, std::int64_t at, std::int64_t every) {
    next = at;
    period = every;
    if (out) {
        restart = true;
    } else {
        when = at;
        add(m);
    }
    pending = true;
}

// send is what a timer with a channel does; what nobody has received is missed. Under the lock, so that stop() finds
// nothing that comes after it.
void timer_state::send(wake_list& won) noexcept {
    value_slot<steady_time> now;
    now.put(steady_time(std::chrono::nanoseconds(os::nanotime())));
    spin_guard hold(to->lock);
    send_now(*to, now.bytes, won);
}

// drain takes back what nobody has received, and says whether there was something.
bool timer_state::drain() noexcept {
    if (!to) return false;
    spin_guard hold(to->lock);
    if (to->count.load(std::memory_order_relaxed) == 0) return false;
    value_slot<steady_time> old;   // the only one
    pop_ring(*to, old.bytes);
    return true;
}

// call spawns the goroutine of a timer's function.
void timer_state::call(M* m) {
    using box = task<call_function, void>;
    static_assert(box::fits_inline);
    alignas(task_inline_align) std::byte buffer[task_inline_size];
    refs.fetch_add(1, std::memory_order_relaxed);
    ::new (static_cast<void*>(buffer)) box(std::in_place, call_function(this));
    try {
        spawn_detached(m, box::ops, buffer, {});
    } catch (...) {
        box::abandon(buffer);   // drops the reference
        throw;
    }
}

// again puts a timer that has just fired back into a heap, of m's P.
void timer_state::again(M* m, std::int64_t at) noexcept {
    when = at;
    try {
        add(m);
    } catch (const std::bad_alloc&) {
        pending = false;
        base::warn("no memory to start a timer again: it is stopped");
    }
}

namespace {

// next_tick is the first of when + n * period that is later than now.
std::int64_t next_tick(std::int64_t when, std::int64_t period, std::int64_t now) noexcept {
    const std::int64_t last = when + std::max<std::int64_t>(now - when, 0) / period * period;
    return period < last_deadline - last ? last + period : last_deadline;
}

}  // namespace

// fire is what follows from being due, by whoever took it out of the heap; null: the runtime ends.
void timer_state::fire(M* m) noexcept {
    wake_list won;
    bool calls = false;
    {
        base::lock_guard hold(lock);
        out = false;
        firing.fetch_add(1, std::memory_order_relaxed);
        if (!m) {
            pending = restart = false;
        } else if (std::exchange(restart, false)) {
            again(m, next);
        } else if (pending) {
            if (f) calls = true;
            else send(won);
            pending = period != 0;
            // Ticks that are over already are missed.
            if (pending) again(m, next_tick(when, period, os::nanotime()));
        }
    }
    won.wake(m);
    if (calls) {
        try {
            call(m);
        } catch (const std::bad_alloc&) {
            base::lock_guard hold(lock);
            if (!pending) {   // else it has been started anew
                pending = true;
                again(m, os::nanotime() + 1'000'000);
            }
        }
    }
    if (owned_by_channel()) {
        drop();
        return;
    }
    refs.fetch_sub(1, std::memory_order_relaxed);   // the handle has one
    firing.fetch_sub(1, std::memory_order_release);
}

// link_of is the link of the runtime that a new timer belongs to; null: its maker's.
static std::shared_ptr<sched_link> link_of(sched* of) { return (of ? of : sched_of_maker("a timer, a ticker or after()"))->link; }

timer_handle::timer_handle(channel<steady_time> ch, std::function<void()> f, std::int64_t when, std::int64_t period, sched* of) {
    s = new timer_state(std::move(ch), std::move(f), link_of(of));
    start_first(when, period);
}

void timer_handle::start_first(std::int64_t when, std::int64_t period) {
    try {
        start(when, period);
    } catch (...) {
        std::exchange(s, nullptr)->drop();
        throw;
    }
}

timer_handle::~timer_handle() {
    if (!s) return;
    stop();
    wait_until_quiet();
    s->drop();
}

// wait_until_quiet returns once nobody fires the timer, which has been stopped, or is about to. A matter of microseconds,
// if at all. Who fires it has a processor of his own and needs nothing of ours, so it is the thread that waits; a simulation
// has but one.
void timer_handle::wait_until_quiet() noexcept {
    const M* m = current_m();
    for (os::backoff a_moment;;) {
        {
            base::lock_guard hold(s->lock);
            if (!s->out && s->firing.load(std::memory_order_acquire) == 0) return;
        }
        if (m && m->s->sim) this_goroutine::yield();
        else a_moment.give_up_core();
    }
}

bool timer_handle::stop() noexcept {
    const held_runtime runtime(*s);
    base::lock_guard hold(s->lock);
    const bool was = s->stop_locked();
    return s->drain() || was;
}

bool timer_handle::start(std::int64_t when, std::int64_t period) {
    const M* here = current_m();
    if (here && here->s->sim && here->s->link != s->link) refuse_in_simulation("starting a timer of another runtime");
    const held_runtime runtime(*s);
    if (!runtime.get()) throw usage_error("handoff: the runtime of a timer has ended");
    base::lock_guard hold(s->lock);
    const bool stopped = s->stop_locked();
    const bool was = s->drain() || stopped;
    s->start_locked(runtime.m(), when, period);
    return was;
}

void start_owned_timer(channel_of<steady_time>& c, std::int64_t when, sched* of) {
    timer_handle first;
    first.s = new timer_state(c, link_of(of));
    first.start_first(when, 0);
    c.timer = std::exchange(first.s, nullptr);
}

void stop_owned_timer(timer_state* t) noexcept {
    {
        const held_runtime runtime(*t);
        base::lock_guard hold(t->lock);
        t->stop_locked();
    }
    t->drop();
}

}  // namespace handoff::detail
