// Threads, clocks, and who runs. The description is in machine.hpp.
#include "machine.hpp"

#include "lines.hpp"
#include "real.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

namespace scaling {

machine the;

namespace {

thread_local thread* tls_self = nullptr;

constexpr ps slack = 40 * ns;            // by how much a thread may be ahead, on average
constexpr ps start_time = 1000 * 1000 * us;   // of the clocks: a program sees no time 0

void wait_to_go(thread& t) noexcept {
    while (__atomic_exchange_n(&t.go, 0, __ATOMIC_ACQUIRE) == 0)
        __real_syscall(SYS_futex, &t.go, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
}

void let_go(thread& t) noexcept {
    __atomic_store_n(&t.go, 1, __ATOMIC_RELEASE);
    __real_syscall(SYS_futex, &t.go, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace

// Opaque: a goroutine that asks twice may be on another thread the second time.
__attribute__((noinline)) thread* self() noexcept {
    __asm__ volatile("");
    return tls_self;
}

void fail(const char* format, ...) noexcept {
    std::va_list args;
    va_start(args, format);
    std::fputs("handoff_scaling: ", stderr);
    std::vfprintf(stderr, format, args);
    std::fputs("\n", stderr);
    va_end(args);
    std::_Exit(2);
}

void machine::begin(unsigned cores, std::uint64_t seed) {
    // One of the threads runs at any time: on one real core it need not be woken on another.
    cpu_set_t one;
    CPU_ZERO(&one);
    const int here = ::sched_getcpu();
    if (here >= 0) {
        CPU_SET(here, &one);
        ::sched_setaffinity(0, sizeof one, &one);
    }
    cores_ = cores;
    random_.seed(seed);
    threads_.reserve(most_threads);
    threads_.push_back(std::make_unique<thread>());
    threads_.back()->time = start_time;
    tls_self = threads_.back().get();
}

ps machine::now() const noexcept { return self()->time; }

void machine::enqueue(thread& t, ps due) noexcept {
    t.queued = true;
    t.due = due;
    queue_.emplace(due, t.number);
}

void machine::dequeue(thread& t) noexcept {
    queue_.erase({t.due, t.number});
    t.queued = false;
}

void machine::set_horizon() noexcept {
    horizon_ = queue_.empty() ? never : queue_.begin()->first + static_cast<ps>(random_() % (2 * slack));
}

// give_core lets the thread run whose clock is furthest behind; returns when it is the caller's turn again.
void machine::give_core(bool ends) noexcept {
    if (queue_.empty()) fail("all threads are blocked, at %lld ns", static_cast<long long>(now() / ns));
    thread& me = *self();
    thread& next = *threads_[queue_.begin()->second];
    dequeue(next);
    if (next.state == thread_state::blocked) {   // its deadline
        next.timed_out = true;
        next.state = thread_state::ready;
        next.time = std::max(next.time, next.due);
    }
    set_horizon();
    if (&next == &me) return;
    let_go(next);
    if (!ends) wait_to_go(me);
}

void machine::spend_undisturbed(ps time) noexcept { self()->time += time; }

void machine::spend(ps time) noexcept {
    thread& t = *self();
    t.time += time;
    if (t.time <= horizon_ || t.keeps_core != 0) [[likely]] return;
    enqueue(t, t.time);
    give_core(false);
}

bool machine::block(const void* on, ps deadline) noexcept {
    thread& t = *self();
    t.state = thread_state::blocked;
    t.timed_out = false;
    t.waits_for = on;
    t.blocked_since = t.time;
    if (deadline != never) enqueue(t, std::max(deadline, t.time));
    give_core(false);
    t.waits_for = nullptr;
    return !t.timed_out;
}

void machine::wake(thread& t, ps at) noexcept {
    if (t.state != thread_state::blocked) fail("thread %u is woken and is not blocked", t.number);
    if (t.queued) dequeue(t);
    t.state = thread_state::ready;
    t.time = std::max(t.time, at);
    enqueue(t, t.time);
    horizon_ = std::min(horizon_, t.time + static_cast<ps>(random_() % (2 * slack)));
}

thread* machine::first_waiting_for(const void* on) noexcept {
    thread* first = nullptr;
    for (auto& t : threads_)
        if (t->state == thread_state::blocked && t->waits_for == on && (!first || t->blocked_since < first->blocked_since))
            first = t.get();
    return first;
}

unsigned machine::running() const noexcept {
    return static_cast<unsigned>(
        std::count_if(threads_.begin(), threads_.end(), [](auto& t) { return t->state == thread_state::ready; }));
}

void* machine::main_of(void* arg) noexcept {
    thread& t = *static_cast<thread*>(arg);
    wait_to_go(t);
    tls_self = &t;
    t.body(t.arg);
    t.state = thread_state::done;
    while (thread* joiner = the.first_waiting_for(&t)) the.wake(*joiner, t.time);
    the.give_core(true);
    return nullptr;
}

int machine::create(unsigned long* id, void* (*body)(void*), void* arg) noexcept {
    if (threads_.size() == most_threads) return EAGAIN;
    spend(costs_.create_thread);
    auto& t = *threads_.emplace_back(std::make_unique<thread>());
    t.number = static_cast<unsigned>(threads_.size()) - 1;
    t.time = self()->time;
    t.body = body;
    t.arg = arg;
    pthread_attr_t attr;
    ::pthread_attr_init(&attr);
    ::pthread_attr_setstacksize(&attr, 256 * 1024);
    const int e = __real_pthread_create(&t.id, &attr, main_of, &t);
    ::pthread_attr_destroy(&attr);
    if (e != 0) fail("thread %u could not be created: errno %d", t.number, e);
    *id = t.id;
    enqueue(t, t.time);
    set_horizon();
    return 0;
}

void machine::join(unsigned long id) noexcept {
    // The last one of that name: pthread_t values come back.
    for (auto i = threads_.rbegin(); i != threads_.rend(); ++i) {
        thread& t = **i;
        if (t.id != id) continue;
        if (t.state != thread_state::done) block(&t, never);
        __real_pthread_join(id, nullptr);
        t.id = 0;
        return;
    }
    fail("a join of no thread");
}

bool machine::is_done(unsigned long id) const noexcept {
    return std::any_of(threads_.begin(), threads_.end(),
                       [id](const auto& t) { return t->id == id && t->state == thread_state::done; });
}

void machine::rendezvous(unsigned count, void (*last)()) noexcept {
    thread& me = *self();
    if (arrived_.size() + 1 < count) {
        {
            const own_code here;
            arrived_.push_back(&me);
        }
        block(&arrived_, never);
        return;
    }
    std::vector<thread*> all;
    all.swap(arrived_);
    for (thread* t : all) me.time = std::max(me.time, t->time);
    if (last) last();
    for (thread* t : all) wake(*t, me.time);
    spend(0);
}

void relax() noexcept {
    if (self()) the.spend(the.cost().pause);
}

void compute(ps time) noexcept {
    for (; time > 0; time -= 100 * ns) the.spend(std::min(time, 100 * ns));
}

void sleep(ps time) noexcept {
    the.spend(the.cost().system_call);
    ++self()->sleeps;
    the.block(nullptr, the.now() + time);
}

}  // namespace scaling
