#include <handoff/runtime.hpp>

#include "base/check.hpp"
#include "debug/snapshot.hpp"
#include "debug/stats.hpp"
#include "sched/sched.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/error.hpp>
#include <handoff/syscall.hpp>

#include <ostream>
#include <utility>

namespace handoff {

namespace detail {

struct runtime_access {
    static sched* of(runtime& r) noexcept { return r.impl_.get(); }
};

sched* sched_of(runtime& rt) noexcept { return runtime_access::of(rt); }

}  // namespace detail

runtime::runtime(options o) {
    if (detail::in_forked_child())
        throw usage_error("handoff: the child of a fork of a process with goroutines can only exec");
    impl_.reset(new detail::sched(std::move(o)));
    try {
        start(*impl_);
    } catch (...) {
        delete impl_.release();   // it has no goroutines for which to wait
        throw;
    }
}

runtime::~runtime() = default;

void runtime::deleter::operator()(detail::sched* s) const noexcept {
    using namespace detail;
    if (in_forked_child()) return;   // its threads exist only in the parent
    if (M* m = current_m()) {
        if (m->s == s)
            base::fatal("a runtime is destroyed by its own goroutine %llu, for which it would wait",
                        static_cast<unsigned long long>(this_goroutine::id()));
        syscall_guard waits(handoff_policy::immediate);
        drain_and_stop(*s);
        delete s;
        return;
    }
    drain_and_stop(*s);
    delete s;
}

void runtime::set_procs(unsigned n) { detail::set_procs(*impl_, n); }
unsigned runtime::procs() const noexcept { return impl_->procs.wanted(); }
struct stats runtime::stats() const { return detail::stats_of(*impl_); }
scheduler_snapshot runtime::snapshot() const { return detail::snapshot_of(*impl_); }

void runtime::dump(std::ostream& out) const {
    const scheduler_snapshot all = snapshot();
    out << all.processors.size() << " processors, " << all.threads.size() << " threads, " << all.goroutines.size()
        << " goroutines, " << all.queued_globally << " queued globally\n"
        << detail::text_of(all);
}

bool runtime::ends_by(std::int64_t deadline) {
    using namespace detail;
    if (in_forked_child()) throw usage_error("handoff: shutdown() in a forked child, which has none of the runtime's threads");
    const M* m = current_m();
    if (m && m->s == impl_.get()) throw usage_error("handoff: shutdown() on a goroutine of the runtime, for which it would wait");
    if (m && m->s->sim) refuse_in_simulation("the end of another runtime");
    const syscall_guard waits(handoff_policy::immediate);
    close(*impl_);
    return await_end(*impl_, deadline);
}

// A snapshot looks at some goroutines after the others. If each starts another one and ends, it may find none of them.
std::vector<goroutine_info> runtime::left() const {
    for (;;) {
        std::vector<goroutine_info> all = snapshot().goroutines;
        if (!all.empty() || detail::await_end(*impl_, detail::at_once)) return all;
    }
}

runtime& default_runtime() {
    // Never destroyed: goroutines may use it for as long as the process runs.
    static runtime* const the = [] {
        auto* started = new runtime;
        detail::of_default_runtime.store(detail::sched_of(*started), std::memory_order_release);
        return started;
    }();
    return *the;
}

}  // namespace handoff
