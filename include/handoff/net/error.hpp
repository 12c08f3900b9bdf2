// Errors of sockets that the operating system has no number for.
#pragma once

#include <handoff/detail/export.hpp>

#include <system_error>

namespace handoff::net {

enum class net_errc {
    closed = 1,         // the socket was closed by the program, also while the operation waited; or it never was open
    self_connect = 2,   // a connection to a port where nobody listens, from that very port
    not_pollable = 4,   // a descriptor that can't be waited for, as a file's: its operations never have to wait, or block
};

HANDOFF_API const std::error_category& net_category() noexcept;
inline std::error_code make_error_code(net_errc e) noexcept { return {static_cast<int>(e), net_category()}; }

}  // namespace handoff::net

template <>
struct std::is_error_code_enum<handoff::net::net_errc> : std::true_type {};
