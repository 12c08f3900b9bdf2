// Timers that are objects: they outlive the call that starts them, and may be stopped while they fire.
//
// A timer_state is referred to by its handle, and by the heap that it is in. The latter reference passes to whoever takes it
// out of the heap because it is due. The timer's lock decides between that thread and the handle. Between being taken out of
// the heap and running, a timer is in flight: it is part of a list, so it can't be added to a heap. If it is started again
// meanwhile, fire() adds it. Lock order: link, state, then heap or channel.
//
// The timer of after() is owned by its channel instead of a handle, and holds no reference to that channel: once nobody has
// a handle to the channel, nobody could receive the time. It is stopped as the first step of the channel's end. fire() sends
// under the timer's lock, and only while `pending`, so after the stop it no longer touches the channel. It may still be
// running then, or the timer may be in flight, with a reference of its own.
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
    // The timer of after().
    timer_state(channel_base& owner, std::shared_ptr<sched_link> l) : to(&owner), link(std::move(l)) { run = run_state; }

    void drop() noexcept {
        // acq_rel: all uses happen before the deletion.
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

    // The number of running calls of fire(); a ticker may be due again during one. Incremented under the lock. Decremented
    // by fire() as its last access to a state that has a handle (release). The handle waits for 0 (acquire) before it goes.
    // So it is never fire(), in a runtime section, that destroys the program's function.
    base::atomic<std::uint32_t> firing{0};

    base::mutex lock;          // guards what follows; not a spin lock, since under it timers are added, which may allocate
    bool pending = false;      // it has yet to fire
    bool out = false;          // in a heap, or in flight
    bool restart = false;      // in flight, and started again: to fire at `next`
    std::int64_t next = 0;
    std::int64_t period = 0;   // 0: it fires once
};

namespace {

// What the goroutine of a timer's function executes.
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

// Holds the runtime of a timer: either the calling goroutine runs in it, or it is kept from ending as long as this object
// lives.
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
    M* m() const noexcept { return m_; }   // null: the calling thread does not belong to that runtime

private:
    M* m_;
    M* foreign_ = nullptr;   // of another runtime
    sched_link& link_;
    sched* s_ = nullptr;
    bool locked_ = false;
};

}  // namespace

// The heap gets a reference to it.
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

// send is what a timer with a channel does. If the last time has not been received yet, this one is dropped. It runs under
// the timer's lock, so after stop() nothing is sent.
void timer_state::send(wake_list& won) noexcept {
    value_slot<steady_time> now;
    now.put(steady_time(std::chrono::nanoseconds(os::nanotime())));
    spin_guard hold(to->lock);
    send_now(*to, now.bytes, won);
}

// drain takes back the time that nobody has received, and says whether there was one.
bool timer_state::drain() noexcept {
    if (!to) return false;
    spin_guard hold(to->lock);
    if (to->count.load(std::memory_order_relaxed) == 0) return false;
    value_slot<steady_time> old;   // the only value
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

// again adds a timer that has just fired to the heap of m's P.
void timer_state::again(M* m, std::int64_t at) noexcept {
    when = at;
    try {
        add(m);
    } catch (const std::bad_alloc&) {
        pending = false;
        base::warn_nth(m->s->count.timers_lost.add(), "no memory to start a timer again: it is stopped");
    }
}

namespace {

// next_tick returns the first of the times when + n * period that is later than now.
std::int64_t next_tick(std::int64_t when, std::int64_t period, std::int64_t now) noexcept {
    const std::int64_t last = when + std::max<std::int64_t>(now - when, 0) / period * period;
    return period < last_deadline - last ? last + period : last_deadline;
}

}  // namespace

// fire is called when the timer is due, by whoever took it out of the heap. m null: the runtime ends.
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
            // Ticks whose time has passed already are dropped.
            if (pending) again(m, next_tick(when, period, os::nanotime()));
        }
    }
    won.wake(m);
    if (calls) {
        try {
            call(m);
        } catch (const std::bad_alloc&) {
            base::lock_guard hold(lock);
            if (!pending) {   // otherwise it has been started again
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

// link_of returns the link of the runtime to which a new timer belongs; `of` null: its maker's.
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

// wait_until_quiet returns once no thread is firing the timer, which has been stopped, or is about to. If it has to wait at
// all, this takes microseconds. A thread that fires it has a processor of its own and needs nothing of ours, so the waiting
// blocks the thread. A simulation has only one thread; there the goroutine yields.
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
