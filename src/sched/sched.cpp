#include "sched/sched.hpp"

#include "context/overflow.hpp"
#include "os/backoff.hpp"
#include "os/clock.hpp"
#include "os/cpus.hpp"
#include "os/membarrier.hpp"
#include "sched/handover.hpp"
#include "sched/hooks.hpp"
#include "sched/switch_hook.hpp"

#include <handoff/error.hpp>

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

namespace handoff::detail {

namespace {

base::atomic<bool> forked_child{false};   // relaxed: set before the child's only thread goes on

void watch_forks() noexcept {
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
        forked_child.store(true, std::memory_order_relaxed);
        set_current_m(nullptr);   // the brackets do nothing from here on
    });
    (void)registered;
}

unsigned parse_number(std::string_view name, std::string_view value, unsigned least, unsigned most) {
    unsigned n = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (error != std::errc() || end != value.data() + value.size() || n < least || n > most)
        throw std::invalid_argument("handoff: " + std::string(name) + "=" + std::string(value) + " is not a number from " +
                                    std::to_string(least) + " to " + std::to_string(most));
    return n;
}

unsigned default_procs() {
    if (const char* value = std::getenv("HANDOFF_PROCS"); value && *value)
        return parse_number("HANDOFF_PROCS", value, 1, max_procs);
    return std::min(os::available_cpus(), max_procs);
}

debug_options parse_debug() {
    debug_options d;
    const char* value = std::getenv("HANDOFF_DEBUG");
    if (!value) return d;
    std::string_view rest = value;
    while (!rest.empty()) {
        const std::size_t comma = rest.find(',');
        const std::string_view item = rest.substr(0, comma);
        rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
        if (item.empty()) continue;
        const std::size_t equals = item.find('=');
        const std::string_view key = item.substr(0, equals);
        const std::string_view number = equals == item.npos ? std::string_view("1") : item.substr(equals + 1);
        if (key == "schedtrace")
            d.schedtrace = std::chrono::milliseconds(parse_number("HANDOFF_DEBUG schedtrace", number, 0, 86'400'000));
        else if (key == "scheddetail") d.scheddetail = parse_number("HANDOFF_DEBUG scheddetail", number, 0, 1) != 0;
        else if (key == "unguarded") d.unguarded = parse_number("HANDOFF_DEBUG unguarded", number, 0, 1) != 0;
        else
            throw std::invalid_argument("handoff: HANDOFF_DEBUG knows schedtrace=MS, scheddetail=1 and unguarded=1, not '" +
                                        std::string(key) + "'");
    }
    return d;
}

void check_duration(const char* name, std::chrono::nanoseconds d, std::chrono::nanoseconds least) {
    if (d < least || d > std::chrono::hours(24 * 365))
        throw std::invalid_argument(std::string("handoff: options.") + name + "=" + std::to_string(d.count()) +
                                    " ns is out of range");
}

options checked(options o) {
    if (o.procs == 0) o.procs = default_procs();
    if (o.procs > max_procs)
        throw std::invalid_argument("handoff: options.procs=" + std::to_string(o.procs) + " is more than " +
                                    std::to_string(max_procs));
    if (o.stack_size < 16 * 1024 || o.stack_size > (std::size_t{1} << 40))
        throw std::invalid_argument("handoff: options.stack_size=" + std::to_string(o.stack_size) +
                                    " is not between 16 KiB and 1 TiB");
    if (o.max_threads < 2)
        throw std::invalid_argument("handoff: options.max_threads=" + std::to_string(o.max_threads) +
                                    " is less than 2 (the monitor and one that runs goroutines)");
    using namespace std::chrono_literals;
    check_duration("syscall_grace", o.syscall_grace, 1us);
    check_duration("syscall_retake_after", o.syscall_retake_after, o.syscall_grace);
    check_duration("unguarded_grace", o.unguarded_grace, 1us);
    check_duration("retake_running_after", o.retake_running_after, 1us);
    check_duration("idle_thread_timeout", o.idle_thread_timeout, 0ns);
    check_duration("spin_before_sleep", o.spin_before_sleep, 0ns);
    if (o.deadlock_after != 0ns) check_duration("deadlock_after", o.deadlock_after, 1ms);
    return o;
}

g_store* new_store(const options& o) {
    auto made = std::make_unique<g_store>();
    made->on_unhandled_exception = o.on_unhandled_exception;
    return made.release();
}

}  // namespace

constinit base::atomic<sched*> of_default_runtime{nullptr};

static constinit base::atomic<std::uint64_t> pollers_so_far{0};   // relaxed: only that they differ

bool in_forked_child() noexcept { return forked_child.load(std::memory_order_relaxed); }

