// quiet_move: the types whose move, and whose destructor once they are moved from, are known not to call the library, since
// no code of the program's is part of them. Others are moved where that is right for any code: closures outside of runtime
// sections, values of channels under a mark by which such calls are found (src/sched/pinned.hpp).
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

// A class of ours says it by itself.
template <class T>
concept says_it_moves_quietly = requires { requires T::moves_quietly::value; };

template <class T>
inline constexpr bool quiet_move = std::is_trivially_copyable_v<T> || says_it_moves_quietly<T>;

// Of the standard library those that hand on a pointer.
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

// And those that are what their parts are.
template <class T>
inline constexpr bool quiet_move<std::optional<T>> = quiet_move<T>;
template <class A, class B>
inline constexpr bool quiet_move<std::pair<A, B>> = quiet_move<A> && quiet_move<B>;
template <class... Ts>
inline constexpr bool quiet_move<std::tuple<Ts...>> = (quiet_move<Ts> && ...);

struct M;

// move_mark: while it lives a channel that is locked moves a value whose move may call the library.
class move_mark {
public:
    HANDOFF_API explicit move_mark(const char* type) noexcept;   // what type_text() gives
    HANDOFF_API ~move_mark();
    move_mark(const move_mark&) = delete;
    move_mark& operator=(const move_mark&) = delete;

private:
    M* const m_;
};

// type_text has the name of T in it.
template <class T>
constexpr const char* type_text() noexcept {
    return __PRETTY_FUNCTION__;
}

}  // namespace handoff::detail
