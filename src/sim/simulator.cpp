#include "sim/simulator.hpp"

#include "base/check.hpp"
#include "os/clock.hpp"
#include "os/random.hpp"
#include "sched/due.hpp"
#include "sched/fast_path.hpp"
#include "sim/split_mix.hpp"
#include "wait/wait.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace handoff::detail {

namespace {

// If the clock has moved so often in a row without making a goroutine runnable, only tickers are left whose channels nobody
// reads.
constexpr std::uint64_t most_idle_advances = 10'000;

bool trace_wanted() {
    const char* value = std::getenv("HANDOFF_SIM_TRACE");
    if (!value || !*value || std::strcmp(value, "0") == 0) return false;
    if (std::strcmp(value, "1") == 0) return true;
    throw std::invalid_argument(std::string("handoff: HANDOFF_SIM_TRACE=") + value + " is not 0 or 1");
}

simulation_options checked(const simulation_options& o) {
    if (o.max_steps == 0) throw std::invalid_argument("handoff: simulation_options.max_steps is 0");
    if (o.time_per_step < std::chrono::nanoseconds(0) || o.time_per_step > std::chrono::hours(24))
        throw std::invalid_argument("handoff: simulation_options.time_per_step is not between 0 and a day");
    return o;
}

}  // namespace

simulator::simulator(std::uint64_t seed, const simulation_options& o)
    : seed_(seed), options_(checked(o)), traced_(trace_wanted()), rng_(seed), hash_(seed), network_(seed, o.network) {
    network = &network_;
    const bool coin = random_below(2) != 0;
    drawn_.by_priority = options_.policy == simulation_policy::mixed ? coin : options_.policy == simulation_policy::priorities;
    drawn_.preempts_one_in = std::uint64_t{2} << random_below(5);
    how_ = drawn_;
}

std::uint64_t simulator::random() noexcept { return split_mix(rng_); }

std::uint64_t simulator::random_below(std::uint64_t n) noexcept {
    return (random() >> 32) * n >> 32;
}

void simulator::mix(std::uint64_t what) noexcept {
    std::uint64_t state = hash_ ^ what;
    hash_ = split_mix(state);
}

void simulator::begin() {
    failure = std::make_shared<simulation_failure>();
    ending_ = false;
    ending_steps_ = idle_advances_ = 0;
    victim_id_ = 0;
    how_ = drawn_;
    options o;
    o.procs = 1;
    o.stack_size = options_.stack_size;
    o.on_unhandled_exception = [f = failure](const goroutine_name&, std::exception_ptr e) { f->note(std::move(e)); };
    std::unique_ptr<sched, drain> made(new sched(std::move(o)));
    made->sim = this;
    set_procs(*made, 1);
    made->coarse_now.store(now_, std::memory_order_relaxed);
    m_ = made->pool.add_m(made.get());
    sched_ = std::move(made);
    m_->thread = ::pthread_self();
    m_->tid.store(os::this_tid(), std::memory_order_relaxed);
    m_->taken.simulate();
    held_p p;
    {
        deferred_wake nobody;
        base::lock_guard hold(sched_->idle.lock);
        p = take_idle_p(*sched_, nullptr, nobody);
    }
    p_ = &*p;
    put_on(m_, std::move(p));
    p_->until_global = 1;
    p_->next_id = 1;
    p_->end_id = UINT64_MAX;
    const M* outer = current_m();
    const simulation_hooks* around = outer ? outer->s->sim : nullptr;
    network_.begin(m_, around ? static_cast<const simulator*>(around)->network_.depth() + 1 : 0);
}

void simulator::end() noexcept {
    if (!sched_) return;
    HANDOFF_CHECK(due_.size() == 0);   // a run does not end in the middle of an instant
    network_.end();
    {
        deferred_wake nobody;
        base::lock_guard hold(sched_->idle.lock);
        put_idle_p(*sched_, take_off(m_), nobody);
    }
    sched_.reset();
    m_ = nullptr;
    p_ = nullptr;
    scopes_.clear();
    priorities_.clear();
    living_.clear();
}

void simulator::drain::operator()(sched* s) const noexcept {
    drain_and_stop(*s);
    delete s;
}

