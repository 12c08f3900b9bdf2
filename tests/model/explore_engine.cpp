#include "explore_engine.hpp"

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <link.h>
#include <sys/mman.h>
#include <utility>

namespace explore {

bool active = false;
engine the;

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;


// No thread is kept waiting for ever, nor is a store, as on any machine: after so many steps the one that runs comes last,
// and what is buffered is seen.
constexpr unsigned fair_after = 1'000;

// The executable's thread-locals of the one real thread. Each model thread has its own content for them.
struct local_block {
    char* at = nullptr;
    std::size_t size = 0;
    std::array<char, sizeof(model_thread::locals)> fresh{};

    local_block() {
        ::dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* self) {
                auto& b = *static_cast<local_block*>(self);
                for (int i = 0; i < info->dlpi_phnum; ++i) {
                    const auto& p = info->dlpi_phdr[i];
                    if (p.p_type != PT_TLS) continue;
                    b.at = static_cast<char*>(info->dlpi_tls_data);
                    b.size = p.p_memsz;
                    const char* image = reinterpret_cast<const char*>(info->dlpi_addr + p.p_vaddr);
                    if (b.size > b.fresh.size()) std::abort();   // make room for more
                    std::memcpy(b.fresh.data(), image, p.p_filesz);
                }
                return 1;   // the executable comes first
            },
            this);
    }
};
local_block& locals() {
    static local_block block;
    return block;
}

void leave_thread(model_thread& t) noexcept {
    const auto& b = locals();
    if (b.size) std::memcpy(t.locals.data(), b.at, b.size);
    std::memcpy(t.exceptions, abi::__cxa_get_globals(), sizeof t.exceptions);
    t.error = errno;
}

void enter_thread(model_thread& t) noexcept {
    const auto& b = locals();
    if (b.size) std::memcpy(b.at, t.locals.data(), b.size);
    std::memcpy(static_cast<void*>(abi::__cxa_get_globals()), t.exceptions, sizeof t.exceptions);
    errno = t.error;
    the.current = &t;
}

// A context that was left: where to note its stack pointer.
void note_left(transfer_t from) noexcept { *static_cast<void**>(from.data) = from.fctx; }

void thread_entry(transfer_t from) {
    note_left(from);
    the.current->body();
    the.thread_ends();
}

}  // namespace

