#include "sched/thread_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <pthread.h>
#include <utility>

namespace handoff::detail {

// take_m makes an M, or reuses one whose thread is gone.
M* thread_pool::take_m(sched* s) {
    if (!free_.empty()) {
        M* m = free_.back();
        free_.pop_back();
        return m;
    }
    exiting_.reserve(all_.size() + 1);   // so that ends and join_gone need no memory
    free_.reserve(all_.size() + 1);
    all_.push_back(std::make_unique<M>(s, static_cast<int>(all_.size())));
    return all_.back().get();
}

M* thread_pool::add_m(sched* s) {
    base::lock_guard hold(lock_);
    return take_m(s);
}

bool thread_pool::start(sched* s, void (*body)(void* m), held_p& p, bool spinning, m_role role) noexcept {
    join_gone();
    M* m = nullptr;
    {
        base::lock_guard hold(lock_);
        if (threads_ >= most_) {
            count_.thread_cap_hits.add();
            return false;
        }
        try {
            m = take_m(s);
        } catch (const std::bad_alloc&) {
            count_.thread_create_failures.add();
            count_.thread_create_errno.store(ENOMEM, std::memory_order_relaxed);
            return false;
        }
        most_threads_ = std::max(most_threads_, ++threads_);
    }
    m->orders.p = std::move(p);
    m->spinning = spinning;
    m->orders.role = role;
    m->ends_with_its_goroutine = false;
    pthread_t t;
    if (const int e = os::create_thread(t, body, m)) {
        p = std::move(m->orders.p);
        count_.thread_create_failures.add();
        count_.thread_create_errno.store(e, std::memory_order_relaxed);
        base::lock_guard hold(lock_);
        --threads_;
        free_.push_back(m);
        return false;
    }
    count_.threads_created.add();
    return true;
}

void thread_pool::ends(M* m) noexcept {
    base::lock_guard hold(lock_);
    --threads_;
    if (std::exchange(m->retires, false)) --retiring_;
    exiting_.push_back(m);
}

bool thread_pool::has_more_than(unsigned wanted) const noexcept {
    base::lock_guard hold(lock_);
    return threads_ - retiring_ > wanted;
}

bool thread_pool::retires(M* m, unsigned wanted) noexcept {
    base::lock_guard hold(lock_);
    if (threads_ - retiring_ <= wanted) return false;
    m->retires = true;
    ++retiring_;
    return true;
}

bool thread_pool::join_gone() noexcept {
    std::size_t looks = ~std::size_t{0};   // look at each exiting thread once
    for (;;) {
        M* m;
        {
            base::lock_guard hold(lock_);
            looks = std::min(looks, exiting_.size());
            if (looks-- == 0) return exiting_.empty();
            m = exiting_.front();
            exiting_.erase(exiting_.begin());
        }
        const bool gone = os::join_if_gone(m->thread);
        if (gone) m->tid.store(0, std::memory_order_relaxed);
        base::lock_guard hold(lock_);
        (gone ? free_ : exiting_).push_back(m);
    }
}

void thread_pool::join_all() noexcept {
    for (;;) {
        M* m;
        {
            base::lock_guard hold(lock_);
            if (exiting_.empty()) return;
            m = exiting_.back();
            exiting_.pop_back();
        }
        ::pthread_join(m->thread, nullptr);
    }
}

bool thread_pool::some_exit() const noexcept {
    base::lock_guard hold(lock_);
    return !exiting_.empty();
}

bool thread_pool::all_ended() const noexcept { return threads() == 0; }

unsigned thread_pool::threads() const noexcept {
    base::lock_guard hold(lock_);
    return threads_;
}

unsigned thread_pool::most_threads() const noexcept {
    base::lock_guard hold(lock_);
    return most_threads_;
}

}  // namespace handoff::detail
