// G: a goroutine, its closure, its saved context, and the waiter for its end.
#pragma once

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "context/stack.hpp"
#include "sched/g_state.hpp"
#include "sched/join_word.hpp"

#include <handoff/detail/task.hpp>
#include <handoff/options.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>

namespace handoff::detail {

struct M;
struct cancel_scope;
struct local_values;
struct sched;
class g_store;

// What a goroutine waits for; also the text in reports.
enum class wait_reason : std::uint8_t {
    none, join, sleep, send, receive, select, forever, mutex, shared_mutex, condition, semaphore, wait_group, latch, barrier,
    once, event, network, settle, turn,
};

const char* name_of(wait_reason r) noexcept;

// The two-bit counter that predicts whether a call will block, after one that did or did not.
inline std::uint8_t predict_after(std::uint8_t predict, bool blocked) noexcept {
    if (blocked) return predict < 3 ? predict + 1 : 3;
    return predict > 0 ? predict - 1 : 0;
}

// The stack that a goroutine uses during call_on_thread_stack.
struct deep_stack {
    const char* guard_lo;
    const char* guard_hi;
    std::size_t size;
    bool guards(const void* address) const noexcept { return address >= guard_lo && address < guard_hi; }
};

struct alignas(16) G {
    // For the owner only: the M that runs the goroutine; else whoever took it out of a queue.
    context::execution exec;
    context::stack* stk = nullptr;           // null: fresh, or ended
    G* next = nullptr;                       // link in the one queue that it is in
    g_store* store = nullptr;                // the store that made it; constant while its chunk does not rest (g_store.hpp)
    const task_ops* ops = nullptr;
    sched* s = nullptr;                      // constant while not idle
    detail::join_word join_word;
    std::exception_ptr exception;            // written before join_word::end, read after it
    cancel_scope* scope = nullptr;           // if it belongs to a task group; wait/cancel.hpp
    local_values* locals = nullptr;          // of its goroutine_local variables

    // Written by the owner, read by snapshots. Relaxed: snapshots want a value, and no ordering.
    g_state_word state;
    base::atomic<wait_reason> reason{wait_reason::none};
    base::atomic<const void*> waits_on{nullptr};   // the object that it waits on; only to be shown
    base::atomic<bool> locked{false};        // it is tied to its thread (tied()); M::locked_g points back
    bool named = false;                      // it has an entry in g_store::names
    std::uint8_t predict = 0;                // whether its next call will block, 0 to 3; goroutine/syscall.cpp, Prediction
    std::uint8_t quick_calls = 0;            // how many in a row, beside which another goroutine ran on its P
    bool spent = false;                      // it lost its P at the end of a slice, and has not been queued since; slice.cpp
    std::uint16_t pinned = 0;                // nesting of pinned_goroutine (pinned.hpp)
    base::atomic<std::uint64_t> kind{0};     // which goroutines are alike: spawn_options::kind
    bool let_through = false;                // it was kept back, and has waited long enough (compute_limit.hpp)
    bool has_result = false;                 // task_ops::run returned
    std::uint16_t syscall_depth = 0;         // nesting of brackets; the bit above most_brackets is tied_by_call
    std::uint32_t lock_depth = 0;            // nesting of lock_os_thread
    base::atomic<std::uint32_t> stack_pages{0};   // stack size that spawn_options asked for; 0: the runtime's
    base::atomic<goroutine_id> id{0};
    base::atomic<std::int64_t> since{0};     // when the wait began, by the monitor's coarse clock
    base::atomic<M*> m{nullptr};             // the M that runs it
    base::atomic<const void*> site{nullptr}; // file name, or, if site_line is 0, the address of go()'s caller
    base::atomic<std::uint32_t> site_line{0};
    const deep_stack* deep = nullptr;        // owner only; thread_stack.cpp
    std::uint32_t chunk = 0;                 // index of the chunk that it is part of; like `store`
    alignas(16) std::byte storage[task_inline_size];

    bool fresh() const noexcept { return stk == nullptr; }

    // In syscall_depth: it has entered the library under a guard, and is tied to its thread until the outermost guard ends.
    static constexpr std::uint16_t tied_by_call = 0x8000, most_brackets = 0x7fff;

    // Tied: it stays on its thread, and nothing else runs there: because of lock_os_thread, a guard, or a pinned_goroutine.
    bool tied() const noexcept { return lock_depth != 0 || pinned != 0 || (syscall_depth & tied_by_call) != 0; }
};

// A FIFO list of goroutines, linked through G::next. Not thread-safe.
class g_queue {
public:
    bool empty() const noexcept { return head_ == nullptr; }
    G* front() const noexcept { return head_; }
    void push(G* g) noexcept {
        g->next = nullptr;
        if (tail_) tail_->next = g;
        else head_ = g;
        tail_ = g;
    }
    G* pop() noexcept {
        G* g = head_;
        if (g) {
            head_ = g->next;
            if (!head_) tail_ = nullptr;
        }
        return g;
    }
    void append(g_queue& other) noexcept {
        if (other.empty()) return;
        if (tail_) tail_->next = other.head_;
        else head_ = other.head_;
        tail_ = other.tail_;
        other.head_ = other.tail_ = nullptr;
    }

private:
    G* head_ = nullptr;
    G* tail_ = nullptr;
};

}  // namespace handoff::detail
