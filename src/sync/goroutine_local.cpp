#include <handoff/goroutine_local.hpp>

#include "sched/sched.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace handoff::detail {

// Few, and looked at in the order of their first use.
struct local_values {
    struct entry {
        std::uint64_t key;
        void* value;
        void (*destroy)(void*) noexcept;
    };
    std::vector<entry> all;
};

namespace {

// Those of a thread that runs no goroutine; their end is the thread's.
struct thread_values {
    local_values* values = nullptr;
    ~thread_values() { destroy_locals(values); }
};
thread_local thread_values of_thread;

HANDOFF_OPAQUE local_values*& values_of_thread() noexcept {
    __asm__ volatile("");
    return of_thread.values;
}

// Where the caller's values are. To be asked again after anything that may switch.
local_values*& current_values() noexcept {
    M* m = current_m();
    return m ? m->curg.load(std::memory_order_relaxed)->locals : values_of_thread();
}

}  // namespace

std::uint64_t new_local_key() noexcept {
    static base::atomic<std::uint64_t> next{1};
    return next.fetch_add(1, std::memory_order_relaxed);   // uniqueness is all
}

void* local_value(std::uint64_t key) noexcept {
    if (const local_values* l = current_values())
        for (const auto& e : l->all)
            if (e.key == key) return e.value;
    return nullptr;
}

void set_local_value(std::uint64_t key, void* value, void (*destroy)(void*) noexcept) {
    local_values*& l = current_values();
    if (!l) l = new local_values;
    l->all.push_back({key, value, destroy});
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
