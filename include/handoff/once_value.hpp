// once_value: a value that is computed when it is first asked for.
#pragma once

#include <handoff/once.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace handoff {

// The first call computes the value, by the function that it was made with; others wait until that is done, and all get
// the same one:
//
//     once_value config([] { return load(); });
//     config().port
//
// If the function throws, the exception goes to its caller, and the next caller tries again. The function may park; if it asks
// for the value itself, it waits for itself. Once the value is there, a call costs what call_once costs then: a load. No
// cancellation point. Any thread; it may be destroyed when nobody calls it any more.
template <std::invocable F>
class once_value {
    using result = std::invoke_result_t<F&>;
    static_assert(!std::is_void_v<result>, "a function without a result is what call_once is for");
    static constexpr bool by_reference = std::is_lvalue_reference_v<result>;
    using stored = std::conditional_t<by_reference, std::remove_reference_t<result>*, std::remove_cvref_t<result>>;

public:
    // What a call returns: what the function returns, if that is an lvalue reference, otherwise a const reference to what is
    // kept of it here.
    using reference = std::conditional_t<by_reference, result, const std::remove_cvref_t<result>&>;

    explicit constexpr once_value(F f) noexcept(std::is_nothrow_move_constructible_v<F>) : f_(std::move(f)) {}
    ~once_value() {
        if (made_) std::destroy_at(std::addressof(value_));
    }
    once_value(const once_value&) = delete;
    once_value& operator=(const once_value&) = delete;

    reference operator()() const {
        call_once(flag_, [this] {
            if constexpr (by_reference) ::new (static_cast<void*>(std::addressof(value_))) stored(std::addressof(std::invoke(f_)));
            else ::new (static_cast<void*>(std::addressof(value_))) stored(std::invoke(f_));
            made_ = true;
        });
        if constexpr (by_reference) return *value_;
        else return value_;
    }

private:
    mutable once_flag flag_;
    mutable bool made_ = false;   // under the flag, as are the next two
    mutable F f_;
    union {
        std::byte none_{};
        mutable stored value_;
    };
};

}  // namespace handoff
