// How the goroutines of a failed run are ended; see the head of simulator.hpp.
#include "base/check.hpp"
#include "debug/snapshot.hpp"
#include "sim/simulator.hpp"
#include "wait/wait.hpp"

#include <algorithm>
#include <cstdio>

namespace handoff::detail {

namespace {

// Each time that so many steps have been taken, a victim that still waits, say for a lock while others go round in circles,
// gets an exception out of that wait. It is also the mean number of steps after which a goroutine is preempted in favour of
// others.
constexpr std::uint64_t circle = 1000;

// The exception that unwinds the goroutines of a failed run.
class ended_by_simulation final : public cancelled {
public:
    explicit ended_by_simulation(const std::string& report) : cancelled(report.c_str()) {}
};

bool lives(const G* g) noexcept {
    const g_state s = g->state.seen();
    return s != g_state::idle && s != g_state::dead;
}

goroutine_id number_of(const G* g) noexcept { return g->id.load(std::memory_order_relaxed); }

}  // namespace

void simulator::throw_if_failed() const {
    if (ending_) throw ended_by_simulation(report_);
}

void simulator::throw_if_victim(const G* g) const {
    if (ending_ && number_of(g) == victim_id_ && std::uncaught_exceptions() == 0) throw_if_failed();
}

std::string simulator::report(const char* what) {
    char head[240];
    std::snprintf(head, sizeof head, "handoff: simulation (seed %llu): %s, after %llu steps and %.6f s of virtual time\n",
                  static_cast<unsigned long long>(seed_), what, static_cast<unsigned long long>(steps_),
                  static_cast<double>(now_ - time_of_begin) / 1e9);
    return head + describe_goroutines(*sched_);
}

void simulator::fail_by_deadlock() noexcept {
    report_ = report("all goroutines wait for each other");
    failure->note(std::make_exception_ptr(deadlock(report_, seed_)));
    begin_ending();
}

void simulator::fail_by_step_limit() noexcept {
    report_ = report("the step limit is exceeded");
    failure->note(std::make_exception_ptr(step_limit_exceeded(report_, seed_)));
    begin_ending();
}

void simulator::begin_ending() noexcept {
    ending_ = true;
    how_ = {.by_priority = true, .preempts_one_in = circle};
    priorities_.clear();   // from now on the youngest has the highest
    for (candidate& c : ready_) c.priority = priority_of(c.g);
    std::make_heap(ready_.begin(), ready_.end(), lower_priority);
    find_living();
    next_victim();
}

// prefer lets g, which is the victim from now on, run before all others.
void simulator::prefer(G* g) noexcept {
    priority_of(g) = UINT64_MAX;
    const auto stands = std::find_if(ready_.begin(), ready_.end(), [g](const candidate& c) { return c.g == g; });
    if (stands == ready_.end()) return;
    stands->priority = UINT64_MAX;
    std::make_heap(ready_.begin(), ready_.end(), lower_priority);
}

void simulator::await_turn() {
    M* m = current_m();
    const G* g = m->curg.load(std::memory_order_relaxed);
    if (!ending_ || number_of(g) >= victim_id_) return;
    m = enter(m);
    if (number_of(g) < victim_id_) park_in(m, wait_reason::turn, awaiting_);
    else leave(m);
}

// let_one_unwind lets the youngest goroutine in awaiting_ unwind before its turn: that may bring about what the victim waits
// for. False if there is none.
bool simulator::let_one_unwind() noexcept {
    if (awaiting_.empty()) return false;
    const auto youngest = std::max_element(awaiting_.begin(), awaiting_.end(),
                                           [](const G* a, const G* b) { return number_of(a) < number_of(b); });
    let_go_on(awaiting_, static_cast<std::size_t>(youngest - awaiting_.begin()));
    return true;
}

void simulator::find_living() noexcept {
    living_.clear();
    sched_->store->for_each([this](G& g) {
        if (lives(&g)) living_.push_back({number_of(&g), &g});
    });
    // Sorted by id, since the order of their addresses means nothing.
    std::sort(living_.begin(), living_.end(), [](const living& a, const living& b) { return a.id < b.id; });
}

// next_victim makes the youngest goroutine the victim, and ends the wait that it is in, unless that is one for a lock.
void simulator::next_victim() noexcept {
    const auto ended = [](const living& l) { return !lives(l.g) || number_of(l.g) != l.id; };
    while (!living_.empty() && ended(living_.back())) living_.pop_back();
    if (living_.empty()) find_living();   // goroutines that were started since
    const goroutine_id before = std::exchange(victim_id_, living_.empty() ? 0 : living_.back().id);
    if (living_.empty()) return;
    G* g = living_.back().g;
    if (victim_id_ != before) prefer(g);
    std::vector<G*>* parked = list_of(g);
    if (parked) let_go_on(*parked, static_cast<std::size_t>(std::ranges::find(*parked, g) - parked->begin()));
    else end_wait(g, false);
}

// list_of returns the list in which g is parked; null if it is in none.
std::vector<G*>* simulator::list_of(const G* g) noexcept {
    if (g->state.seen() != g_state::waiting) return nullptr;
    const wait_reason why = g->reason.load(std::memory_order_relaxed);
    return why == wait_reason::settle ? &settling_ : why == wait_reason::turn ? &awaiting_ : nullptr;
}

void simulator::step_of_ending() noexcept {
    if (++ending_steps_ > options_.max_steps) give_up();
    if (ending_steps_ % circle == 0 && !living_.empty()) end_wait(living_.back().g, true);
}

// end_wait ends the wait that g is in, if that is possible. It ends a wait that no group may cancel, such as one for a lock,
// only if of_locks_too.
bool simulator::end_wait(const G* g, bool of_locks_too) noexcept {
    cancel_scope* scope = g->scope;
    if (!scope || g->state.seen() != g_state::waiting) return false;
    wake_list won;
    {
        spin_guard hold(scope->lock);
        waiter* w = scope->current;
        if (!w && of_locks_too) w = scope->uncancellable;
        if (!w) return false;
        scope->current = scope->uncancellable = nullptr;
        won.claim(*w, wait_end::cancelled);
    }
    won.wake(m_);
    return true;
}

// end_next is called when no goroutine can run. It makes one runnable; false if it can't.
bool simulator::end_next() noexcept {
    next_victim();
    if (p_->runq.owner_sees_work()) return true;
    if (living_.empty()) return false;
    if (end_wait(living_.back().g, true) || advance_time() || let_one_unwind()) return true;
    if (!settling_.empty()) {
        let_go_on(settling_, settling_.size() - 1);
        return true;
    }
    find_living();
    return std::any_of(living_.rbegin(), living_.rend(), [this](const living& l) { return end_wait(l.g, true); });
}

void simulator::give_up() noexcept {
    std::fputs(report_.c_str(), stderr);
    const std::string left = report("these cannot be ended: in a destructor, under a cancellation_blocker, or deaf to exceptions");
    std::fputs(left.c_str(), stderr);
    base::fatal("simulation (seed %llu): not all of its goroutines can be ended", static_cast<unsigned long long>(seed_));
}

}  // namespace handoff::detail
