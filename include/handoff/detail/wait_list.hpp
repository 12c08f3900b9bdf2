// A queue of waiting goroutines and threads (src/wait/wait.hpp).
#pragma once

#include <handoff/detail/atomic.hpp>

namespace handoff::detail {

struct wait_node;

struct wait_list {
    base::atomic<wait_node*> first{nullptr};   // written under the owner's lock, relaxed; without the lock it is read as a hint
    wait_node* last = nullptr;

    bool empty() const noexcept { return first.load(std::memory_order_relaxed) == nullptr; }
};

}  // namespace handoff::detail
