// Task groups. A group's state lives as long as the group or one of its goroutines.
//
// Cancelling: under the group's lock the flag is set and every scope's wait is won; they are woken after. Groups inside,
// and the program's own callbacks, follow from the group's stop source: a group hears of its enclosing one as of any stop
// token. Who requests a stop must not change threads in between (the stop state goes by the thread's id), so nothing here
// enters a runtime section.
#include <handoff/task_group.hpp>

#include "os/clock.hpp"
#include "sim/simulator.hpp"
#include "sync/cancel.hpp"

#include <handoff/error.hpp>
#include <handoff/timer.hpp>
#include <handoff/wait_group.hpp>

#include <exception>
#include <optional>
#include <utility>

namespace handoff::detail {

enum class cancel_reason : std::uint8_t { none, exception, cancel, deadline, outside };

struct group_state {
    using scope_list = boost::intrusive::list<cancel_scope, boost::intrusive::member_hook<cancel_scope, scope_hook, &cancel_scope::link>,
                                              boost::intrusive::constant_time_size<false>>;

    void cancel(cancel_reason why) noexcept;
    void fail(std::exception_ptr e) noexcept;

    spin_lock lock;
    scope_list scopes;                                            // under the lock
    base::atomic<cancel_reason> reason{cancel_reason::none};      // set under the lock; relaxed reads want no more than it
    std::exception_ptr first;                                     // under the lock: of the goroutine that failed first
    goroutine_name failed;                                        // and who that was
    std::stop_source stop;
    wait_group running;

    struct canceller {
        group_state* g;
        void operator()() const noexcept { g->cancel(cancel_reason::outside); }
    };
    // The owner's.
    std::optional<std::stop_callback<canceller>> on_outer, on_token;
    std::optional<handoff::timer> on_deadline;
};

void group_state::cancel(cancel_reason why) noexcept {
    wake_list won;
    {
        spin_guard hold(lock);
        if (reason.load(std::memory_order_relaxed) != cancel_reason::none) return;
        reason.store(why, std::memory_order_relaxed);
        for (cancel_scope& s : scopes) {
            spin_guard inner(s.lock);
            s.cancelled.store(true, std::memory_order_relaxed);
            if (s.current) won.claim(*s.current, wait_end::cancelled);
        }
    }
    won.wake(nullptr);
    const no_interleaving while_callbacks_run;
    stop.request_stop();
}

void group_state::fail(std::exception_ptr e) noexcept {
    goroutine_name who;
    if (const M* m = current_m()) {
        const G* g = m->curg.load(std::memory_order_relaxed);
        who = g->s->store->describe_briefly(g);
    }
    {
        spin_guard hold(lock);
        if (first) return;
        first = std::move(e);
        failed = std::move(who);
    }
    cancel(cancel_reason::exception);
}

group_member::group_member(std::shared_ptr<group_state> g) : g_(std::move(g)) { g_->running.add(); }

group_member::~group_member() {
    if (g_) g_->running.done();
}

void run_child(group_state& g, void (*f)(void*), void* arg) noexcept {
    cancel_scope scope(&g);
    G* self = current_m()->curg.load(std::memory_order_relaxed);
    {
        spin_guard hold(g.lock);
        scope.cancelled.store(g.reason.load(std::memory_order_relaxed) != cancel_reason::none, std::memory_order_relaxed);
        g.scopes.push_back(scope);
    }
    cancel_scope* outer = std::exchange(self->scope, &scope);
    scope.simulated = outer != nullptr;   // else a goroutine has none to begin with
    if (!scope.cancelled.load(std::memory_order_relaxed)) {
        try {
            f(arg);
        } catch (const cancelled&) {
            // Of its own group that is how it should end.
            if (!scope.cancelled.load(std::memory_order_relaxed)) g.fail(std::current_exception());
        } catch (...) {
            g.fail(std::current_exception());
        }
    }
    self->scope = outer;
    destroy_locals(self->locals);   // all of it is over before the group hears of it
    spin_guard hold(g.lock);
    g.scopes.erase(g.scopes.iterator_to(scope));
}

namespace {

// wait_for_all waits whatever happens: those that it waits for are cancelled if we are.
void wait_for_all(group_state& g) noexcept {
    const cancellation_blocker not_now;
    g.running.wait();
}

std::exception_ptr take_first(group_state& g) noexcept {
    spin_guard hold(g.lock);
    return std::exchange(g.first, nullptr);
}

// report_unseen: as for a goroutine without a handle.
void report_unseen(group_state& g, std::exception_ptr e) noexcept {
    M* m = current_m();
    report_exception(g.failed, std::move(e), (m ? m->s : default_sched())->opts.on_unhandled_exception);
}

}  // namespace

}  // namespace handoff::detail

namespace handoff {

using namespace detail;

task_group::task_group() : s_(std::make_shared<group_state>()) {
    M* m = current_m();
    const cancel_scope* outer = m ? m->curg.load(std::memory_order_relaxed)->scope : nullptr;
    if (!outer || !outer->group) return;
    s_->on_outer.emplace(outer->group->stop.get_token(), group_state::canceller{s_.get()});
    // Who cancels sets the scopes' flags first and requests the stop later; this goroutine may have seen its flag already.
    if (outer->cancelled.load(std::memory_order_relaxed)) s_->cancel(cancel_reason::outside);
}

task_group::task_group(std::stop_token stop) : task_group() {
    s_->on_token.emplace(std::move(stop), group_state::canceller{s_.get()});
}

task_group::task_group(std::int64_t deadline) : task_group() {
    s_->on_deadline.emplace(std::chrono::nanoseconds(deadline - os::nanotime()),
                            [s = s_] { s->cancel(cancel_reason::deadline); });
}

task_group::~task_group() {
    if (!s_->running.try_wait()) cancel();
    wait_for_all(*s_);
    s_->on_deadline.reset();
    s_->on_token.reset();
    s_->on_outer.reset();
    if (std::exception_ptr e = take_first(*s_); e && std::uncaught_exceptions() == 0) report_unseen(*s_, std::move(e));
}

void task_group::wait() {
    wait_for_all(*s_);
    if (std::exception_ptr e = take_first(*s_)) std::rethrow_exception(std::move(e));
    switch (s_->reason.load(std::memory_order_relaxed)) {
        case cancel_reason::deadline: throw deadline_exceeded();
        case cancel_reason::outside: throw handoff::cancelled();
        default: break;
    }
}

void task_group::cancel() noexcept {
    interleave_point();
    s_->cancel(cancel_reason::cancel);
}

bool task_group::cancelled() const noexcept { return s_->reason.load(std::memory_order_relaxed) != cancel_reason::none; }

std::stop_token task_group::stop_token() const noexcept { return s_->stop.get_token(); }

namespace {

cancel_scope* scope_of_this() noexcept {
    M* m = current_m();
    return m ? m->curg.load(std::memory_order_relaxed)->scope : nullptr;
}

}  // namespace

namespace this_goroutine {

bool cancelled() noexcept {
    const cancel_scope* s = scope_of_this();
    return s && s->cancelled.load(std::memory_order_relaxed);
}

void check_cancelled() { detail::check_cancelled({}); }

std::stop_token stop_token() {
    const cancel_scope* s = scope_of_this();
    return s && s->group ? s->group->stop.get_token() : std::stop_token();
}

}  // namespace this_goroutine

cancellation_blocker::cancellation_blocker() noexcept {
    if (cancel_scope* s = scope_of_this()) ++s->blocked;
}

cancellation_blocker::~cancellation_blocker() {
    if (cancel_scope* s = scope_of_this()) --s->blocked;
}

}  // namespace handoff
