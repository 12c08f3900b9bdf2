// held_p: a processor that is held: its status is idle, it is on no thread and in no list, and it is the holder's alone. Code
// that takes a P from a thread or out of a list gets it as a held_p, and has to give it away: to a thread (put_on), to the idle
// Ps, or to code that finds a thread for it. A P that is dropped would be missing for good, so a held_p that is destroyed with
// one ends the process, and names it.
#pragma once

#include "sched/p.hpp"

#include <utility>

namespace handoff::detail {

class [[nodiscard]] held_p {
public:
    held_p() noexcept = default;   // none
    held_p(held_p&& from) noexcept : p_(std::exchange(from.p_, nullptr)) {}
    held_p& operator=(held_p&& from) noexcept {
        if (p_) [[unlikely]] dropped(*p_);
        p_ = std::exchange(from.p_, nullptr);
        return *this;
    }
    ~held_p() {
        if (p_) [[unlikely]] dropped(*p_);
    }

    explicit operator bool() const noexcept { return p_ != nullptr; }
    P& operator*() const noexcept { return *p_; }
    P* operator->() const noexcept { return p_; }

    // off_its_thread: called by that thread itself, or by the retaker, before any other thread can see the P.
    static held_p off_its_thread(P& p) noexcept {
        p.transition(p_status::running, p_status::idle);
        p.m.store(nullptr, std::memory_order_relaxed);
        return held_p(&p);
    }
    // put_on puts it on m's thread, which is the calling thread, or one that will see it before it goes on.
    void put_on(M* m) noexcept;

    // Out of a list of idle Ps, and into one, under the lock of that list.
    static held_p out_of_list(P& p) noexcept { return held_p(&p); }
    P& into_list() noexcept { return *std::exchange(p_, nullptr); }

    // made: from dead (newly made, or wanted again) to held. retire: from held to dead.
    static held_p made(P& p) noexcept {
        p.transition(p_status::dead, p_status::idle);
        return held_p(&p);
    }
    void retire() noexcept { std::exchange(p_, nullptr)->transition(p_status::idle, p_status::dead); }

private:
    explicit held_p(P* p) noexcept : p_(p) {}
    [[noreturn, gnu::cold]] static void dropped(const P& p) noexcept;

    P* p_ = nullptr;
};

}  // namespace handoff::detail
