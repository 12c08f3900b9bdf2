// Wakes notes when it goes out of scope: declared before a lock_guard, it wakes outside the lock.
#pragma once

#include "base/check.hpp"
#include "os/note.hpp"

namespace handoff::detail {

class deferred_wake {
public:
    deferred_wake() noexcept = default;
    deferred_wake(const deferred_wake&) = delete;
    deferred_wake& operator=(const deferred_wake&) = delete;
    ~deferred_wake() {
        for (os::note* n : notes_)
            if (n) n->wake();
    }

    // set: n is woken, once. There are two that may be under one lock: the monitor's, and that of the runtime's end.
    void set(os::note& n) noexcept {
        for (os::note*& place : notes_) {
            if (place && place != &n) continue;
            place = &n;
            return;
        }
        base::fatal("a third note is to be woken under one lock");
    }

private:
    os::note* notes_[2] = {};
};

}  // namespace handoff::detail
