// What makes a wrong call one sentence, in place of the notes on all overloads.
//
// A function that is called wrongly by mistake has one more overload, whose first parameter is a class like
// `wrong_go`. Anything converts to that, by a constructor that is `unavailable`: gcc and clang then print its sentence,
// at the line of the call. The overload never wins over a valid one. Those deduce their first parameter, and a conversion
// by a constructor ranks below that. Where a valid one converts its first argument, too, the constructor refuses what can
// be converted so.
//
// Why not a static_assert: gcc puts four lines before it, and points to the header. Why not the attribute on
// the overload itself: gcc 12 prints it twice for a function, clang 14 for a member function.
//
// To a requires-expression, gcc (not clang) shows such a call as valid. So an overload whose validity is asked for has to
// be left out: see wrong_deadline in select.hpp.
#pragma once

#define HANDOFF_MISUSE(sentence) __attribute__((unavailable(sentence)))

namespace handoff::detail {

// What such an overload returns. It is accepted wherever a result is, so that no error follows.
struct misused {
    template <class T>
    operator T() const noexcept {
        __builtin_unreachable();
    }
    misused join() const;
    misused value() const;
    misused operator*() const;
    template <class T>
    misused wait_for(T&&) const;
    template <class T>
    misused wait_until(T&&) const;
    bool joinable() const;
    bool done() const;
    void detach() const;
};

}  // namespace handoff::detail