// run_all is the g0 of the only M. It runs on the stack of the caller of run().
void simulator::run_all() noexcept {
    const os::signal_stack on_overflow;
    M* outer_m = current_m();
    set_current_m(m_);
    const std::int64_t* outer_clock = os::set_virtual_clock(&now_);
    const std::uint64_t outer_random = os::exchange_random_state(random() | 1);
    m_->exceptions = context::thread_exception_state();
    context::adopt_thread(m_->g0);
    close_fast_paths();
    for (;;) {
        if (m_->due) run_due(m_);
        if (G* g = pick()) {
            execute(m_, g);
        } else if (m_->due) {
            continue;
        } else if (all_ended()) {
            break;
        } else if (ending_) {
            if (!end_next()) give_up();
        } else if (!advance_time()) {
            sched_->monitor.retry_starved();   // goroutines that wait for a stack
            if (!work_anywhere(*sched_)) fail_by_deadlock();
        } else if (steps_ > options_.max_steps) {
            fail_by_step_limit();
        }
    }
    open_fast_paths();
    os::exchange_random_state(outer_random);
    os::set_virtual_clock(outer_clock);
    set_current_m(outer_m);
}

void simulator::rethrow_failure() {
    if (failure->first) std::rethrow_exception(failure->first);
}

bool simulator::all_ended() const noexcept { return p_->spawned.get() == p_->finished.get(); }

// collect moves all runnable goroutines to our own list, and the timers that are due to due_.
void simulator::collect() noexcept {
    if (p_->timers.first() <= now_) p_->timers.move_due(now_, due_, random_key, this);
    while (G* g = p_->runq.take_next()) add_ready(g);
    while (G* g = p_->runq.pop()) add_ready(g);
    if (sched_->globq.empty()) return;
    base::lock_guard hold(sched_->idle.lock);
    G* some[run_queue::capacity];
    while (const std::uint32_t n = sched_->globq.take(some, run_queue::capacity)) std::for_each_n(some, n, [this](G* g) { add_ready(g); });
}

// random_key returns the key of a timer in due_: any of the timers comes first, each with the same probability.
std::int64_t simulator::random_key(void* self) noexcept {
    return std::min(static_cast<std::int64_t>(static_cast<simulator*>(self)->random() >> 1), os::never - 1);
}

// first_timers_priority is the priority of the first timer in due_, drawn from the same range as those of goroutines.
std::uint64_t simulator::first_timers_priority() const noexcept { return ~static_cast<std::uint64_t>(due_.first()); }

// timer_is_next decides whether a timer comes before the runnable goroutines; called only if others().
bool simulator::timer_is_next() noexcept {
    if (due_.size() == 0) return false;
    if (how_.by_priority) return ready_.empty() || first_timers_priority() > ready_.front().priority;
    return random_below(due_.size() + ready_.size()) < due_.size();
}

// fire_timer fires one timer that is due. If it is a timer object, it then waits in m_->due for run_due, which has to
// follow.
void simulator::fire_timer() noexcept {
    if (traced_) {
        base::warn("simulation (seed %llu): step %llu, %.6f s: a timer fires, of %u that are due; %zu others could go on",
                   static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(steps_),
                   static_cast<double>(now_ - time_of_begin) / 1e9, due_.size(), ready_.size());
    }
    mix(due_.size());
    G* woken;
    unsigned n;
    timer** end = &m_->due;
    while (*end) end = &(*end)->next_due;
    *end = due_.take_due(due_.first(), 1, &woken, n);
    if (n != 0) ready(m_, woken);
}

void simulator::note_time() noexcept { sched_->coarse_now.store(now_, std::memory_order_relaxed); }

// advance_time moves time on to the next timer. False if there is none, or if moving it on has made no goroutine runnable
// for too long. A timer for the end of all time, or later, is never due.
bool simulator::advance_time() noexcept {
    const std::int64_t first = p_->timers.first();
    if (first >= last_deadline || ++idle_advances_ > most_idle_advances) return false;
    mix(static_cast<std::uint64_t>(first - now_));
    now_ = first;
    note_time();
    ++steps_;
    if (ending_) step_of_ending();
    return true;
}

std::uint64_t& simulator::priority_of(const G* g) noexcept {
    const goroutine_id id = g->id.load(std::memory_order_relaxed);
    while (priorities_.size() <= id)
        priorities_.push_back(ending_ ? first_priority + priorities_.size() : random() | first_priority);
    return priorities_[id];
}

