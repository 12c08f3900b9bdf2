#pragma once

#include "base/prefetch.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace handoff::base {

// free_array keeps the free objects of a pool. Lists of them, linked by T::next, go in and come out. Inside there is an
// array of pointers and not a list: objects that are taken together are prefetched together, Lines cache lines of each; to
// walk a list would cost a cache miss for each object. It is guarded by whatever guards the pool.
template <class T, int Lines>
class free_array {
public:
    std::size_t size() const noexcept { return free_.size(); }
    bool empty() const noexcept { return free_.empty(); }

    // make_room reserves memory, so that give() needs none if the pool has `all` objects. Throws std::bad_alloc.
    void make_room(std::size_t all) {
        if (free_.capacity() < all) free_.reserve(2 * all);
    }
    void give(T* list) noexcept {
        for (; list; list = list->next) free_.push_back(list);
    }
    // take returns a list of up to `count` objects; the one that was given last comes first.
    T* take(std::size_t count) noexcept {
        const auto first = free_.end() - static_cast<std::ptrdiff_t>(std::min(count, free_.size()));
        std::for_each(first, free_.end(), [](const T* t) { prefetch_lines<Lines>(t); });
        T* list = nullptr;
        std::for_each(first, free_.end(), [&list](T* t) { t->next = std::exchange(list, t); });
        free_.erase(first, free_.end());
        return list;
    }

    // move_to moves the n objects that were given last to the end of `to`, which has room for them; take_from moves them
    // back.
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
