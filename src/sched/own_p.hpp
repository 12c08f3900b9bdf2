// own_p says that a P is the caller's: it is on the caller's M, which is in a runtime section, or the caller holds it. What must hold
// a P to be called takes one as an argument; a P that is only looked at is a P& or a P*. It is a pointer and nothing more, valid
// until the caller leaves its section, switches, or gives the P away.
#pragma once

#include "sched/held_p.hpp"
#include "sched/m.hpp"

namespace handoff::detail {

class own_p {
public:
    // m: the caller's M, in a section. On g0, and where a goroutine has ended without a P, it may have none: then this converts to
    // false. Not while the word says that the P is gone (M::taken): M::p is the old one then.
    explicit own_p(const M* m) noexcept : p_(m->p.load(std::memory_order_relaxed)) {}
    explicit own_p(const held_p& held) noexcept : p_(&*held) {}

    explicit operator bool() const noexcept { return p_ != nullptr; }
    P* operator->() const noexcept { return p_; }
    P& operator*() const noexcept { return *p_; }

private:
    P* p_;
};

}  // namespace handoff::detail
