// Endpoints. The bytes are kept as the kernel takes them, in one form for each meaning (see tidy), so that comparing and
// hashing is that of bytes. They are read and written by memcpy, as a sockaddr_storage is no sockaddr_in to the compiler.
#include <handoff/error.hpp>
#include <handoff/net/address.hpp>

#include "net/text.hpp"

#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace handoff::net {
namespace {

constexpr socklen_t name_at = offsetof(sockaddr_un, sun_path);
constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path);   // of a peer: Linux lets it do without a NUL
constexpr std::size_t longest_name = longest_path - 1;                // of ours: with the NUL behind a path, or before a name
static_assert(longest_name == 107);

constexpr std::string_view unix_prefix = "unix:";

template <class Sockaddr>
Sockaddr read_as(const sockaddr_storage& s) noexcept {
    Sockaddr a;
    std::memcpy(&a, &s, sizeof a);
    return a;
}

template <class Sockaddr>
void write(sockaddr_storage& s, const Sockaddr& a) noexcept {
    std::memcpy(&s, &a, sizeof a);
}

char* name_of(sockaddr_storage& s) noexcept { return reinterpret_cast<char*>(&s) + name_at; }

// tidy_unix cuts off what stands behind a path, and ends it with a NUL if there is room for one.
problem tidy_unix(sockaddr_storage& s, socklen_t& size) noexcept {
    char* const name = name_of(s);
    const std::size_t length = size - name_at;
    if (length == 0) return {};
    if (name[0] == '\0') return length > longest_path ? invalid("its abstract name is longer than 107 bytes") : problem{};
    // The kernel says 109 bytes of a path of 108: it counts a NUL that has no room in a sockaddr_un.
    const std::size_t path = strnlen(name, length);
    if (path > longest_path) return invalid("its path is longer than 108 bytes");
    if (path < longest_path) name[path] = '\0';
    size = static_cast<socklen_t>(name_at + std::min(path + 1, longest_path));
    return {};
}

// tidy gives a sockaddr, whose first `size` bytes have been written, the one form that it is kept in.
problem tidy(sockaddr_storage& s, socklen_t& size) noexcept {
    if (size == 0) return {};
    if (size > sizeof s) return invalid("it is longer than any address");
    if (size < sizeof(sa_family_t)) return invalid("it is too short to name its family");
    switch (s.ss_family) {
        case AF_UNSPEC: size = 0; return {};
        case AF_UNIX: return tidy_unix(s, size);
        case AF_INET: {
            if (size < sizeof(sockaddr_in)) return invalid("it is too short for an IPv4 address");
            size = sizeof(sockaddr_in);
            auto a = read_as<sockaddr_in>(s);
            std::memset(a.sin_zero, 0, sizeof a.sin_zero);
            write(s, a);
            return {};
        }
        case AF_INET6: {
            if (size < sizeof(sockaddr_in6)) return invalid("it is too short for an IPv6 address");
            size = sizeof(sockaddr_in6);
            auto a = read_as<sockaddr_in6>(s);
            a.sin6_flowinfo = 0;
            write(s, a);
            return {};
        }
        default: return {};
    }
}

problem read_sockaddr(const sockaddr* from, socklen_t size, endpoint& e) noexcept {
    if (size == 0) return {};
    if (from == nullptr) return invalid("there is none");
    sockaddr_storage s{};
    std::memcpy(&s, from, std::min<std::size_t>(size, sizeof s));
    if (const problem p = tidy(s, size)) return p;
    std::memcpy(e.storage(), &s, sizeof s);
    e.set_size(size);
    return {};
}

// set_name makes e the Unix socket with this name, which begins at `at` in sun_path: 0 for a path, 1 for an abstract name.
problem set_name(endpoint& e, std::string_view name, std::size_t at) noexcept {
    if (name.size() > longest_name)
        return {at == 0 ? "a path of a Unix socket has at most 107 bytes" : "an abstract name has at most 107 bytes",
                std::make_error_code(std::errc::filename_too_long)};
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), a.sun_path + at);
    std::memcpy(e.storage(), &a, sizeof a);
    e.set_size(static_cast<socklen_t>(name_at + at + name.size()));
    return {};
}