void engine::begin(const scenario& s, std::uint64_t seed) {
    rng.state = seed * 0xD1342543DE82EF95u + 0x632BE59BD9B4E019u;
    most = s.most;
    steps = 0;
    now = 1'000'000'000;
    next_deadline = no_deadline;
    waited = 0;
    static constexpr unsigned walks[] = {2, 3, 5, 8, 16, 32, 64, 128};
    static constexpr unsigned drains[] = {0, 2, 8, 32, 128, 512};
    static constexpr unsigned jumps[] = {0, 0, 0, 50, 300, 2'000};
    static constexpr unsigned spurious[] = {0, 0, 50, 300};
    static constexpr std::int64_t paces[] = {2, 20, 20, 200};
    how.by_priority = rng.below(2) != 0;
    how.stores_overtake = rng.below(2) != 0;
    how.switch_every = walks[rng.below(std::size(walks))];
    how.changes = how.by_priority ? 1 + rng.below(6) : 0;
    how.drain_every = drains[rng.below(std::size(drains))];
    how.time_jumps_every = jumps[rng.below(std::size(jumps))];
    how.spurious_every = spurious[rng.below(std::size(spurious))];
    how.step_ns = paces[rng.below(std::size(paces))];
    changes.clear();
    // Most schedules get theirs near the beginning, where a schedule of any length has steps.
    const unsigned length = rng.below(3) == 0 ? most.length : 1 + most.length / (1 + rng.below(8));
    for (unsigned i = 0; i < how.changes; ++i) changes.push_back(1 + rng.below(length));
    std::sort(changes.begin(), changes.end(), std::greater<>());
    next_switch = next_drain = next_jump = 0;
    next_fair = fair_after;
    lowest = 1'000'000;
    count = 0;
    membarrier = true;
    cores = 2;
    failed = false;
    trace.clear();
    plan();
}

namespace {
std::uint64_t somewhere(random& rng, unsigned mean) noexcept { return 1 + rng.below(2 * mean - 1); }
}  // namespace

// plan sets the step of the next event.
void engine::plan() noexcept {
    constexpr std::uint64_t never = UINT64_MAX;
    if (how.by_priority) {
        next_switch = changes.empty() ? never : std::max(changes.back(), steps + 1);
    } else if (next_switch <= steps) {
        next_switch = steps + somewhere(rng, how.switch_every);
    }
    if (next_drain <= steps) next_drain = how.drain_every ? steps + somewhere(rng, how.drain_every) : never;
    if (next_jump <= steps) next_jump = how.time_jumps_every ? steps + somewhere(rng, how.time_jumps_every) : never;
    next_event = std::min({next_switch, next_drain, next_jump, next_fair, most.steps + 1});
}

void engine::check_limits() noexcept {
    if (steps > most.steps) fail_now("a livelock: %llu steps and no end", static_cast<unsigned long long>(steps));
    if (waited > most.time) fail_now("a standstill: everybody slept for %lld ns", static_cast<long long>(waited));
}

void engine::decide() noexcept {
    check_limits();
    if (now >= next_deadline) wake_due();
    if (next_drain <= steps) drain_some();
    if (next_jump <= steps) jump_in_time();
    if (next_fair <= steps) {
        next_fair = steps + fair_after;
        current->priority = --lowest;
        drain_everybody();
    }
    model_thread* to = current;
    if (how.by_priority) {
        while (!changes.empty() && changes.back() <= steps) {
            changes.pop_back();
            current->priority = --lowest;
        }
        to = pick(false);
    } else if (next_switch <= steps) {
        to = pick(false);
    }
    plan();
    switch_to(to);
}

unsigned engine::create(std::function<void()> body) {
    if (count == most_threads) return most_threads;
    model_thread& t = threads[count];
    if (!t.stack) {
        void* memory = ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        ::mprotect(memory, 4096, PROT_NONE);
        t.stack = static_cast<char*>(memory);
    }
    t.number = count++;
    t.body = std::move(body);
    t.state = thread_state::runnable;
    t.in_kernel = false;
    t.deadline = no_deadline;
    t.cpu_time = 0;
    t.error = 0;
    t.exceptions[0] = t.exceptions[1] = nullptr;
    t.locals = locals().fresh;
    t.buffered = 0;
    t.priority = 2'000'000 + rng.below(1'000'000);
    t.context = make_fcontext(t.stack + stack_bytes, stack_bytes, thread_entry);
    if (how.by_priority) next_event = 0;
    return t.number;
}

void engine::switch_to(model_thread* t) noexcept {
    if (t == current) return;
    model_thread* from = current;
    leave_thread(*from);
    enter_thread(*t);
    note_left(jump_fcontext(t->context, &from->context));
}

// pick is who goes on: by priority, or at random. `other`: rather not the current one. Null if nobody is runnable.
model_thread* engine::pick(bool other) noexcept {
    model_thread* best = nullptr;
    unsigned found = 0;
    for (unsigned i = 0; i < count; ++i) {
        model_thread& t = threads[i];
        if (t.state != thread_state::runnable || (other && &t == current)) continue;
        ++found;
        if (how.by_priority ? !best || t.priority > best->priority : rng.below(found) == 0) best = &t;
    }
    return best ? best : current->state == thread_state::runnable ? current : nullptr;
}

// next_to_run is who goes on when the current thread can't. If nobody can: first all stores become visible, then time passes.
model_thread* engine::next_to_run() noexcept {
    for (;;) {
        check_limits();
        if (model_thread* t = pick(false)) return t;
        bool buffered = false;
        for (unsigned i = 0; i < count; ++i) buffered |= threads[i].buffered != 0;
        const std::int64_t before = now;
        if (buffered) drain_some();
        else if (!jump_in_time()) fail_now("a deadlock: all threads are blocked");
        waited += now - before;
        ++steps;
    }
}

void engine::wait(thread_state state, const void* on, std::int64_t deadline) noexcept {
    current->state = state;
    current->waits_for = on;
    current->deadline = deadline;
    next_deadline = std::min(next_deadline, deadline);   // may be of one that is woken before
    current->timed_out = false;
    model_thread* to = next_to_run();
    plan();
    switch_to(to);
}

void engine::make_runnable(model_thread& t, bool timed_out) noexcept {
    t.state = thread_state::runnable;
    t.deadline = no_deadline;
    t.waits_for = nullptr;
    t.timed_out = timed_out;
    if (how.by_priority) next_event = 0;
}

// jump_in_time goes to the next deadline and wakes who waits for it; false if there is none.
bool engine::jump_in_time() noexcept {
    model_thread* first = nullptr;
    for (unsigned i = 0; i < count; ++i)
        if (threads[i].deadline != no_deadline && (!first || threads[i].deadline < first->deadline))
            first = &threads[i];
    if (!first) return false;
    now = std::max(now, first->deadline);
    wake_due();
    return true;
}

// wake_due wakes those whose time has come.
void engine::wake_due() noexcept {
    next_deadline = no_deadline;
    for (unsigned i = 0; i < count; ++i) {
        if (threads[i].deadline <= now) make_runnable(threads[i], true);
        next_deadline = std::min(next_deadline, threads[i].deadline);
    }
}

// give_way: the current thread waits for others to get on.
void engine::give_way(bool surely) noexcept {
    ++steps;
    if (steps > most.steps) decide();
    now += surely ? 1'000 : 300;
    if (rng.below(4) == 0) drain_some();
    if (now >= next_deadline) wake_due();
    if (!surely && rng.below(how.by_priority ? 8 : 2) != 0) return;   // a pause is short
    if (how.by_priority) current->priority = --lowest;
    switch_to(pick(true));
}

void engine::thread_ends() noexcept {
    record(operation::ends, nullptr, 0, 0, 0, nullptr);
    drain_all(*current);
    current->body = nullptr;
    current->state = thread_state::done;
    bool all_done = true;
    for (unsigned i = 0; i < count; ++i) {
        model_thread& t = threads[i];
        if (t.state == thread_state::joining && t.waits_for == current) make_runnable(t, false);
        all_done &= t.state == thread_state::done;
    }
    if (all_done) {
        active = false;
        void* nowhere;
        jump_fcontext(controller, &nowhere);
    }
    model_thread* to = next_to_run();
    plan();
    switch_to(to);
    std::abort();
}

void engine::give_up(const char* format, va_list args) noexcept {
    std::vsnprintf(why, sizeof why, format, args);
    failed = true;
    active = false;
    void* nowhere;
    jump_fcontext(controller, &nowhere);
    std::abort();
}

// --- store buffers ---

void engine::drain_one(model_thread& t, unsigned i) noexcept {
    const pending p = t.buffer[i];
    std::copy(t.buffer.begin() + i + 1, t.buffer.begin() + t.buffered, t.buffer.begin() + i);
    --t.buffered;
    if (p.unlock) {
        owner_of(p.at) = 0;
        for (unsigned k = 0; k < count; ++k)
            if (threads[k].state == thread_state::in_mutex && threads[k].waits_for == p.at)
                make_runnable(threads[k], false);
    } else {
        check_alive(p.at);
        std::memcpy(p.at, &p.value, p.size);
    }
    if (tracing) {
        model_thread* const was = current;
        current = &t;
        record(operation::drain, p.at, 0, p.value, 0, nullptr);
        current = was;
    }
}

void engine::drain_all(model_thread& t) noexcept {
    while (t.buffered != 0) drain_one(t, 0);
}

void engine::drain_everybody() noexcept {
    for (unsigned i = 0; i < count; ++i) drain_all(threads[i]);
}

// drain_some makes some of one thread's stores visible.
void engine::drain_some() noexcept {
    unsigned found = 0;
    model_thread* t = nullptr;
    for (unsigned i = 0; i < count; ++i)
        if (threads[i].buffered != 0 && rng.below(++found) == 0) t = &threads[i];
    if (!t) return;
    for (unsigned n = 1 + rng.below(t->buffered); n > 0; --n) {
        unsigned at = 0;
        if (how.stores_overtake) {
            // A later one of its own choice, if nothing before it has to be seen first.
            at = rng.below(t->buffered);
            const pending& p = t->buffer[at];
            if (p.release) at = 0;
            for (unsigned i = 0; i < at; ++i)
                if (t->buffer[i].at == p.at) at = i;
            if (t->buffer[at].release && at != 0) at = 0;
        }
        drain_one(*t, at);
    }
}

void forget(const void* at) noexcept {
    model_thread& t = *the.current;
    for (unsigned i = t.buffered; i-- > 0;) {
        if (t.buffer[i].at != at) continue;
        std::copy(t.buffer.begin() + i + 1, t.buffer.begin() + t.buffered, t.buffer.begin() + i);
        --t.buffered;
    }
}

// --- what the library's atomics call ---

std::uint64_t load(const void* at, unsigned size, int order) noexcept {
    the.step();
    check_alive(at);
    const model_thread& t = *the.current;
    std::uint64_t value = 0;
    bool own = false;
    for (unsigned i = t.buffered; i-- > 0;) {
        if (t.buffer[i].at != at) continue;
        value = t.buffer[i].value;
        own = true;
        break;
    }
    if (!own) std::memcpy(&value, at, size);
    if (the.tracing) the.record(operation::load, at, 0, value, order, __builtin_return_address(0));
    return value;
}

void store(void* at, unsigned size, std::uint64_t value, int order) noexcept {
    the.step();
    check_alive(at);
    model_thread& t = *the.current;
    if (the.tracing) the.record(operation::store, at, 0, value, order, __builtin_return_address(0));
    if (order == __ATOMIC_SEQ_CST) {
        the.drain_all(t);
        std::memcpy(at, &value, size);
        return;
    }
    if (t.buffered == buffer_size) the.drain_one(t, 0);
    t.buffer[t.buffered++] = {at, value, static_cast<std::uint8_t>(size), order == __ATOMIC_RELEASE, false};
}

void begin_modify(const void* at, operation) noexcept {
    the.step();
    check_alive(at);
    the.drain_all(*the.current);
}

void end_modify(const void* at, operation what, std::uint64_t before, std::uint64_t after) noexcept {
    if (the.tracing) the.record(what, at, before, after, 0, __builtin_return_address(0));
}

bool fails_spuriously() noexcept {
    return the.how.spurious_every != 0 && the.rng.below(the.how.spurious_every) == 0;
}

void full_fence() noexcept {
    if (!active) return;
    the.step();
    the.drain_all(*the.current);
    if (the.tracing) the.record(operation::fence, nullptr, 0, 0, 0, __builtin_return_address(0));
}

void relax() noexcept {
    if (active) the.give_way(false);
}

// --- what scenarios call ---

std::vector<scenario>& scenarios() {
    static std::vector<scenario> all;
    return all;
}

void fail(const char* format, ...) {
    va_list args;
    va_start(args, format);
    the.give_up(format, args);
}

void fail_now(const char* format, ...) noexcept {
    va_list args;
    va_start(args, format);
    the.give_up(format, args);
}

void step() noexcept { the.step(); }
unsigned choose(unsigned n) noexcept { return the.rng.below(n); }
bool time_is_even() noexcept { return the.how.time_jumps_every == 0; }
void give_membarrier(bool there) noexcept { the.membarrier = there; }
void give_cores(unsigned n) noexcept { the.cores = n; }

void compute(unsigned n) noexcept {
    for (; n > 0; --n) {
        the.now += 100;
        the.current->cpu_time += 100;
        the.step();
    }
}

void block(std::int64_t ns) noexcept {
    the.step();
    if (the.tracing) the.record(operation::sleep, nullptr, 0, static_cast<std::uint64_t>(ns), 0, __builtin_return_address(0));
    the.current->in_kernel = true;
    the.wait(thread_state::asleep, nullptr, the.now + ns);
    the.current->in_kernel = false;
}

thread::thread(std::function<void()> body) {
    the.step();
    the.drain_all(*the.current);
    number_ = the.create(std::move(body));
    if (number_ == most_threads) fail("too many threads");
}

void thread::join() {
    the.step();
    while (the.threads[number_].state != thread_state::done)
        the.wait(thread_state::joining, &the.threads[number_], no_deadline);
}

outcome run(const scenario& s, std::uint64_t seed, const options& o) {
    reset_memory();
    the.begin(s, seed);
    the.tracing = o.trace;
    locals();
    the.create([&s] { s.body(); });
    model_thread outside;   // keeps what is the real thread's
    outside.locals = locals().fresh;
    leave_thread(outside);
    enter_thread(the.threads[0]);
    active = true;
    // Whoever comes back here has been left for good.
    jump_fcontext(the.current->context, &the.controller);
    active = false;
    enter_thread(outside);
    for (unsigned i = 0; i < the.count; ++i) the.threads[i].body = nullptr;   // before their memory is forgotten
    return {the.failed, the.why, the.steps, the.now - 1'000'000'000};
}

}  // namespace explore
