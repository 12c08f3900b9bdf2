// Blocking calls that can be cancelled.
//
// The race. A stop may come at any time: before the call, during it, when it has returned. One word, `progress_`, decides. The
// owner adds `begun` before the call and `over` when the function has returned; the callback on the token adds `stopped`. Each
// learns from its own addition what came before it. So the canceller is called, and called once, if and only if the order is
// begun, stopped, over; and exactly in the orders with `stopped` before `over` the owner throws. (If the function throws there
// is no `over`, nor anything to decide.) The word orders nothing else (relaxed): what the canceller reads was there before the
// callback was registered, and what it has done is there once the callback has been removed, both by the token's own
// synchronisation.
//
// The end. The owner removes the callback, which waits for one that runs: under the guard, as a part of the call. Nothing of
// the call is used after that but by repetitions.
//
// Repetitions. The callback, once the canceller has returned, starts a timer, whose function calls the canceller again in a new
// goroutine. Such a goroutine may be late, after the call. So what it uses is on the heap, and its lock decides: the owner sets
// `over` there under the lock, for which it waits while a repetition runs. A repetition that finds the lock taken leaves it at
// that. (Only a call that is cancelled has a timer. One that ran during each call would cost a goroutine each interval.) The
// owner stops the timer under the guard as well: where it enters the library it is tied to its thread, so errno and all that
// is per thread stay those of the call.
#include <handoff/cancellable_call.hpp>

#include "base/check.hpp"
#include "os/errno.hpp"
#include "sched/sched.hpp"
#include "wait/cancel.hpp"

#include <handoff/cancellation.hpp>
#include <handoff/mutex.hpp>
#include <handoff/timer.hpp>

#include <exception>
#include <memory>
#include <mutex>

namespace handoff::detail {

// What the goroutines that repeat a canceller refer to.
struct repetition {
    repetition(void (*f)(void*) noexcept, void* a) noexcept : canceller(f), arg(a) {}

    void run() {
        const std::unique_lock mine(lock, std::try_to_lock);
        if (mine && !over) canceller(arg);
    }

    void (*const canceller)(void*) noexcept;
    void* const arg;
    mutex lock;          // held while the canceller runs
    bool over = false;   // under the lock: the call is over
};

namespace {

constexpr unsigned begun = 1, stopped = 2, over = 4;   // in cancellable_call::progress_

std::stop_token token_of_group() {
    M* m = current_m();
    return unblocked_scope(m) && !holds_cancellation_back(m) ? this_goroutine::stop_token() : std::stop_token();
}

sched* runtime_for_repetitions() {
    if (const M* m = current_m()) return m->s;
    if (sched* s = of_default_runtime.load(std::memory_order_acquire)) return s;   // pairs with the release in default_runtime
    throw usage_error("handoff: cancel_with().every() off a goroutine needs the default runtime: call default_runtime() before");
}

}  // namespace

call_plan::call_plan(const std::stop_token* token, std::int64_t interval)
    : stop(token ? *token : token_of_group()), repeat(interval), of(interval != 0 ? runtime_for_repetitions() : nullptr) {}

cancellable_call::cancellable_call(const call_plan& plan, void (*canceller)(void*) noexcept, void* arg)
    : plan_(plan), canceller_(canceller), arg_(arg) {
    on_stop_.emplace(plan_.stop, stop_comes{this});   // calls it at once if a stop was requested already
}

void cancellable_call::begins() {
    if (progress_.fetch_or(begun, std::memory_order_relaxed) != 0) throw_if_cancelled(wait_end::cancelled);
}

void cancellable_call::ended() {
    if ((progress_.fetch_or(over, std::memory_order_relaxed) & stopped) != 0) throw_if_cancelled(wait_end::cancelled);
}

void cancellable_call::stop() noexcept {
    if (progress_.fetch_or(stopped, std::memory_order_relaxed) != begun) return;
    canceller_(arg_);
    if (plan_.repeat == 0) return;
    try {
        repeat();
    } catch (const std::exception& e) {
        base::warn("a canceller is called only once: %s", e.what());
    }
}

void cancellable_call::repeat() {
    repeated_ = std::make_shared<repetition>(canceller_, arg_);
    again_.emplace(channel<std::chrono::steady_clock::time_point>(), [r = repeated_] { r->run(); },
                   deadline_in(std::chrono::nanoseconds(plan_.repeat)), plan_.repeat, plan_.of);
}

cancellable_call::~cancellable_call() {
    const int e = os::get_errno();
    on_stop_.reset();   // waits for a callback that runs on another thread
    if (repeated_) {
        const std::unique_lock after_it(repeated_->lock);
        repeated_->over = true;
    }
    again_.reset();
    os::set_errno(e);
}

}  // namespace handoff::detail