problem set_path(endpoint& e, std::string_view path) noexcept {
    if (path.empty()) return invalid("it is empty");
    if (path.find('\0') != path.npos) return invalid("a path of a Unix socket can't have a NUL in it");
    return set_name(e, path, 0);
}

problem set_abstract(endpoint& e, std::string_view name) noexcept { return set_name(e, name, 1); }

int hexadecimal(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// A name from the text in which it is escaped. A byte more than is allowed has room, so that it is noticed there.
class unescaped {
public:
    problem read(std::string_view text) noexcept {
        while (!text.empty() && size_ < sizeof bytes_) {
            const char c = text.front();
            text.remove_prefix(1);
            if (c != '\\') {
                bytes_[size_++] = c;
            } else if (text.starts_with('\\')) {
                bytes_[size_++] = c;
                text.remove_prefix(1);
            } else {
                const int high = text.size() >= 3 && text[0] == 'x' ? hexadecimal(text[1]) : -1;
                const int low = high < 0 ? -1 : hexadecimal(text[2]);
                if (low < 0) return invalid("a backslash in it is followed by neither \\ nor x and two hexadecimal digits");
                bytes_[size_++] = static_cast<char>(high * 16 + low);
                text.remove_prefix(3);
            }
        }
        return {};
    }

    std::string_view get() const noexcept { return {bytes_, size_}; }

private:
    char bytes_[longest_name + 1];
    std::size_t size_ = 0;
};

problem read_unix(std::string_view text, endpoint& e) noexcept {
    if (text.empty()) {
        e = endpoint::unix_unnamed();
        return {};
    }
    const bool abstract = text.front() == '@';
    unescaped name;
    if (const problem p = name.read(text.substr(abstract ? 1 : 0))) return p;
    return abstract ? set_abstract(e, name.get()) : set_path(e, name.get());
}

problem read_endpoint(std::string_view text, endpoint& e) noexcept {
    if (text.starts_with(unix_prefix)) return read_unix(text.substr(unix_prefix.size()), e);
    host_parts parts;
    if (const problem p = split_host(text, parts)) return p;
    if (!parts.port) return invalid("it has no port");
    address ip;
    if (const problem p = read_address(parts.host, ip)) return p;
    if (ip.is_v6() != parts.in_brackets) return invalid("an IPv4 address does not stand in brackets");
    e = endpoint(ip, *parts.port);
    return {};
}

std::string_view bytes_of(const endpoint& e) noexcept { return {reinterpret_cast<const char*>(e.data()), e.size()}; }

}  // namespace

endpoint::endpoint(const address& ip, std::uint16_t port) noexcept {
    if (ip.is_v4()) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(port);
        std::memcpy(&a.sin_addr, ip.bytes().data(), sizeof a.sin_addr);
        write(storage_, a);
        size_ = sizeof a;
    } else {
        sockaddr_in6 a{};
        a.sin6_family = AF_INET6;
        a.sin6_port = htons(port);
        a.sin6_scope_id = ip.scope();
        std::memcpy(&a.sin6_addr, ip.bytes().data(), sizeof a.sin6_addr);
        write(storage_, a);
        size_ = sizeof a;
    }
}

endpoint endpoint::unix_path(std::string_view path) {
    endpoint e;
    const problem p = set_path(e, path);
    return or_throw("path", path, p, e);
}

endpoint endpoint::unix_path(std::string_view path, std::error_code& ec) noexcept {
    endpoint e;
    const problem p = set_path(e, path);
    return or_code(ec, p, e);
}

endpoint endpoint::unix_abstract(std::string_view name) {
    endpoint e;
    const problem p = set_abstract(e, name);
    return or_throw("abstract name", name, p, e);
}

