// Addresses from text and back. The C library's inet_pton is as strict as we promise to be, so it reads the numbers; what it
// can't be given is a text with a NUL in it, where it would stop reading.
#include <handoff/net/address.hpp>

#include "net/text.hpp"
#include "os/errno.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace handoff::net {
namespace {

// read_bytes gives inet_pton a copy that ends with a NUL.
template <class Bytes>
bool read_bytes(int family, std::string_view text, Bytes& bytes) noexcept {
    char copy[INET6_ADDRSTRLEN]{};
    if (text.size() >= sizeof copy || text.find('\0') != text.npos) return false;
    std::copy(text.begin(), text.end(), copy);
    return inet_pton(family, copy, bytes.data()) == 1;
}

// The two parts of an IPv6 address: what stands before the first '%', and behind it.
struct v6_parts {
    std::string_view bytes, scope;
    bool has_scope;
    explicit v6_parts(std::string_view text) noexcept {
        const auto percent = text.find('%');
        bytes = text.substr(0, percent);
        has_scope = percent != text.npos;
        if (has_scope) scope = text.substr(percent + 1);
    }
};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// What the kernel lets an interface be called, but for its bytes above 127.
bool may_be_in_interface_name(char c) noexcept { return c > ' ' && c < 0x7f && c != '/' && c != ':'; }

// check_scope reads a scope that is a number, and leaves 0 where it is a name.
problem check_scope(std::string_view text, std::uint32_t& scope) noexcept {
    if (text.empty()) return invalid("its scope is empty");
    if (std::all_of(text.begin(), text.end(), is_digit)) {
        scope = read_decimal(text).value_or(0);
        if (scope == 0) return invalid("its scope is not a decimal number from 1 to 4294967295");
    } else if (text.size() >= IFNAMSIZ || !std::all_of(text.begin(), text.end(), may_be_in_interface_name)) {
        return invalid("its scope is neither a number nor the name of an interface");
    }
    return {};
}

// interface_number is the number of the interface with this name, or 0, and errno says why. The C library's if_nametoindex says
// ENOENT where it has no descriptor left to ask with. Any socket will do.
std::uint32_t interface_number(std::string_view name) noexcept {
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    ifreq request{};
    std::copy(name.begin(), name.end(), request.ifr_name);
    const bool is_there = ::ioctl(fd, SIOCGIFINDEX, &request) == 0;
    const int e = os::get_errno();
    ::close(fd);
    os::set_errno(e);
    return is_there ? static_cast<std::uint32_t>(request.ifr_ifindex) : 0;
}

problem read_scope(std::string_view text, std::uint32_t& scope) noexcept {
    if (const problem p = check_scope(text, scope)) return p;
    if (scope != 0) return {};
    scope = interface_number(text);
    if (scope != 0) return {};
    const int e = os::get_errno();
    const std::error_code code(e, std::generic_category());
    if (e == ENODEV) return {"there is no interface with the name of its scope", code};
    return {"the system does not say which interface has the name of its scope", code};
}

problem not_an_address() noexcept { return invalid("neither an IPv4 nor an IPv6 address"); }

}  // namespace

problem check_v6(std::string_view text) noexcept {
    const v6_parts parts(text);
    address::v6_bytes bytes;
    if (!read_bytes(AF_INET6, parts.bytes, bytes)) return invalid("what stands in its brackets is not an IPv6 address");
    std::uint32_t scope = 0;
    return parts.has_scope ? check_scope(parts.scope, scope) : problem{};
}

problem read_address(std::string_view text, address& a) noexcept {
    if (text.empty()) return invalid("it is empty");
    address::v4_bytes four;
    if (read_bytes(AF_INET, text, four)) {
        a = address::v4(four);
        return {};
    }
    const v6_parts parts(text);
    address::v6_bytes sixteen;
    if (!read_bytes(AF_INET6, parts.bytes, sixteen)) return not_an_address();
    std::uint32_t scope = 0;
    if (parts.has_scope)
        if (const problem p = read_scope(parts.scope, scope)) return p;
    a = address::v6(sixteen, scope);
    return {};
}

address address::parse(std::string_view text) {
    address a;
    const problem p = read_address(text, a);
    return or_throw("address", text, p, a);
}

address address::parse(std::string_view text, std::error_code& ec) noexcept {
    address a;
    const problem p = read_address(text, a);
    return or_code(ec, p, a);
}

std::string address::to_string() const {
    char text[INET6_ADDRSTRLEN];
    std::string result = inet_ntop(is_v6_ ? AF_INET6 : AF_INET, bytes_.data(), text, sizeof text);
    if (scope_ != 0) result += '%' + std::to_string(scope_);
    return result;
}

}  // namespace handoff::net

std::size_t std::hash<handoff::net::address>::operator()(const handoff::net::address& a) const noexcept {
    char all[16 + sizeof(std::uint32_t)]{};
    const auto bytes = a.bytes();
    const std::uint32_t scope = a.scope();
    std::memcpy(all, bytes.data(), bytes.size());
    std::memcpy(all + bytes.size(), &scope, sizeof scope);
    return std::hash<std::string_view>()({all, bytes.size() + sizeof scope});
}
