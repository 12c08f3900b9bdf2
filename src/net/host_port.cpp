#include <handoff/net/address.hpp>

#include "net/text.hpp"

#include <algorithm>

namespace handoff::net {
namespace {

bool may_be_in_host_name(char c) noexcept {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c == '.' || c == '-' || c == '_' || static_cast<unsigned char>(c) > 127;
}

problem read_host_port(std::string_view text, std::optional<std::uint16_t> default_port, host_port& to) {
    host_parts parts;
    if (const problem p = split_host(text, parts)) return p;
    if (!parts.port) parts.port = default_port;
    if (!parts.port) return invalid("it has no port");
    if (const problem p = parts.in_brackets ? check_v6(parts.host) : check_host_name(parts.host)) return p;
    to = {std::string(parts.host), *parts.port};
    return {};
}

host_port read(std::string_view text, std::optional<std::uint16_t> default_port) {
    host_port h;
    const problem p = read_host_port(text, default_port, h);
    return or_throw("host and port", text, p, h);
}

host_port read(std::string_view text, std::optional<std::uint16_t> default_port, std::error_code& ec) {
    host_port h;
    const problem p = read_host_port(text, default_port, h);
    return or_code(ec, p, h);
}

}  // namespace

problem check_host_name(std::string_view name) noexcept {
    if (!std::all_of(name.begin(), name.end(), may_be_in_host_name))
        return invalid("a host is made of letters, digits, \".\", \"-\" and \"_\"");
    if (name.ends_with('.')) name.remove_suffix(1);
    return name.size() > 253 ? invalid("a host has at most 253 bytes") : problem{};
}

host_port host_port::parse(std::string_view text) { return read(text, std::nullopt); }
host_port host_port::parse(std::string_view text, std::error_code& ec) { return read(text, std::nullopt, ec); }
host_port host_port::parse(std::string_view text, std::uint16_t default_port) { return read(text, default_port); }
host_port host_port::parse(std::string_view text, std::uint16_t default_port, std::error_code& ec) {
    return read(text, default_port, ec);
}

std::string host_port::to_string() const {
    const bool is_v6 = host.find(':') != host.npos;
    return (is_v6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

}  // namespace handoff::net