endpoint endpoint::unix_abstract(std::string_view name, std::error_code& ec) noexcept {
    endpoint e;
    const problem p = set_abstract(e, name);
    return or_code(ec, p, e);
}

endpoint endpoint::unix_unnamed() noexcept {
    endpoint e;
    e.storage_.ss_family = AF_UNIX;
    e.size_ = name_at;
    return e;
}

endpoint endpoint::from(const sockaddr* a, socklen_t size) {
    endpoint e;
    const problem p = read_sockaddr(a, size, e);
    return or_throw("sockaddr of length", p ? std::to_string(size) : std::string(), p, e);
}

endpoint endpoint::from(const sockaddr* a, socklen_t size, std::error_code& ec) noexcept {
    endpoint e;
    const problem p = read_sockaddr(a, size, e);
    return or_code(ec, p, e);
}

void endpoint::set_size(socklen_t size) noexcept {
    const problem p = tidy(storage_, size);
    size_ = p ? 0 : size;
}

endpoint endpoint::parse(std::string_view text) {
    endpoint e;
    const problem p = read_endpoint(text, e);
    return or_throw("endpoint", text, p, e);
}

endpoint endpoint::parse(std::string_view text, std::error_code& ec) noexcept {
    endpoint e;
    const problem p = read_endpoint(text, e);
    return or_code(ec, p, e);
}

std::string endpoint::to_string() const {
    if (is_ip()) {
        const address a = ip();
        const std::string host = a.to_string();
        return (a.is_v6() ? '[' + host + ']' : host) + ':' + std::to_string(port());
    }
    if (!is_unix()) return size_ == 0 ? "nothing" : "family " + std::to_string(family());
    std::string text(unix_prefix);
    if (has_abstract_name()) {
        append_escaped(text += '@', abstract_name());
    } else if (const std::string_view p = path(); p.starts_with('@')) {
        append_escaped(text += "\\x40", p.substr(1));
    } else {
        append_escaped(text, p);
    }
    return text;
}

address endpoint::ip() const {
    if (family() == AF_INET) {
        address::v4_bytes b;
        std::memcpy(b.data(), reinterpret_cast<const char*>(&storage_) + offsetof(sockaddr_in, sin_addr), b.size());
        return address::v4(b);
    }
    if (family() != AF_INET6) throw usage_error("handoff: ip() of the endpoint " + to_string() + ", which has none");
    const auto a = read_as<sockaddr_in6>(storage_);
    address::v6_bytes b;
    std::memcpy(b.data(), &a.sin6_addr, b.size());
    return address::v6(b, a.sin6_scope_id);
}

std::uint16_t endpoint::port() const {
    if (!is_ip()) throw usage_error("handoff: port() of the endpoint " + to_string() + ", which has none");
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    return ntohs(read_as<sockaddr_in>(storage_).sin_port);
}

std::string_view endpoint::path() const noexcept {
    if (!is_unix() || has_abstract_name()) return {};
    const std::string_view name = bytes_of(*this).substr(name_at);
    return name.substr(0, name.find('\0'));
}

std::string_view endpoint::abstract_name() const noexcept {
    return has_abstract_name() ? bytes_of(*this).substr(name_at + 1) : std::string_view();
}

bool endpoint::has_abstract_name() const noexcept {
    return is_unix() && size_ > name_at && bytes_of(*this)[name_at] == '\0';
}

bool operator==(const endpoint& a, const endpoint& b) noexcept { return bytes_of(a) == bytes_of(b); }

std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept {
    if (a.family() != b.family()) return a.family() <=> b.family();
    if (!a.is_ip()) return bytes_of(a) <=> bytes_of(b);
    if (const auto order = a.ip() <=> b.ip(); order != 0) return order;
    return a.port() <=> b.port();
}

}  // namespace handoff::net

std::size_t std::hash<handoff::net::endpoint>::operator()(const handoff::net::endpoint& e) const noexcept {
    return std::hash<std::string_view>()(handoff::net::bytes_of(e));
}
