// What reading addresses, endpoints and hosts from text has in common: the parts of a text, and what is wrong with it.
//
// All that reads returns a problem and allocates nothing, so that the forms with a std::error_code can be noexcept. Only those
// that throw make a sentence of the problem.
#pragma once

#include <handoff/net/address.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace handoff::net {

// What is wrong; nothing, if `why` is null.
struct [[nodiscard]] problem {
    const char* why = nullptr;
    std::error_code code;

    explicit operator bool() const noexcept { return why != nullptr; }
};

inline problem invalid(const char* why) noexcept { return {why, std::make_error_code(std::errc::invalid_argument)}; }

// fail throws the problem with `text`, which was to be read as a `what`.
[[noreturn]] void fail(const char* what, std::string_view text, const problem& p);

// or_throw and or_code are the ends of a function's two forms: they return what has been read, or fail with the problem.
template <class T>
T or_throw(const char* what, std::string_view text, const problem& p, const T& value) {
    if (p) fail(what, text, p);
    return value;
}
template <class T>
T or_code(std::error_code& ec, const problem& p, const T& value) noexcept(noexcept(T(value))) {
    ec = p.code;
    return p ? T() : value;
}

// read_decimal: digits alone, without a sign and without leading zeros.
std::optional<std::uint32_t> read_decimal(std::string_view text) noexcept;

// append_escaped appends the text with \\ for a backslash and \xNN for whatever is not printable ASCII.
void append_escaped(std::string& to, std::string_view text);

// read_address reads an address of either kind.
problem read_address(std::string_view text, address& a) noexcept;

// check_v6 says what is wrong with an IPv6 address with or without a scope, but not whether there is such an interface.
problem check_v6(std::string_view text) noexcept;

// check_host_name says what is wrong with a name of a host; an empty one is none of its business.
problem check_host_name(std::string_view name) noexcept;

// The parts of "host:port", "[host]:port", "host", "[host]".
struct host_parts {
    std::string_view host;   // without brackets
    bool in_brackets = false;
    std::optional<std::uint16_t> port;
};
problem split_host(std::string_view text, host_parts& parts) noexcept;

}  // namespace handoff::net
