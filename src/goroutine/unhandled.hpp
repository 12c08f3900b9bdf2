// Exceptions that leave a goroutine's code.
#pragma once

#include <handoff/options.hpp>

#include <exception>
#include <functional>

namespace handoff::detail {

// caught_exception is std::current_exception() in a handler of `...` on a goroutine. If there is none, what was caught is the end
// of the thread (pthread_exit, pthread_cancel), by which the C library unwinds it: ends the process, with the goroutine's name.
std::exception_ptr caught_exception() noexcept;

// report_exception tells the handler, or else stderr before it ends the process, of an exception that nobody will see.
void report_exception(const goroutine_name& who, std::exception_ptr e,
                      const std::function<void(const goroutine_name&, std::exception_ptr)>& handler) noexcept;

}  // namespace handoff::detail
