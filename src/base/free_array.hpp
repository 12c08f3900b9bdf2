#pragma once

#include "base/prefetch.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace handoff::base {

// free_array keeps what is free of a pool's objects, linked by T::next where they come in and go out. Pointers inside, and
// no list: those that are taken together are prefetched together, Lines of each, where a list is walked at the price of a
// miss for each. Guarded by whatever guards the pool.
template <class T, int Lines>
class free_array {
public:
    std::size_t size() const noexcept { return free_.size(); }
    bool empty() const noexcept { return free_.empty(); }

    // make_room sees to it that give() needs no memory for `all` that there are. Throws std::bad_alloc.
    void make_room(std::size_t all) {
        if (free_.capacity() < all) free_.reserve(2 * all);
    }
    void give(T* list) noexcept {
        for (; list; list = list->next) free_.push_back(list);
    }
    // take returns a list of up to `count`; what was given last comes first.
    T* take(std::size_t count) noexcept {
        const auto first = free_.end() - static_cast<std::ptrdiff_t>(std::min(count, free_.size()));
        std::for_each(first, free_.end(), [](const T* t) { prefetch_lines<Lines>(t); });
        T* list = nullptr;
        std::for_each(first, free_.end(), [&list](T* t) { t->next = std::exchange(list, t); });
        free_.erase(first, free_.end());
        return list;
    }

    // move_to moves the n that were given last to the end of `to`, which has room; take_from is the way back.
    void move_to(std::vector<T*>& to, std::size_t n) noexcept { move(free_, to, n); }
    void take_from(std::vector<T*>& from, std::size_t n) noexcept { move(from, free_, n); }

private:
    static void move(std::vector<T*>& from, std::vector<T*>& to, std::size_t n) noexcept {
        to.insert(to.end(), from.end() - static_cast<std::ptrdiff_t>(n), from.end());
        from.resize(from.size() - n);
    }

    std::vector<T*> free_;
};

}  // namespace handoff::base
