#include <handoff/recursive_mutex.hpp>

#include "base/check.hpp"
#include "sched/current_m.hpp"
#include "sched/m.hpp"

#include <handoff/error.hpp>

#include <string>

namespace handoff {

using namespace detail;

const void* recursive_mutex::self() noexcept {
    static constinit thread_local char here = 0;
    interleave_point();
    const M* m = current_m();   // opaque: the goroutine may have moved meanwhile
    if (m) return m->curg.load(std::memory_order_relaxed);
    return &here;
}

void recursive_mutex::not_owner() const noexcept {
    base::fatal("recursive_mutex %p is unlocked by one that does not own it", static_cast<const void*>(this));
}

void recursive_mutex::too_deep() {
    throw usage_error("handoff: a recursive_mutex is locked by its owner more than " + std::to_string(max_depth()) + " times");
}

}  // namespace handoff
