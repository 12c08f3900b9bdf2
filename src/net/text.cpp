#include "net/text.hpp"

#include <charconv>

namespace handoff::net {

void fail(const char* what, std::string_view text, const problem& p) {
    constexpr std::size_t shown = 200;   // enough for a path; who sends megabytes need not find them in a log
    std::string message = std::string("handoff: ") + what + " \"";
    append_escaped(message, text.substr(0, shown));
    message += text.size() > shown ? "...\": " : "\": ";
    throw std::system_error(p.code, message + p.why);
}

std::optional<std::uint32_t> read_decimal(std::string_view text) noexcept {
    if (text.size() > 1 && text.front() == '0') return std::nullopt;
    std::uint32_t n = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, n);
    if (error != std::errc() || stopped != end) return std::nullopt;
    return n;
}

void append_escaped(std::string& to, std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\\') {
            to += "\\\\";
        } else if (byte >= 0x20 && byte < 0x7f) {
            to += c;
        } else {
            to += "\\x";
            to += digits[byte >> 4];
            to += digits[byte & 15];
        }
    }
}

problem split_host(std::string_view text, host_parts& parts) noexcept {
    if (text.empty()) return invalid("it is empty");
    parts.in_brackets = text.front() == '[';
    std::string_view rest;
    if (parts.in_brackets) {
        // The last one: the name of an interface may have a bracket in it.
        const auto close = text.rfind(']');
        if (close == text.npos) return invalid("its bracket is not closed");
        parts.host = text.substr(1, close - 1);
        rest = text.substr(close + 1);
        if (!rest.empty() && rest.front() != ':') return invalid("what follows its bracket is not a colon and a port");
    } else {
        parts.host = text.substr(0, text.find(':'));
        rest = text.substr(parts.host.size());
        if (rest.find(':', 1) != rest.npos) return invalid("it has several colons; an IPv6 address stands in brackets");
    }
    if (rest.empty()) return {};
    const auto port = read_decimal(rest.substr(1));
    if (!port || *port > 65535) return invalid("its port is not a decimal number from 0 to 65535");
    parts.port = static_cast<std::uint16_t>(*port);
    return {};
}

}  // namespace handoff::net
