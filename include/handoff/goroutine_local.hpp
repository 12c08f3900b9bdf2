// goroutine_local<T>: a variable of which each goroutine has its own value.
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

// local_value returns the value for `key` of the current goroutine (off a goroutine: of the thread); null if it has none.
HANDOFF_API void* local_value(std::uint64_t key) noexcept;
// set_local_value gives it a value, which is destroyed in the end. If it throws (std::bad_alloc), the caller keeps the value.
HANDOFF_API void set_local_value(std::uint64_t key, void* value, void (*destroy)(void*) noexcept);
HANDOFF_API void drop_local_value(std::uint64_t key) noexcept;

}  // namespace detail

// What thread_local is for threads. thread_local variables are of no use to goroutines, which may change threads whenever
// they wait.
//
// Each goroutine's value is made at its first use. A goroutine's values are destroyed when it ends, before join() returns,
// the newest first; this includes a value that is made later still, in the destructor of what the goroutine returned. A
// goroutine does not inherit values from the one that started it.
//
// On a thread that runs no goroutine the value belongs to the thread. It ends like a thread_local that is made at that
// time. Destructors that the thread runs later, of thread_locals and of pthread keys, may use the variable (except in the
// last of their PTHREAD_DESTRUCTOR_ITERATIONS rounds); that makes a new value, which ends after them.
//
// A goroutine_local is usually static. If it is destroyed before a goroutine that has used it, that goroutine's value stays
// until the goroutine ends.
//
// Access is linear in the number of such variables that the goroutine uses.
template <class T>
class goroutine_local {
public:
    // Each value starts as T().
    goroutine_local()
        requires std::is_default_constructible_v<T>
        : goroutine_local([] { return T(); }) {}
    // Each value starts as what make() returns; make() runs on the goroutine that needs the value.
    explicit goroutine_local(std::function<T()> make) : make_(std::move(make)) {}
    goroutine_local(const goroutine_local&) = delete;
    goroutine_local& operator=(const goroutine_local&) = delete;

    // The reference is valid until the goroutine ends, or calls reset(). Throws what make() throws, and std::bad_alloc.
    T& get() {
        if (void* v = detail::local_value(key_)) return *static_cast<T*>(v);
        std::unique_ptr<T> made(new T(make_()));
        detail::set_local_value(key_, made.get(), [](void* v) noexcept { delete static_cast<T*>(v); });
        return *made.release();
    }
    T& operator*() { return get(); }
    T* operator->() { return &get(); }

    // has says whether the current goroutine has a value yet; reset destroys it.
    bool has() const noexcept { return detail::local_value(key_) != nullptr; }
    void reset() noexcept { detail::drop_local_value(key_); }

private:
    const std::uint64_t key_ = detail::new_local_key();
    const std::function<T()> make_;
};

}  // namespace handoff
