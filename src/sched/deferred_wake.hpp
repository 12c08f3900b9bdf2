// deferred_wake wakes a note when it goes out of scope. Declared before a lock_guard, it wakes after the lock was released.
#pragma once

#include "os/note.hpp"

namespace handoff::detail {

class deferred_wake {
public:
    deferred_wake() noexcept = default;
    deferred_wake(const deferred_wake&) = delete;
    deferred_wake& operator=(const deferred_wake&) = delete;
    ~deferred_wake() {
        if (n_) n_->wake();
    }
    void set(os::note& n) noexcept { n_ = &n; }

private:
    os::note* n_ = nullptr;
};

}  // namespace handoff::detail