sched::sched(options o)
    : opts(checked(std::move(o))), debug(parse_debug()), floats(context::float_mode::of_this_thread()),
      cores(os::affinity_cpus()), started(os::nanotime()), link(std::make_shared<sched_link>(this, opts.on_unhandled_exception)),
      poller(pollers_so_far.fetch_add(1, std::memory_order_relaxed) + 1),
      pool(opts.max_threads, count), limit(opts.retake_running_after, cores), monitor(*this), stacks(opts.stack_size),
      store(new_store(opts)) {   // from here on nothing throws: the store would leak
    const bool membarrier = os::membarrier_available();   // the same answer each time
    os::membarrier_in_use.store(membarrier, std::memory_order_relaxed);
    coarse_now.store(started, std::memory_order_relaxed);
    idle.spin_time.store(opts.spin_before_sleep.count() / 32, std::memory_order_relaxed);
    watch_forks();
    hooks.runtime_starts(membarrier);
    if (opts.fault_handlers) context::install_overflow_handler(hooks.describe_overflow);
}

sched::~sched() {
    if (poller.in_use()) hooks.poller_ended(poller.id);
    if (opts.fault_handlers) context::remove_overflow_handler();
    {
        base::lock_guard hold(link->lock);
        link->s = nullptr;
    }
    procs.for_each([](P& p) {
        // Only timer objects are left.
        G* none;
        unsigned no_goroutines;
        while (timer* t = p.timers.take_due(os::never - 1, 1, &none, no_goroutines)) t->run(t, nullptr);
    });
    idle.clear();
    if (store->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete store;
}

namespace {

void stop_threads(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void release_idle_ms(sched& s) noexcept HANDOFF_EXCLUDES(s.idle.lock);
void empty_p(sched& s, held_p p) noexcept HANDOFF_EXCLUDES(s.idle.lock);

}  // namespace

void start(sched& s) {
    set_procs(s, s.opts.procs);
    held_p none;
    if (!newm(s, none, false, m_role::monitor))
        throw std::system_error(s.count.thread_create_errno.load(std::memory_order_relaxed), std::generic_category(),
                                "handoff: the monitor thread could not be created");
    if (newm(s, none, false, m_role::worker)) return;
    const int e = s.count.thread_create_errno.load(std::memory_order_relaxed);
    stop_threads(s);
    throw std::system_error(e, std::generic_category(), "handoff: the first worker thread could not be created");
}

void check_drained(sched& s, deferred_wake& wake) noexcept {
    if (!s.life.waiting || !all_ended(s)) return;
    wake.set(std::exchange(s.life.waiting, nullptr)->ended);
}

bool all_ended(const sched& s) noexcept {
    if (!s.idle.all_ps() || s.life.launching != 0) return false;
    std::uint64_t born = s.life.spawned_outside, ended = s.life.finished_without;
    s.procs.for_each([&](const P& p) {
        born += p.spawned.get();
        ended += p.finished.get();
    });
    return born == ended;
}

void close(sched& s) noexcept {
    base::lock_guard hold(s.idle.lock);
    s.life.closed = true;
}

// gives_up: w, whose time is over, is no longer among those that wait. False: it was taken out, to be woken.
static bool gives_up(sched& s, const end_waiter& w) noexcept {
    base::lock_guard hold(s.idle.lock);
    for (end_waiter** at = &s.life.waiting; *at; at = &(*at)->next)
        if (*at == &w) {
            *at = w.next;
            return true;
        }
    return false;
}

bool await_end(sched& s, std::int64_t deadline) noexcept {
    end_waiter w;
    {
        base::lock_guard hold(s.idle.lock);
        if (all_ended(s)) return true;
        w.next = std::exchange(s.life.waiting, &w);
    }
    if (!w.ended.wait_until(deadline)) {
        if (gives_up(s, w)) return false;
        w.ended.wait();   // the wake-up is on its way
    }
    if (w.next) w.next->ended.wake();
    return true;
}

void drain_and_stop(sched& s) noexcept {
    await_end(s, os::never);
    os::backoff until_they_left;
    while (s.life.outsiders.load(std::memory_order_acquire) != 0) until_they_left.pause();   // outsiders may start threads
    stop_threads(s);
    // Handles that are left keep the store alive, and must not use this runtime any more.
    s.store->for_each([&](G& g) {
        if (g.state.seen(std::memory_order_acquire) != g_state::dead) return;
        s.store->owners.fetch_add(1, std::memory_order_relaxed);
        if (g.join_word.orphan()) return;
        // Its handle is about to free it, and needs the runtime for a moment longer.
        s.store->owners.fetch_sub(1, std::memory_order_relaxed);
        os::backoff a_moment;
        while (g.state.seen(std::memory_order_acquire) != g_state::idle) a_moment.pause();
    });
    base::lock_guard last_user_has_left(s.idle.lock);
}

namespace {

void stop_threads(sched& s) noexcept {
    for (;;) {
        M* m;
        {
            deferred_wake wake;
            base::lock_guard hold(s.idle.lock);
            if (!std::exchange(s.life.stopping, true)) {
                s.idle.wake_monitor(wake);
                continue;
            }
            m = s.idle.take_m(wake);
        }
        if (!m) break;
        m->wake_as(m_role::worker, {}, false);
    }
    for (os::backoff a_moment;; a_moment.give_up_core()) {
        s.pool.join_gone();
        s.idle.monitor_note.wake();   // the role may have been passed on meanwhile
        if (s.pool.all_ended()) break;
    }
    s.pool.join_all();
}

}  // namespace

// set_procs makes Ps, or marks surplus ones: pick() finds nothing on a surplus P, and find_runnable then calls retire_p.
void set_procs(sched& s, unsigned n) {
    if (n == 0 || n > max_procs)
        throw std::invalid_argument("handoff: set_procs(" + std::to_string(n) + ") is not between 1 and " +
                                    std::to_string(max_procs));
    std::vector<std::unique_ptr<P>> made;
    {
        deferred_wake wake;
        base::lock_guard hold(s.idle.lock);
        const std::uint32_t before = s.procs.count();
        for (unsigned i = before; i < n; ++i) made.push_back(std::make_unique<P>(i));
        if (switches_are_watched())
            for (auto& p : made) p->handoff = handoff_cause::watched;
        if (before == 0) made.front()->runq.set_alone();
        for (auto& p : made) {
            p->status.store(p_status::dead, std::memory_order_relaxed);
            s.procs.add(p.release());
        }
        s.procs.want(n);
        for (unsigned i = 0; i < n; ++i) {
            P& p = s.procs[i];
            if (p.status.load(std::memory_order_relaxed) != p_status::dead) continue;
            s.idle.begins_to_live();
            put_idle_p(s, held_p::made(p), wake);
        }
        s.idle.wake_monitor(wake);   // it takes surplus Ps from Ms that are away
    }
    empty_idle_surplus(s);
    release_idle_ms(s);
}

// empty_idle_surplus retires idle Ps that are surplus. set_procs calls it. So does the monitor, for Ps that became idle at the
// same time: their Ms had read procs.wanted() before.
void empty_idle_surplus(sched& s) noexcept {
    for (;;) {
        held_p surplus;
        {
            base::lock_guard hold(s.idle.lock);
            surplus = s.idle.take_p_if([](const P& p, std::int64_t wanted) noexcept { return p.id >= wanted; }, s.procs.wanted());
        }
        if (!surplus) break;
        empty_p(s, std::move(surplus));
    }
    wake_if_work(s);
}

namespace {

// release_idle_ms wakes each idle M, so that it checks again whether there are too many.
void release_idle_ms(sched& s) noexcept {
    std::size_t n;
    {
        base::lock_guard hold(s.idle.lock);
        n = s.idle.ms();
    }
    for (; n > 0; --n) {
        M* m;
        {
            deferred_wake wake;
            base::lock_guard hold(s.idle.lock);
            m = s.idle.take_longest_idle_m(wake);   // Ms that go idle again do so at the front
        }
        if (!m) return;
        m->wake_as(m_role::worker, {}, false);
    }
}

// empty_p retires p, which the caller holds: its goroutines go to the global queue, its timers to the first P.
void empty_p(sched& s, held_p p) noexcept {
    deferred_wake wake;
    base::lock_guard hold(s.idle.lock);
    for (G* g; (g = p->runq.take_next()) || (g = p->runq.pop());) s.globq.push(g);
    s.store->give(std::exchange(p->free_gs, nullptr));
    p->free_g_count = 0;
    s.stacks.give(std::exchange(p->free_stacks, nullptr));
    p->free_stack_count = 0;
    P& first = s.procs[0];
    p->timers.move_all(first.timers);
    if (first.status.load(std::memory_order_relaxed) == p_status::idle) s.idle.cover_timer(first.timers.first(), wake);
    if (!s.procs.is_surplus(*p)) return put_idle_p(s, std::move(p), wake);   // it is wanted again
    p.retire();
    s.idle.ends();
    check_drained(s, wake);
}

}  // namespace

void retire_p(M* m) noexcept {
    sched& s = *m->s;
    s.idle.end_spinning(m);
    empty_p(s, take_off(m));
    wake_if_work(s);   // m gave up a P
}

sched* sched_of_maker(const char* what) {
    if (const M* m = current_m()) return m->s;
    if (sched* s = of_default_runtime.load(std::memory_order_acquire)) return s;   // with its store: all of it
    throw usage_error(std::string("handoff: ") + what +
                      " made off a goroutine needs a runtime: name it as the first argument, or call default_runtime() before");
}

}  // namespace handoff::detail
