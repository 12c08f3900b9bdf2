// Exceptions that leave a goroutine's code.
#pragma once

#include <handoff/options.hpp>

#include <exception>
#include <functional>

namespace handoff::detail {

// caught_exception is std::current_exception() in a handler of `...` on a goroutine. If there is none, the C library is
// unwinding the thread to end it (pthread_exit, pthread_cancel): then it ends the process, with the goroutine's name.
std::exception_ptr caught_exception() noexcept;

// report_exception reports an exception that no join will see: to the handler, or, if there is none, to stderr, and then ends
// the process.
void report_exception(const goroutine_name& who, std::exception_ptr e,
                      const std::function<void(const goroutine_name&, std::exception_ptr)>& handler) noexcept;

}  // namespace handoff::detail
