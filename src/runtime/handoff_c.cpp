// The C interface, built on the C++ interface.
#include <handoff/handoff.h>
#include <handoff/runtime.hpp>
#include <handoff/syscall.hpp>

#include <handoff/error.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <system_error>

struct handoff_runtime {
    handoff::runtime runtime;
};

namespace {

// Returns 0, or the errno value for the exception that f throws.
template <class F>
int result_of(F f) noexcept {
    int result = 0;
    try {
        f();
    } catch (const std::bad_alloc&) {
        result = ENOMEM;
    } catch (const handoff::cancelled&) {
        result = ECANCELED;
    } catch (const std::invalid_argument&) {
        result = EINVAL;
    } catch (const std::system_error& e) {
        result = e.code().value();
    } catch (...) {
        result = EPERM;   // usage_error: in a forked child, or in the end of a runtime
    }
    return result;
}

handoff::join_handle<void> go(handoff_runtime* r, void (*f)(void*), void* arg) {
    const auto call = [f, arg] { f(arg); };
    handoff::spawn_options o;
    o.kind = reinterpret_cast<std::uintptr_t>(f);   // here all goroutines have the same closure type and place
    return r ? r->runtime.go(o, call) : handoff::go(o, call);
}

}  // namespace

extern "C" {

int handoff_runtime_create(handoff_runtime** created, const handoff_options* options) noexcept {
    return result_of([&] {
        handoff::options o;
        if (options) {
            if (options->procs != 0) o.procs = options->procs;
            if (options->stack_size != 0) o.stack_size = options->stack_size;
            if (options->max_threads != 0) o.max_threads = options->max_threads;
        }
        *created = new handoff_runtime{handoff::runtime(o)};   // NOLINT(bugprone-unhandled-*): result_of catches it
    });
}

void handoff_runtime_destroy(handoff_runtime* r) noexcept { delete r; }

int handoff_runtime_shutdown(handoff_runtime* r, int64_t ns) noexcept {
    std::size_t left = 0;
    const int e = result_of([&] {
        left = (r ? r->runtime : handoff::default_runtime()).shutdown(std::chrono::nanoseconds(ns)).size();
    });
    return e != 0 ? -e : static_cast<int>(std::min<std::size_t>(left, INT_MAX));
}

int handoff_go(handoff_runtime* r, void (*f)(void*), void* arg) noexcept {
    return result_of([&] { go(r, f, arg); });
}

int handoff_run(handoff_runtime* r, void (*f)(void*), void* arg) noexcept {
    return result_of([&] { go(r, f, arg).join(); });
}

void handoff_yield(void) noexcept {
    result_of([] { handoff::this_goroutine::yield(); });   // it throws in a simulation that has failed
}

int handoff_sleep_ns(int64_t ns) noexcept {
    return result_of([&] { handoff::this_goroutine::sleep_for(std::chrono::nanoseconds(ns)); });
}

uint64_t handoff_goroutine_id(void) noexcept { return handoff::this_goroutine::id(); }

void handoff_entersyscall(void) noexcept { handoff::entersyscall(); }
void handoff_entersyscallblock(void) noexcept { handoff::entersyscallblock(); }
void handoff_exitsyscall(void) noexcept { handoff::exitsyscall(); }
int handoff_last_errno(void) noexcept { return handoff::last_errno(); }

}  // extern "C"
