// What the tests of idle_set share: a set with four processors and four threads, by number, each step under its lock.
#pragma once

#include "sched/idle_set.hpp"
#include "testing.hpp"

#include <cstdint>
#include <deque>

namespace handoff_test {

inline constexpr std::int64_t never = handoff::os::never;
inline constexpr unsigned none = ~0u;

class idle_set_ : public testing::Test {
protected:
    using deferred_wake = handoff::detail::deferred_wake;
    using held_p = handoff::detail::held_p;
    using lock_guard = handoff::base::lock_guard;
    using M = handoff::detail::M;
    using P = handoff::detail::P;
    using timer = handoff::detail::timer;

    idle_set_() {
        for (unsigned i = 0; i < 4; ++i) {
            ps_.emplace_back(i);
            ms_.emplace_back(nullptr, static_cast<int>(i));
        }
    }

    // Processors, by their numbers.
    void put_p(unsigned i) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.put_p(held_p::out_of_list(ps_[i]));
    }
    unsigned take_p(unsigned preferred = none) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        held_p p = idle_.take_p(preferred == none ? nullptr : &ps_[preferred]);
        return p ? p.into_list().id : none;
    }
    unsigned take_p_if(bool (*wanted)(const P&, std::int64_t) noexcept, std::int64_t arg) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        held_p p = idle_.take_p_if(wanted, arg);
        return p ? p.into_list().id : none;
    }
    bool has_p(unsigned i) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        return idle_.has(ps_[i]);
    }
    bool all_ps() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        return idle_.all_ps();
    }
    void one_more_lives() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.begins_to_live();
    }
    void one_ends() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.ends();
    }

    // Threads, by theirs.
    void put_m(unsigned i) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.put_m(ms_[i]);
    }
    unsigned take_m() HANDOFF_EXCLUDES(idle_.lock) {
        deferred_wake wake;
        lock_guard hold(idle_.lock);
        return number(idle_.take_m(wake));
    }
    unsigned take_longest_idle_m() HANDOFF_EXCLUDES(idle_.lock) {
        deferred_wake wake;
        lock_guard hold(idle_.lock);
        return number(idle_.take_longest_idle_m(wake));
    }
    std::size_t ms() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        return idle_.ms();
    }
    bool has_m(unsigned i) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        EXPECT_EQ(idle_.has(ms_[i]), ms_[i].is_idle.load());   // what a snapshot reads
        return idle_.has(ms_[i]);
    }
    std::int64_t spin_time() const { return idle_.spin_time.load(std::memory_order_relaxed); }
    static unsigned number(const M* m) { return m ? static_cast<unsigned>(m->id) : none; }

    // Timers, and who sleeps until when.
    void keep_time(unsigned m, std::int64_t until) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.timekeeper = &ms_[m];
        idle_.timekeeper_until = until;
    }
    bool somebody_keeps_time() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        EXPECT_EQ(idle_.timekeeper == nullptr, idle_.timekeeper_until == never);
        return idle_.timekeeper != nullptr;
    }
    void monitor_sleeps(std::int64_t until) HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        idle_.monitor_until = until;
        idle_.monitor_deep = until == never;
    }
    bool cover(std::int64_t when) HANDOFF_EXCLUDES(idle_.lock) {   // whether the monitor was woken for it
        {
            deferred_wake wake;
            lock_guard hold(idle_.lock);
            idle_.cover_timer(when, wake);
        }
        return monitor_was_woken();
    }
    bool monitor_was_woken() { return idle_.monitor_note.wait_until(0); }
    std::int64_t first_timer() HANDOFF_EXCLUDES(idle_.lock) {
        lock_guard hold(idle_.lock);
        return idle_.first_timer();
    }
    timer* set_timer(unsigned p, std::int64_t when) {
        timer& t = timers_.emplace_back();
        t.when = when;
        ps_[p].timers.add(&t);
        return &t;
    }

    std::deque<timer> timers_;
    std::deque<P> ps_;
    std::deque<M> ms_;
    handoff::detail::idle_set idle_;
};

}  // namespace handoff_test
