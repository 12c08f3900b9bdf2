// What getaddrinfo says, as the errors of resolver.hpp.
#pragma once

#include <system_error>

namespace handoff::net {

// lookup_error is what a result of getaddrinfo means that is not 0; `system` is errno behind that call.
std::error_code lookup_error(int result, int system) noexcept;

}  // namespace handoff::net
