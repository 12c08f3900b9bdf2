// Task groups.
//
// Lifetime. The state of a group has a reference count (`refs`). References are held by the task_group; by each of its
// goroutines, through a group_member, until it no longer counts as running; by the function of the deadline; by its inner
// groups; and by a canceller, through its list. A new reference is made from one that is held, or, to an inner group, under
// the outer group's lock: the destructor of task_group removes the state from `inner` under that lock, and only then drops
// its reference. So incrementing is relaxed: another reference exists meanwhile. Dropping is the last thing that a holder
// does with the state. It is a release, so that everything before it, such as an unlock, happens before the deletion; and an
// acquire, which pairs with the releases of the others, for the holder that deletes the state. The token's callback holds no
// reference: the destructor of task_group waits for it, or is called by it, and then the callback afterwards touches only
// what the list keeps alive. The deadline's timer and the state refer to each other until the destructor of task_group drops
// the timer (end_deadline).
//
// The count is an atomic of ours and not that of a std::shared_ptr, which the explorer of schedules (tests/model) does not
// see: for the explorer, dropping a shared_ptr would not order what comes before it.
//
// Cancelling. A group knows the groups that its goroutines have made (`inner`). begin_cancel() sets the reason, once. The
// caller that has set it visits the group: under its lock it sets the flags of the scopes, wins their waits, and begins to
// cancel each inner group, which it puts on its list. Then it requests the stop of the group's source, which calls the
// program's callbacks, and continues with the next group on the list. So there is no recursion here, however deep groups
// nest. A group is on at most one list, that of the canceller that began with it, and the list keeps it alive.
//
// Groups that are cancelled through each other's tokens (task_group(other.stop_token())) would recurse through the
// callbacks, since the stop of one requests the stop of the next. So if a group's callback is called while the same thread
// is working on a list, its flags are set and its waits won at once, and the group is put on that list: its source is
// stopped later, before the outermost cancel() returns.
//
// Scopes that are registered after begin_cancel() find the reason; those that were there before are found by the visit. An
// inner group that is made after the visit of its outer group finds the flag of its maker's scope, which the visit
// has set under the outer group's lock.
//
// A goroutine that requests a stop is pinned (sched/pinned.hpp). Nothing else in a cancellation enters a runtime section.
//
// wait() reports that the group was cancelled from outside, or by its deadline, only if that changed anything (`cut_short`):
// there were scopes when the cancellation began, or a goroutine was added afterwards and was not run.
#include <handoff/task_group.hpp>

#include "goroutine/goroutine_local.hpp"
#include "goroutine/unhandled.hpp"
#include "sched/pinned.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/cancel.hpp"

#include <handoff/detail/fast_path.hpp>
#include <handoff/error.hpp>
#include <handoff/mutex.hpp>
#include <handoff/semaphore.hpp>
#include <handoff/timer.hpp>
#include <handoff/wait_group.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace handoff::detail {

enum class cancel_reason : std::uint8_t { none, exception, cancel, deadline, outside };

using group_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct group_state;

// Groups whose cancellation has begun, and whose stop has not been requested yet.
class cancel_list {
public:
    void push(group_ref g) noexcept;
    group_ref pop() noexcept;   // null: the list is empty

private:
    group_ref first_;
    group_state* last_ = nullptr;
};

struct group_state {
    using scope_list = boost::intrusive::list<cancel_scope, boost::intrusive::member_hook<cancel_scope, scope_hook, &cancel_scope::link>,
                                              boost::intrusive::constant_time_size<false>>;

    bool begin_cancel(cancel_reason why) noexcept;   // false: it had begun already
    void visit(cancel_list& found) noexcept;
    void cancel(cancel_reason why) noexcept;
    void cancel_by_token() noexcept;
    void fail(std::exception_ptr e) noexcept;
    bool take_slot(bool may_wait);
    static void start_deadline(const group_ref& s, sched* of, std::int64_t deadline, std::function<std::int64_t()> later);
    void deadline_comes(const std::function<std::int64_t()>& later);
    void end_deadline() noexcept;

    base::atomic<std::uint32_t> refs{0};                          // see the head of this file
    spin_lock lock;                                               // lock order: a group, its inner group, a scope
    scope_list scopes;                                            // under the lock
    base::atomic<cancel_reason> reason{cancel_reason::none};      // set under the lock; a relaxed read needs only the value
    bool cut_short = false;                                       // under the lock
    base::atomic<bool> over{false};   // wait() has reported failure or cancel(); relaxed: legal calls of go() come after that
    std::exception_ptr first;                                     // under the lock: of the first goroutine that failed
    goroutine_name failed;                                        // likewise: the name of that goroutine
    std::stop_source stop;
    wait_group running;
    std::optional<counting_semaphore<>> slots;                    // of limit(); changed while no goroutine runs
    std::shared_ptr<sched_link> home;                             // of the group's runtime; constant

