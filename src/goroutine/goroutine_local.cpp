// Values of goroutines and of threads, and how they end.
//
// A thread's values end with the thread. But other objects that end with it use values, too, and make new ones: destructors of
// thread_locals, then those of pthread keys, in rounds; on the main thread the destructors of static objects. So when a list of
// values is made, its end is arranged for in each phase that is still to come:
//
//     thread_local    ends_with_thread, in the order of thread_locals: one that was made before the first value outlives it
//     pthread key     set anew for each list, so that a further round follows; not on a main thread that leaves by exit()
//     atexit          for lists that the main thread makes after its thread_locals are gone
//
// Two leaks remain. A value that is made in the last of PTHREAD_DESTRUCTOR_ITERATIONS rounds, after which the C library stops.
// And 32 bytes of the C library's own, for a thread whose very first use of a value is in a key's destructor: we can't tell
// that its thread_locals are gone, so the record for ours is made, and never looked at again.
//
// The pointer and the flag are trivial, so they can be used until the thread is gone.
#include "goroutine/goroutine_local.hpp"

#include "os/thread.hpp"
#include "sched/sched.hpp"

#include <handoff/goroutine_local.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <pthread.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace handoff::detail {

// A goroutine has few values; they are searched in the order of their first use.
struct local_values {
    struct entry {
        std::uint64_t key;
        void* value;
        void (*destroy)(void*) noexcept;
    };
    std::vector<entry> all;
};

namespace {

// The values of a thread that runs no goroutine.
constinit thread_local local_values* of_thread = nullptr;
constinit thread_local bool thread_locals_are_gone = false;

HANDOFF_OPAQUE local_values*& values_of_thread() noexcept {
    __asm__ volatile("");
    return of_thread;
}

void destroy_those_of_thread() noexcept { destroy_locals(of_thread); }

struct ends_with_thread {
    ~ends_with_thread() {
        thread_locals_are_gone = true;
        destroy_those_of_thread();
    }
};

// The key whose destructor destroys a thread's values; false if the process has no key left.
bool find_key(pthread_key_t& key) noexcept {
    struct made {
        pthread_key_t key{};
        const bool is_there = ::pthread_key_create(&key, [](void*) {
            thread_locals_are_gone = true;   // they end before the keys
            destroy_those_of_thread();
        }) == 0;
    };
    static const made the;
    key = the.key;
    return the.is_there;
}

// see_to_their_end arranges for the end of a list that the calling thread, which runs no goroutine, has just been given. Throws
// std::bad_alloc.
void see_to_their_end() {
    if (pthread_key_t key; find_key(key) && ::pthread_setspecific(key, of_thread) != 0) throw std::bad_alloc();
    if (!thread_locals_are_gone) {
        static thread_local ends_with_thread at_end;
        static_cast<void>(&at_end);
    } else if (os::this_tid() == ::getpid()) {
        if (std::atexit(destroy_those_of_thread) != 0) throw std::bad_alloc();
    }
}

// current_values is where the caller's values are. It has to be called again after anything that may switch.
local_values*& current_values() noexcept {
    M* m = current_m();
    return m ? m->curg.load(std::memory_order_relaxed)->locals : values_of_thread();
}

}  // namespace

std::uint64_t new_local_key() noexcept {
    static base::atomic<std::uint64_t> next{1};
    return next.fetch_add(1, std::memory_order_relaxed);   // relaxed: the value need only be unique
}

void* local_value(std::uint64_t key) noexcept {
    if (const local_values* l = current_values())
        for (const auto& e : l->all)
            if (e.key == key) return e.value;
    return nullptr;
}

void set_local_value(std::uint64_t key, void* value, void (*destroy)(void*) noexcept) {
    local_values*& l = current_values();
    if (l) return l->all.push_back({key, value, destroy});
    auto made = std::make_unique<local_values>();
    made->all.push_back({key, value, destroy});
    l = made.get();
    if (&l == &values_of_thread()) {
        try {
            see_to_their_end();
        } catch (...) {
            l = nullptr;
            throw;
        }
    }
    made.release();
}

void drop_local_value(std::uint64_t key) noexcept {
    local_values* l = current_values();
    if (!l) return;
    const auto at = std::find_if(l->all.begin(), l->all.end(), [key](const auto& e) { return e.key == key; });
    if (at == l->all.end()) return;
    const auto dropped = *at;
    l->all.erase(at);
    dropped.destroy(dropped.value);
}

void destroy_locals(local_values*& l) noexcept {
    // The list stays where it is: a destructor may use older values, and make new ones.
    while (l && !l->all.empty()) {
        const auto last = l->all.back();
        l->all.pop_back();
        last.destroy(last.value);
    }
    delete std::exchange(l, nullptr);
}

}  // namespace handoff::detail
