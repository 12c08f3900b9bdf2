// A processor in somebody's hands: idle, on no thread, in no list, and the holder's alone. Whoever takes one from a thread or out
// of a list gets it as a held_p, and has to give it away: to a thread (put_on), to the idle ones, to whoever finds a thread for it.
// One that is dropped would be missing for good; it ends the process by name.
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

    // Off its thread: by that thread itself, or by who has retaken it, before anybody else can see it.
    static held_p off_its_thread(P& p) noexcept {
        p.transition(p_status::running, p_status::idle);
        p.m.store(nullptr, std::memory_order_relaxed);
        return held_p(&p);
    }
    // Onto m's thread, which the caller is, or which is to see it before it goes on.
    void put_on(M* m) noexcept;

    // Out of a list of idle ones and into one, under the lock of that list.
    static held_p out_of_list(P& p) noexcept { return held_p(&p); }
    P& into_list() noexcept { return *std::exchange(p_, nullptr); }

    // From its making, or from its end, and to its end.
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