    group_hook sibling;                                           // in the outer group's `inner`; under the outer group's lock
    using group_list = boost::intrusive::list<group_state, boost::intrusive::member_hook<group_state, group_hook, &group_state::sibling>,
                                              boost::intrusive::constant_time_size<false>>;
    group_list inner;                                             // under the lock
    group_ref next_to_cancel;                                     // in a cancel_list: of the canceller that began with it

    struct canceller {
        group_state* g;
        void operator()() const noexcept { g->cancel_by_token(); }
    };
    // Used by the owner of the task_group.
    group_ref outer;
    std::optional<std::stop_callback<canceller>> on_token;
    std::optional<timer_handle> on_deadline;     // by another clock: also by the timer's function, under deadline_lock
    std::unique_ptr<mutex> deadline_lock;        // null: by the steady clock, so the function does not restart the timer
};

void group_ref::add(group_state& g) noexcept { g.refs.fetch_add(1, std::memory_order_relaxed); }

void group_ref::drop(group_state& g) noexcept {
    // acq_rel: all uses happen before the deletion.
    if (g.refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete &g;
}

void cancel_list::push(group_ref g) noexcept {
    group_state* last = g.get();
    (first_ ? last_->next_to_cancel : first_) = std::move(g);
    last_ = last;
}

group_ref cancel_list::pop() noexcept {
    group_ref g = std::move(first_);
    if (g) first_ = std::move(g->next_to_cancel);
    return g;
}

namespace {

constinit thread_local cancel_list* tls_at_work __attribute__((tls_model("initial-exec"))) = nullptr;

// The list that the calling thread is working on. Its goroutine is pinned meanwhile, so it stays on this thread.
HANDOFF_OPAQUE cancel_list*& list_at_work() noexcept {
    __asm__ volatile("");
    return tls_at_work;
}

}  // namespace

bool group_state::begin_cancel(cancel_reason why) noexcept {
    spin_guard hold(lock);
    if (reason.load(std::memory_order_relaxed) != cancel_reason::none) return false;
    reason.store(why, std::memory_order_relaxed);
    cut_short = !scopes.empty();
    return true;
}

void group_state::visit(cancel_list& found) noexcept {
    wake_list won;
    {
        spin_guard hold(lock);
        for (cancel_scope& s : scopes) {
            spin_guard inside(s.lock);
            s.cancelled.store(true, std::memory_order_relaxed);
            if (s.current) won.claim(*s.current, wait_end::cancelled);
        }
        for (group_state& g : inner)
            if (g.begin_cancel(cancel_reason::outside)) found.push(group_ref(g));
    }
    won.wake(nullptr);
}

void group_state::cancel(cancel_reason why) noexcept {
    if (!begin_cancel(why)) return;
    cancel_list list;
    list.push(group_ref(*this));
    const pinned_goroutine while_callbacks_run;
    cancel_list* const before = std::exchange(list_at_work(), &list);
    while (const group_ref g = list.pop()) {
        g->visit(list);
        g->stop.request_stop();
    }
    list_at_work() = before;
}

// cancel_by_token is called on the thread that requests the stop of the token's source, which may be any source.
void group_state::cancel_by_token() noexcept {
    cancel_list* const list = list_at_work();
    if (!list) return cancel(cancel_reason::outside);
    if (!begin_cancel(cancel_reason::outside)) return;
    visit(*list);
    list->push(group_ref(*this));
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

// deadline_lock_of locks what the deadline's function may be using, if there is such a lock.
static std::unique_lock<mutex> deadline_lock_of(const group_state& g) {
    return g.deadline_lock ? std::unique_lock(*g.deadline_lock) : std::unique_lock<mutex>();
}

void group_state::start_deadline(const group_ref& s, sched* of, std::int64_t deadline, std::function<std::int64_t()> later) {
    if (later) s->deadline_lock = std::make_unique<mutex>();
    const auto hold = deadline_lock_of(*s);
    s->on_deadline.emplace(channel<std::chrono::steady_clock::time_point>(),
                           [s, later = std::move(later)] { s->deadline_comes(later); }, deadline, 0, of);
}

void group_state::deadline_comes(const std::function<std::int64_t()>& later) {
    const std::int64_t next = later ? later() : at_once;
    if (next == at_once) {
        cancel(cancel_reason::deadline);
        return;
    }
    const auto hold = deadline_lock_of(*this);
    if (on_deadline) on_deadline->start(next, 0);   // otherwise the task_group has ended
}

void group_state::end_deadline() noexcept {
    const auto hold = deadline_lock_of(*this);
    on_deadline.reset();
}

// take_slot: false if the limit is reached, and the caller may not wait.
bool group_state::take_slot(bool may_wait) {
    if (!slots || slots->try_acquire()) return true;
    if (!may_wait) return false;
    try {
        slots->acquire(stop.get_token());
    } catch (const cancelled&) {
        // If the group is cancelled, but not the caller, the goroutine starts, and ends at once. Slots do not count any more.
        if (reason.load(std::memory_order_relaxed) == cancel_reason::none || this_goroutine::cancelled()) throw;
    }
    return true;
}

group_member::group_member(const group_ref& g, sched*& where, bool may_wait) {
    if (g->over.load(std::memory_order_relaxed)) [[unlikely]]
        throw usage_error(g->reason.load(std::memory_order_relaxed) == cancel_reason::exception
                              ? "handoff: go() of a task_group that has failed, whose wait() has told so: it runs nothing any more"
                              : "handoff: go() of a task_group after cancel() and wait(): it runs nothing any more");
    const M* m = current_m();
    if (!m || m->s->link != g->home) {
        {
            base::lock_guard hold(g->home->lock);
            where = g->home->s;
        }
        // It is used without the lock. That is safe: as for rt.go(), a program that destroys a runtime must no longer use
        // it.
        if (!where) throw usage_error("handoff: the runtime of a task_group has ended");
    }
    if (!g->take_slot(may_wait)) return;
    g_ = g;
    g_->running.add();
}

group_member::~group_member() {
    if (!g_) return;
    if (g_->slots) g_->slots->release();
    g_->running.done();
}

const countdown& running_of(const group_state& g) noexcept { return case_access::of(g.running); }

namespace {

cancel_scope& scope_in(std::byte* bytes) noexcept { return *std::launder(reinterpret_cast<cancel_scope*>(bytes)); }

// The handle of the current goroutine, which is ending, gets the exception, too; if it has been dropped nobody asks for it. So
// once the group learns of the end the goroutine refers to no exception that others refer to. (Their count is libstdc++'s:
// ThreadSanitizer does not see that it orders the last use before the end of the exception.)
G* with_handle() noexcept {
    G* g = current_m()->curg.load(std::memory_order_relaxed);
    return g->join_word.is_detached() ? nullptr : g;
}

}  // namespace

child_frame::child_frame(group_state& g) {
    static_assert(sizeof(cancel_scope) <= sizeof scope_ && alignof(cancel_scope) <= alignof(void*));
    auto* const scope = ::new (static_cast<void*>(scope_)) cancel_scope(&g);
    {
        spin_guard hold(g.lock);
        in_group_ = g.reason.load(std::memory_order_relaxed) == cancel_reason::none;
        if (in_group_) g.scopes.push_back(*scope);
        else g.cut_short = true;
    }
    if (!in_group_) {   // the link itself is the lock's: the scopes beside it write it
        std::destroy_at(scope);
        if (G* self = with_handle()) self->exception = std::make_exception_ptr(cancelled());
        throw told_exception();
    }
    G* self = current_m()->curg.load(std::memory_order_relaxed);
    scope->outer = std::exchange(self->scope, scope);
    scope->simulated = scope->outer != nullptr;   // outside of simulations a goroutine has no scope when it begins
}

void child_frame::fail() noexcept {
    cancel_scope& scope = scope_in(scope_);
    std::exception_ptr e;
    try {
        throw;
    } catch (const cancelled&) {
        e = std::current_exception();
        // If its own group is cancelled, this is how it should end.
        if (!scope.cancelled.load(std::memory_order_relaxed)) scope.group->fail(e);
    } catch (...) {
        e = caught_exception();
        scope.group->fail(e);
    }
    if (G* g = with_handle()) g->exception = std::move(e);
    leave();
}

void child_frame::leave() noexcept {
    cancel_scope& scope = scope_in(scope_);
    G* self = current_m()->curg.load(std::memory_order_relaxed);
    self->scope = scope.outer;
    destroy_locals(self->locals);   // before the group learns that the goroutine has ended
    spin_guard hold(scope.group->lock);
    scope.group->scopes.erase(scope.group->scopes.iterator_to(scope));
    in_group_ = false;
}

child_frame::~child_frame() {
    cancel_scope& scope = scope_in(scope_);
    if (in_group_) leave();
    std::destroy_at(&scope);
}

namespace {

// wait_for_all always waits to the end: if we are cancelled, so are the goroutines for which it waits.
void wait_for_all(group_state& g) noexcept {
    const cancellation_blocker not_now;
    g.running.wait();
}

std::exception_ptr take_first(group_state& g) noexcept {
    spin_guard hold(g.lock);
    return std::exchange(g.first, nullptr);
}

// report_unseen reports it as for a goroutine without a handle.
void report_unseen(group_state& g, std::exception_ptr e) noexcept {
    report_exception(g.failed, std::move(e), g.home->on_unhandled_exception);
}

}  // namespace

}  // namespace handoff::detail

namespace handoff {

using namespace detail;

task_group::task_group(sched* of) : s_(*new group_state) {
    s_->home = (of ? of : sched_of_maker("a task_group"))->link;
    M* m = current_m();
    const cancel_scope* outer = m ? m->curg.load(std::memory_order_relaxed)->scope : nullptr;
    if (!outer || !outer->group) return;
    s_->outer = group_ref(*outer->group);
    bool late;
    {
        spin_guard hold(s_->outer->lock);
        s_->outer->inner.push_back(*s_);
        // If the outer group is cancelled from now on, the canceller finds this group in `inner`. If it has been visited
        // already, the flag of our scope is set.
        late = outer->cancelled.load(std::memory_order_relaxed);
    }
    if (late) s_->cancel(cancel_reason::outside);
}

void task_group::cancel_with(std::stop_token stop) { s_->on_token.emplace(std::move(stop), group_state::canceller{s_.get()}); }

task_group::task_group(sched* of, std::int64_t deadline, look_again later) : task_group(of) {
    group_state::start_deadline(s_, of, deadline, std::move(later));
}

task_group::~task_group() {
    if (!s_->running.try_wait()) cancel();
    wait_for_all(*s_);
    s_->end_deadline();
    s_->on_token.reset();
    if (s_->outer) {
        spin_guard hold(s_->outer->lock);
        s_->outer->inner.erase(s_->outer->inner.iterator_to(*s_));
    }
    s_->outer = {};
    if (std::exception_ptr e = take_first(*s_); e && std::uncaught_exceptions() == 0) report_unseen(*s_, std::move(e));
}

void task_group::limit(std::size_t n) {
    if (n == 0 || n > static_cast<std::size_t>(counting_semaphore<>::max()))
        throw usage_error("handoff: the limit of a task_group is " + std::to_string(n));
    if (!s_->running.try_wait()) throw usage_error("handoff: the limit of a task_group is set while its goroutines run");
    s_->slots.emplace(static_cast<std::ptrdiff_t>(n));
}

bool task_group::all_end(std::int64_t deadline) const {
    const cancellation_blocker not_now;   // as in wait()
    return running_of(*s_).done() || running_of(*s_).wait(countdown_kind::wait_group, deadline, nullptr);
}

void task_group::wait() {
    wait_for_all(*s_);
    if (s_->reason.load(std::memory_order_relaxed) != cancel_reason::none) await_turn_to_throw();
    std::exception_ptr e;
    cancel_reason why;
    {
        spin_guard hold(s_->lock);
        e = std::exchange(s_->first, nullptr);
        why = s_->reason.load(std::memory_order_relaxed);
        if (!s_->cut_short && !e && (why == cancel_reason::deadline || why == cancel_reason::outside)) return;
    }
    if (why == cancel_reason::exception || why == cancel_reason::cancel) s_->over.store(true, std::memory_order_relaxed);
    if (e) std::rethrow_exception(std::move(e));
    if (why == cancel_reason::deadline) throw deadline_exceeded();
    if (why == cancel_reason::outside) throw handoff::cancelled();
}

void task_group::cancel() noexcept {
    interleave_point();
    s_->cancel(cancel_reason::cancel);
}

bool task_group::cancelled() const noexcept {
    interleave_point();
    return s_->reason.load(std::memory_order_relaxed) != cancel_reason::none;
}

std::stop_token task_group::stop_token() const noexcept { return s_->stop.get_token(); }

namespace {

cancel_scope* scope_of_this() noexcept {
    M* m = current_m();
    return m ? m->curg.load(std::memory_order_relaxed)->scope : nullptr;
}

}  // namespace

namespace this_goroutine {

bool cancelled() noexcept {
    interleave_point();
    const cancel_scope* s = scope_of_this();
    return s && s->cancelled.load(std::memory_order_relaxed);
}

void check_cancelled() {
    interleave_point();
    detail::check_cancelled({});
}

std::stop_token stop_token() {
    const cancel_scope* s = scope_of_this();
    return s && s->group ? s->group->stop.get_token() : std::stop_token();
}

}  // namespace this_goroutine

bool request_stop(std::stop_source& source) noexcept {
    const pinned_goroutine while_callbacks_run;
    return source.request_stop();
}

detail::callback_pin::callback_pin() noexcept { ::new (static_cast<void*>(bytes_)) pinned_goroutine; }

detail::callback_pin::~callback_pin() { std::launder(reinterpret_cast<pinned_goroutine*>(bytes_))->~pinned_goroutine(); }

cancellation_blocker::cancellation_blocker() noexcept {
    if (cancel_scope* s = scope_of_this()) ++s->blocked;
}

cancellation_blocker::~cancellation_blocker() {
    if (cancel_scope* s = scope_of_this()) --s->blocked;
}

}  // namespace handoff
