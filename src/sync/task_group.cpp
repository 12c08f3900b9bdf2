// Task groups.
//
// Lifetime. A group's state is counted (`refs`). References are held by the task_group; each of its goroutines, until it has
// counted itself out (group_member); the deadline's function; its inner groups; and whoever cancels it, on his list. A new one
// is made from one that is held, or of an inner group under the outer one's lock: a task_group's end takes its state out of
// `inner` under that lock, and only then drops its reference. So adding is relaxed: there is another reference meanwhile.
// Dropping is the last that its holder does with the state: release, so that all before it, such as an unlock, comes before
// the end; acquire, with the others' release, for the one who ends it. The token's callback holds none: a task_group's end
// waits for it, or is called by it, and then it touches nothing afterwards but what the list keeps. The deadline's timer and
// the state refer to each other until the task_group's end drops the timer (end_deadline).
//
// The count is an atomic of ours, and no std::shared_ptr's, which the explorer of schedules does not see (tests/model): to
// it a drop would not order what comes before.
//
// Cancelling. A group knows those that its goroutines have made (`inner`). begin_cancel() sets the reason, once; who did that
// visits the group: under its lock it sets the scopes' flags, wins their waits, and begins with each inner group, which it puts
// on its list. Then it requests the stop of the group's source, which calls the program's callbacks, and goes on with the next
// on the list. So nothing here recurs, however deep groups nest. A group is on one list at most, that of who began with it,
// and stays alive there.
//
// Groups that hear of each other by their tokens (task_group(other.stop_token())) would recur through the callbacks: the stop of
// one requests that of the next. So a group that is told so while the same thread is at work on a list is put on that list,
// with its flags set and its waits won; only its source is asked later, before the outermost cancel() returns.
//
// Scopes that come into the list after begin_cancel() find the reason; those that were there are found by the visit. An inner
// group that comes after its outer one's visit finds the owner's flag, or the outer one's reason, under the outer one's lock.
//
// Who requests a stop is pinned (sched/pinned.hpp), and nothing else here enters a runtime section.
//
// A wait() says that the group was cancelled from outside only if that has changed anything (`cut_short`): there were scopes
// when it began, or a goroutine came after it and was not run.
#include <handoff/task_group.hpp>

#include "goroutine/goroutine_local.hpp"
#include "goroutine/unhandled.hpp"
#include "sched/pinned.hpp"
#include "sched/simulation_hooks.hpp"
#include "wait/cancel.hpp"

#include <handoff/detail/fast_path.hpp>
#include <handoff/error.hpp>
#include <handoff/mutex.hpp>
#include <handoff/timer.hpp>
#include <handoff/wait_group.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace handoff::detail {

enum class cancel_reason : std::uint8_t { none, exception, cancel, deadline, outside };

using group_hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

struct group_state;

// Groups whose cancellation has begun and whose stop is yet to be requested.
class cancel_list {
public:
    void push(group_ref g) noexcept;
    group_ref pop() noexcept;   // null: empty

private:
    group_ref first_;
    group_state* last_ = nullptr;
};

struct group_state {
    using scope_list = boost::intrusive::list<cancel_scope, boost::intrusive::member_hook<cancel_scope, scope_hook, &cancel_scope::link>,
                                              boost::intrusive::constant_time_size<false>>;

    bool begin_cancel(cancel_reason why) noexcept;   // false: it had begun
    void visit(cancel_list& found) noexcept;
    void cancel(cancel_reason why) noexcept;
    void cancel_by_token() noexcept;
    void fail(std::exception_ptr e) noexcept;
    static void start_deadline(const group_ref& s, sched* of, std::int64_t deadline, std::function<std::int64_t()> later);
    void deadline_comes(const std::function<std::int64_t()>& later);
    void end_deadline() noexcept;

    base::atomic<std::uint32_t> refs{0};                          // see above
    spin_lock lock;                                               // order: a group's, one inside of it, a scope's
    scope_list scopes;                                            // under the lock
    base::atomic<cancel_reason> reason{cancel_reason::none};      // set under the lock; relaxed reads want no more than it
    bool cut_short = false;                                       // under the lock
    base::atomic<bool> over{false};   // wait() has told how it failed, or was cancelled; relaxed: who may ask comes after
    std::exception_ptr first;                                     // under the lock: of the goroutine that failed first
    goroutine_name failed;                                        // and who that was
    std::stop_source stop;
    wait_group running;
    std::shared_ptr<sched_link> home;                             // its runtime's; constant

    group_hook sibling;                                           // in the outer one's `inner`, under that one's lock
    using group_list = boost::intrusive::list<group_state, boost::intrusive::member_hook<group_state, group_hook, &group_state::sibling>,
                                              boost::intrusive::constant_time_size<false>>;
    group_list inner;                                             // under the lock
    group_ref next_to_cancel;                                     // in a cancel_list: of who began to cancel it

    struct canceller {
        group_state* g;
        void operator()() const noexcept { g->cancel_by_token(); }
    };
    // The owner's.
    group_ref outer;
    std::optional<std::stop_callback<canceller>> on_token;
    std::optional<timer_handle> on_deadline;     // and the timer's function's, under deadline_lock, by another clock
    std::unique_ptr<mutex> deadline_lock;        // null: the steady clock, and the function does not start it again
};

void group_ref::add(group_state& g) noexcept { g.refs.fetch_add(1, std::memory_order_relaxed); }

void group_ref::drop(group_state& g) noexcept {
    // acq_rel: all uses come before the end.
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

// The list that the calling thread is at work on. Its goroutine is pinned meanwhile, so the place stays the thread's.
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

// cancel_by_token is called where a stop is requested, of a source of whomever.
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

// deadline_lock_of locks what the deadline's function may be at work with.
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
    if (on_deadline) on_deadline->start(next, 0);   // else the group is gone
}

void group_state::end_deadline() noexcept {
    const auto hold = deadline_lock_of(*this);
    on_deadline.reset();
}

group_member::group_member(const group_ref& g, sched*& where) : g_(g) {
    if (g_->over.load(std::memory_order_relaxed)) [[unlikely]]
        throw usage_error(g_->reason.load(std::memory_order_relaxed) == cancel_reason::exception
                              ? "handoff: go() of a task_group that has failed, whose wait() has told so: it runs nothing any more"
                              : "handoff: go() of a task_group after cancel() and wait(): it runs nothing any more");
    const M* m = current_m();
    if (!m || m->s->link != g_->home) {
        {
            base::lock_guard hold(g_->home->lock);
            where = g_->home->s;
        }
        // No harm that it is used without the lock: as with rt.go(), who lets a runtime go must have stopped to use it.
        if (!where) throw usage_error("handoff: the runtime of a task_group has ended");
    }
    g_->running.add();
}

group_member::~group_member() {
    if (g_) g_->running.done();
}

void run_child(group_state& g, void (*f)(void*), void* arg) noexcept {
    cancel_scope scope(&g);
    G* self = current_m()->curg.load(std::memory_order_relaxed);
    {
        spin_guard hold(g.lock);
        if (g.reason.load(std::memory_order_relaxed) != cancel_reason::none) {
            scope.cancelled.store(true, std::memory_order_relaxed);
            g.cut_short = true;
        }
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
            g.fail(caught_exception());
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
        // Who cancels the outer one now or later finds us there; who has visited it has set the flags.
        late = outer->cancelled.load(std::memory_order_relaxed);
    }
    if (late) s_->cancel(cancel_reason::outside);
}

task_group::task_group(sched* of, std::stop_token stop) : task_group(of) {
    s_->on_token.emplace(std::move(stop), group_state::canceller{s_.get()});
}

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
