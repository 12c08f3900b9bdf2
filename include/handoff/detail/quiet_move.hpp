// quiet_move: true for types whose move, and whose destructor after a move, are known not to call the library, since they
// contain none of the program's code. Values of other types are moved only where any code may run: closures outside of
// runtime sections, and values of channels under a mark by which calls of the library are detected (src/sched/pinned.hpp).
#pragma once

#include <handoff/detail/export.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace handoff::detail {

// A class of this library declares it itself.
template <class T>
concept says_it_moves_quietly = requires { requires T::moves_quietly::value; };

template <class T>
inline constexpr bool quiet_move = std::is_trivially_copyable_v<T> || says_it_moves_quietly<T>;

// Of the standard library, the types whose move hands over a pointer.
template <class C>
inline constexpr bool quiet_move<std::basic_string<C, std::char_traits<C>, std::allocator<C>>> = true;
template <class T>
inline constexpr bool quiet_move<std::vector<T, std::allocator<T>>> = true;
template <class T>
inline constexpr bool quiet_move<std::unique_ptr<T, std::default_delete<T>>> = true;
template <class T>
inline constexpr bool quiet_move<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool quiet_move<std::weak_ptr<T>> = true;
template <>
inline constexpr bool quiet_move<std::exception_ptr> = true;
template <>
inline constexpr bool quiet_move<std::stop_token> = true;
template <>
inline constexpr bool quiet_move<std::stop_source> = true;

// And those that move quietly if their parts do.
template <class T>
inline constexpr bool quiet_move<std::optional<T>> = quiet_move<T>;
template <class A, class B>
inline constexpr bool quiet_move<std::pair<A, B>> = quiet_move<A> && quiet_move<B>;
template <class... Ts>
inline constexpr bool quiet_move<std::tuple<Ts...>> = (quiet_move<Ts> && ...);

struct M;

// move_mark: lives while a locked channel moves a value whose move may call the library.
class move_mark {
public:
    HANDOFF_API explicit move_mark(const char* type) noexcept;   // type: from type_text()
    HANDOFF_API ~move_mark();
    move_mark(const move_mark&) = delete;
    move_mark& operator=(const move_mark&) = delete;

private:
    M* const m_;
};

// type_text returns a text that contains the name of T.
template <class T>
constexpr const char* type_text() noexcept {
    return __PRETTY_FUNCTION__;
}

}  // namespace handoff::detail