void simulator::add_ready(G* g) noexcept {
    ready_.push_back({how_.by_priority ? priority_of(g) : 0, g});
    if (how_.by_priority) std::push_heap(ready_.begin(), ready_.end(), lower_priority);
}

// take_ready chooses and removes one of ready_, which is not empty.
G* simulator::take_ready() noexcept {
    if (how_.by_priority) std::pop_heap(ready_.begin(), ready_.end(), lower_priority);
    else std::swap(ready_[random_below(ready_.size())], ready_.back());
    G* g = ready_.back().g;
    ready_.pop_back();
    return g;
}

// gives_way decides whether something else comes before the current goroutine g goes on; called only if others().
bool simulator::gives_way(const G* g, bool yields) noexcept {
    if (!how_.by_priority)
        return yields ? random_below(ready_.size() + due_.size() + 1) != 0 : random_below(how_.preempts_one_in) == 0;
    std::uint64_t& mine = priority_of(g);
    if (yields || random_below(how_.preempts_one_in) == 0) mine = --lowest_;
    return (!ready_.empty() && ready_.front().priority > mine) || (due_.size() != 0 && first_timers_priority() > mine);
}

// start gives a fresh g its scope.
void simulator::start(G* g) noexcept {
    if (!g->scope) {
        scopes_.emplace_back(nullptr).simulated = true;
        g->scope = &scopes_.back();
    }
    g->scope->cancelled.store(false, std::memory_order_relaxed);
    g->scope->blocked = 0;
}

G* simulator::pick() noexcept {
    p_->until_global = 1;
    if (ending_) next_victim();
    for (collect(); !m_->due; collect()) {
        if (!others() && !ending_ && !settling_.empty()) let_go_on(settling_, random_below(settling_.size()));
        else if (others() && timer_is_next()) fire_timer();
        else break;
    }
    if (ready_.empty() || m_->due) return nullptr;   // a timer object comes first, by run_due
    mix(ready_.size());
    G* g = take_ready();
    mix(g->id.load(std::memory_order_relaxed));
    if (traced_) trace(g);
    if (g->fresh()) start(g);
    idle_advances_ = 0;
    return g;
}

void simulator::trace(const G* g) noexcept {
    base::warn("simulation (seed %llu): step %llu, %.6f s: %s goes on; %zu others could",
               static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(steps_),
               static_cast<double>(now_ - time_of_begin) / 1e9, sched_->store->describe(g).describe().c_str(), ready_.size());
}

void simulator::step() noexcept {
    ++steps_;
    if (options_.time_per_step.count() != 0) {
        now_ += std::min<std::int64_t>(options_.time_per_step.count(), last_deadline - 1 - now_);
        note_time();
    }
    if (ending_) step_of_ending();
    else if (steps_ > options_.max_steps) fail_by_step_limit();
}

// may_switch takes a step, in which a timer may fire, or the current goroutine may give way to others.
void simulator::may_switch(M* m, bool yields) noexcept {
    step();
    collect();
    const bool gives = quiet == 0 && others() && gives_way(m->curg.load(std::memory_order_relaxed), yields);
    mix(gives);
    if (gives && timer_is_next()) fire_timer();
    else if (gives) give_way(m);
    if (m->due) run_due(m);
}

void simulator::point(M* m) noexcept {
    if (quiet == 0) may_switch(m, false);
}

void simulator::yield(M* m) {
    const G* g = m->curg.load(std::memory_order_relaxed);
    may_switch(m, true);
    leave(m);
    throw_if_victim(g);
}

void simulator::park_in(M* m, wait_reason why, std::vector<G*>& list) noexcept {
    const auto commit = [](M*, G* g, void* to) noexcept { static_cast<std::vector<G*>*>(to)->push_back(g); };
    leave(park(m, why, commit, &list));
}

void simulator::settle(M* m) {
    const G* g = m->curg.load(std::memory_order_relaxed);
    park_in(m, wait_reason::settle, settling_);
    throw_if_victim(g);
}

// let_go_on readies one of the goroutines that park_in has parked in a list.
void simulator::let_go_on(std::vector<G*>& parked, std::size_t i) noexcept {
    G* g = parked[i];
    parked.erase(parked.begin() + static_cast<std::ptrdiff_t>(i));
    ready(m_, g);
}

}  // namespace handoff::detail
