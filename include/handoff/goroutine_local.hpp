// goroutine_local<T>: a variable of which each goroutine has its own.
#pragma once

#include <handoff/detail/export.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace handoff {

namespace detail {

HANDOFF_API std::uint64_t new_local_key() noexcept;

// local_value returns the current goroutine's (off a goroutine, the thread's) value for `key`, null if it has none.
HANDOFF_API void* local_value(std::uint64_t key) noexcept;
// set_local_value gives it one, which it destroys in the end. Throws std::bad_alloc, and has not taken it then.
HANDOFF_API void set_local_value(std::uint64_t key, void* value, void (*destroy)(void*) noexcept);
HANDOFF_API void drop_local_value(std::uint64_t key) noexcept;

}  // namespace detail

// What thread_local is for threads: thread_local variables are of no use to goroutines, which change threads whenever they
// wait. Each goroutine's value is made at its first use, and destroyed, the newest first, when the goroutine ends, before
// join() returns; also one that is made later still, in the destructor of what the goroutine returned. A goroutine does not
// inherit its maker's. On a thread that runs no goroutine the value is the thread's, and ends like a thread_local that is
// made at that time. Later destructors of the thread may use it, of thread_locals and of pthread keys (but in the last of
// their PTHREAD_DESTRUCTOR_ITERATIONS rounds); that makes a new value, which ends after them.
// Usually static. If it is destroyed earlier than a goroutine that used it, that goroutine's value stays until it ends.
//
// Access is linear in the number of such variables that the goroutine uses.
template <class T>
class goroutine_local {
public:
    // Each value starts as T().
    goroutine_local()
        requires std::is_default_constructible_v<T>
        : goroutine_local([] { return T(); }) {}
    // Each value starts as what make() returns, on the goroutine that needs it.
    explicit goroutine_local(std::function<T()> make) : make_(std::move(make)) {}
    goroutine_local(const goroutine_local&) = delete;
    goroutine_local& operator=(const goroutine_local&) = delete;

    // The reference is good until the goroutine ends, or calls reset(). Throws what make() throws, and std::bad_alloc.
    T& get() {
        if (void* v = detail::local_value(key_)) return *static_cast<T*>(v);
        std::unique_ptr<T> made(new T(make_()));
        detail::set_local_value(key_, made.get(), [](void* v) noexcept { delete static_cast<T*>(v); });
        return *made.release();
    }
    T& operator*() { return get(); }
    T* operator->() { return &get(); }

    // has says whether there is a value yet; reset destroys it.
    bool has() const noexcept { return detail::local_value(key_) != nullptr; }
    void reset() noexcept { detail::drop_local_value(key_); }

private:
    const std::uint64_t key_ = detail::new_local_key();
    const std::function<T()> make_;
};

}  // namespace handoff
