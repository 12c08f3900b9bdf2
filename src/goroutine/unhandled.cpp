#include "goroutine/unhandled.hpp"

#include "base/check.hpp"
#include "sched/sched.hpp"

#include <new>
#include <string>
#include <utility>

namespace handoff::detail {

std::exception_ptr caught_exception() noexcept {
    if (std::exception_ptr e = std::current_exception()) return e;
    std::string name = "a goroutine";
    if (M* m = current_m()) {
        try {
            name = m->s->store->describe_briefly(m->curg.load(std::memory_order_relaxed)).describe();
        } catch (const std::bad_alloc&) {
        }
    }
    base::fatal("%s has called pthread_exit, or its thread was cancelled (pthread_cancel), but a goroutine ends by returning, and its "
                "thread runs others",
                name.c_str());
}

void report_exception(const goroutine_name& who, std::exception_ptr e, const exception_handler& handler) noexcept {
    if (handler) {
        handler(who, std::move(e));   // noexcept: what it throws terminates
        return;
    }
    std::string name;
    try {
        name = who.describe();
    } catch (const std::bad_alloc&) {
        name = "a goroutine";   // fits into the string itself
    }
    try {
        std::rethrow_exception(e);
    } catch (const std::exception& x) {
        base::warn("%s ended by an unhandled exception: %s", name.c_str(), x.what());
    } catch (...) {
        base::warn("%s ended by an unhandled exception: %s", name.c_str(), "an exception that is no std::exception");
    }
    std::terminate();
}

}  // namespace handoff::detail
