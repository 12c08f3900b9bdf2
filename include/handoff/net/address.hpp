// Addresses as values: address (IPv4 or IPv6), endpoint (what a socket is bound or connected to) and host_port (a name that
// has yet to be resolved). All are plain values: several threads may read one, and none of their functions switches or moves
// to another thread. None waits, either; the only ones that ask the kernel are those that parse an address whose scope is the
// name of an interface. (If there is none, and the caller may load modules, the kernel looks for one that brings it: that takes
// milliseconds, and holds the processor.) All take time linear in the text.
//
// What parses takes the whole text, and nothing else than what its comment says: no spaces, no octal or hexadecimal parts,
// no further text. One form throws std::system_error, whose what() names the text and what is wrong with it; the other one
// sets a std::error_code, or clears it, and returns a default value if it fails. The errors are invalid_argument and, where
// mentioned, others. What is printed is printable ASCII.
#pragma once

#include <handoff/detail/export.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace handoff::net {

// An IPv4 address, or an IPv6 address with its scope. Twenty-four bytes. IPv4 addresses come before IPv6 addresses, then the
// bytes count, then the scope. An IPv4 address is not equal to the IPv6 address that it is mapped to.
class address {
public:
    using v4_bytes = std::array<std::uint8_t, 4>;    // in the order in which they are written and sent
    using v6_bytes = std::array<std::uint8_t, 16>;

    // 0.0.0.0
    constexpr address() noexcept = default;

    static constexpr address v4(v4_bytes b) noexcept {
        address a;
        std::copy(b.begin(), b.end(), a.bytes_.begin());
        return a;
    }
    // `scope` is the number of the interface (see if_nametoindex(3)) by which a link-local address is reached; 0 is none.
    static constexpr address v6(const v6_bytes& b, std::uint32_t scope = 0) noexcept {
        address a;
        a.is_v6_ = true;
        a.bytes_ = b;
        a.scope_ = scope;
        return a;
    }

    static constexpr address any_v4() noexcept { return v4({}); }                                // 0.0.0.0
    static constexpr address any_v6() noexcept { return v6({}); }                                // ::
    static constexpr address loopback_v4() noexcept { return v4({127, 0, 0, 1}); }               // 127.0.0.1
    static constexpr address loopback_v6() noexcept { return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}); }   // ::1
    static constexpr address broadcast_v4() noexcept { return v4({255, 255, 255, 255}); }        // 255.255.255.255

    // parse reads an IPv4 address in four decimal parts, or an IPv6 address with or without a scope: 192.0.2.1, 2001:db8::1,
    // ::ffff:192.0.2.1, fe80::1%2, fe80::1%eth0. A scope that is made of digits is a number from 1 on, without leading zeros.
    // Any other one is an interface's name, which the kernel is asked for; where it knows none of that name, the error is
    // no_such_device, and another one (too_many_files_open, for example) if it can't be asked.
    HANDOFF_API static address parse(std::string_view text);
    HANDOFF_API static address parse(std::string_view text, std::error_code& ec) noexcept;

    // to_string prints what parse reads: IPv6 as RFC 5952 says, the scope as a number. (An interface may get another name at
    // any time, and asking for it takes a system call.) Throws std::bad_alloc.
    HANDOFF_API std::string to_string() const;

    constexpr bool is_v4() const noexcept { return !is_v6_; }
    constexpr bool is_v6() const noexcept { return is_v6_; }

    // bytes are the four or sixteen bytes, in the order in which they are written and sent. They live as long as the address.
    constexpr std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.data(), is_v6_ ? 16u : 4u}; }
    // 0 for an IPv4 address.
    constexpr std::uint32_t scope() const noexcept { return scope_; }

    // What an address is for. A v4-mapped address is for what the IPv4 address in it is for, since the kernel reaches it as
    // that: who keeps others from the loopback addresses has to keep them from ::ffff:127.0.0.1, too.
    constexpr bool is_unspecified() const noexcept;   // 0.0.0.0, ::
    constexpr bool is_loopback() const noexcept;      // 127.0.0.0/8, ::1
    constexpr bool is_multicast() const noexcept;     // 224.0.0.0/4, ff00::/8
    constexpr bool is_link_local() const noexcept;    // 169.254.0.0/16, fe80::/10

    // is_v4_mapped: one of ::ffff:0:0/96, as which an IPv6 socket knows its IPv4 peers.
    constexpr bool is_v4_mapped() const noexcept {
        return is_v6_ && std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin());
    }
    // to_v4_mapped: of an IPv4 address the IPv6 address that it is mapped to. An IPv6 address stays what it is.
    constexpr address to_v4_mapped() const noexcept {
        if (is_v6_) return *this;
        address a = v6({});
        std::copy(mapped_prefix.begin(), mapped_prefix.end(), a.bytes_.begin());
        std::copy(bytes_.begin(), bytes_.begin() + 4, a.bytes_.begin() + mapped_prefix.size());
        return a;
    }
    // unmap: of a v4-mapped address the IPv4 address in it, which has no scope. Any other one stays what it is.
    constexpr address unmap() const noexcept {
        if (!is_v4_mapped()) return *this;
        return v4({bytes_[12], bytes_[13], bytes_[14], bytes_[15]});
    }

    friend constexpr bool operator==(const address&, const address&) noexcept = default;
    friend constexpr std::strong_ordering operator<=>(const address&, const address&) noexcept = default;

private:
    static constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    // In this order they are compared.
    bool is_v6_ = false;
    v6_bytes bytes_{};   // of an IPv4 address the first four; the others are 0
    std::uint32_t scope_ = 0;
};

constexpr bool address::is_unspecified() const noexcept {
    const auto b = unmap().bytes_;
    return std::all_of(b.begin(), b.end(), [](std::uint8_t x) { return x == 0; });
}

constexpr bool address::is_loopback() const noexcept {
    const address a = unmap();
    return a.is_v6_ ? a.bytes_ == loopback_v6().bytes_ : a.bytes_[0] == 127;
}

constexpr bool address::is_multicast() const noexcept {
    const address a = unmap();
    return a.is_v6_ ? a.bytes_[0] == 0xff : (a.bytes_[0] & 0xf0) == 0xe0;
}

constexpr bool address::is_link_local() const noexcept {
    const address a = unmap();
    return a.is_v6_ ? a.bytes_[0] == 0xfe && (a.bytes_[1] & 0xc0) == 0x80 : a.bytes_[0] == 169 && a.bytes_[1] == 254;
}

// What a socket is bound or connected to: an IP address and a port, or the name of a Unix socket; in the form in which the
// kernel takes it. Of another family (AF_VSOCK, AF_NETLINK), it holds what the kernel has said, which can be passed on. It
// may also hold nothing, as the sender of a datagram that came without one does.
//
// A Unix socket has a path, or an abstract name (unix(7): any bytes, in no file system), or no name at all. A path or name
// has at most 107 bytes; one that is longer is the error filename_too_long. A peer may be bound to a path of 108 bytes, the
// most that Linux takes: such an endpoint comes from the kernel, and works, but no text gives it.
//
// Two endpoints are equal if all of that is. The order is by the family's number, which is 0 for nothing: Unix, IPv4, IPv6;
// then by address and port, or by the bytes of the name, a path after abstract names. 136 bytes.
class endpoint {
public:
    // Holds nothing: size() is 0, family() AF_UNSPEC.
    endpoint() noexcept = default;

    HANDOFF_API endpoint(const address& ip, std::uint16_t port) noexcept;

    // unix_path is a socket in the file system, relative to the working directory if `path` does not begin with "/". A path
    // that is empty or has a NUL in it is invalid_argument.
    HANDOFF_API static endpoint unix_path(std::string_view path);
    HANDOFF_API static endpoint unix_path(std::string_view path, std::error_code& ec) noexcept;
    // unix_abstract is the socket that is abstract and called `name`, without the NUL that comes before it in sun_path.
    HANDOFF_API static endpoint unix_abstract(std::string_view name);
    HANDOFF_API static endpoint unix_abstract(std::string_view name, std::error_code& ec) noexcept;
    // unix_unnamed is what a Unix socket has before it is bound. Who binds to it gets an abstract name that the kernel chooses.
    HANDOFF_API static endpoint unix_unnamed() noexcept;

    // from copies what a system call has said. Nothing of length 0 is an endpoint that holds nothing. invalid_argument: the
    // length does not fit the family, or exceeds capacity(). What makes no difference to whom it reaches is left out: the flow
    // label of IPv6, what stands behind a path.
    HANDOFF_API static endpoint from(const sockaddr* a, socklen_t size);
    HANDOFF_API static endpoint from(const sockaddr* a, socklen_t size, std::error_code& ec) noexcept;

    // parse reads what to_string prints:
    //
    //     127.0.0.1:80   [::1]:443   [fe80::1%2]:80   [fe80::1%eth0]:80     an address as address::parse reads it, and a port
    //     unix:/run/x.sock   unix:x.sock                                    a path
    //     unix:@name   unix:@                                               an abstract name, which may be empty
    //     unix:                                                             unnamed
    //
    // A port is 0 to 65535, in decimal and without leading zeros. In a path or a name \\ is a backslash, and \xNN the byte
    // with that number in two hexadecimal digits: \x00 a NUL, which a path can't have, and \x40 at the beginning of a path the
    // "@" that would make it an abstract name. Besides the error of address::parse and filename_too_long it is
    // invalid_argument.
    HANDOFF_API static endpoint parse(std::string_view text);
    HANDOFF_API static endpoint parse(std::string_view text, std::error_code& ec) noexcept;

    // to_string: see parse. Of a name it writes as \xNN all bytes but printable ASCII. What parse does not read back is
    // "nothing", and "family 40" for one of another family. Throws std::bad_alloc.
    HANDOFF_API std::string to_string() const;

    // AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC if it holds nothing; another one if the kernel has said so.
    int family() const noexcept { return size_ == 0 ? AF_UNSPEC : storage_.ss_family; }
    bool is_ip() const noexcept { return family() == AF_INET || family() == AF_INET6; }
    bool is_unix() const noexcept { return family() == AF_UNIX; }

    // ip and port are of an IP endpoint; of any other one they throw usage_error.
    HANDOFF_API address ip() const;
    HANDOFF_API std::uint16_t port() const;

    // path is a Unix endpoint's path, and abstract_name its abstract name; empty if it has none of that kind. They live as
    // long as the endpoint, and as long as it is not changed. (has_abstract_name tells an empty name from none.)
    HANDOFF_API std::string_view path() const noexcept;
    HANDOFF_API std::string_view abstract_name() const noexcept;
    HANDOFF_API bool has_abstract_name() const noexcept;

    // For system calls that take an endpoint: data() and size().
    const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t size() const noexcept { return size_; }

    // For system calls that write one: storage() has room for capacity() bytes, and set_size is called with the length that
    // the kernel has answered. Between storage() and set_size the endpoint is good for nothing else. set_size leaves out what
    // `from` leaves out; of what `from` refuses, which no kernel says, nothing is left.
    sockaddr* storage() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
    static constexpr socklen_t capacity() noexcept { return sizeof(sockaddr_storage); }
    HANDOFF_API void set_size(socklen_t size) noexcept;

    HANDOFF_API friend bool operator==(const endpoint& a, const endpoint& b) noexcept;
    HANDOFF_API friend std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept;

private:
    sockaddr_storage storage_{};
    socklen_t size_ = 0;   // 0, or what fits the family: all bytes up to here say something, so that they can be compared
};

// A host by name or address, and a port: what is written in configurations, and connected to after the name is resolved.
struct host_port {
    std::string host;   // an IPv6 address without its brackets; empty in ":80", which listeners take for all addresses
    std::uint16_t port = 0;

    // parse reads example.com:80, 192.0.2.1:80, [2001:db8::1]:80, [fe80::1%eth0]:80, :80; with `default_port` also example.com
    // and [2001:db8::1]. A port is as in endpoint::parse; names of services (http) are not looked up. A host is made of letters,
    // digits, ".", "-", "_" and bytes above 127, and has at most 253 bytes, besides a dot at its end; or it is an IPv6 address
    // in brackets. Without them, an address is refused, since nobody can tell where its port begins. Whether there is such a
    // host, or interface, is not asked. Throws std::bad_alloc, too, in either form.
    HANDOFF_API static host_port parse(std::string_view text);
    HANDOFF_API static host_port parse(std::string_view text, std::error_code& ec);
    HANDOFF_API static host_port parse(std::string_view text, std::uint16_t default_port);
    HANDOFF_API static host_port parse(std::string_view text, std::uint16_t default_port, std::error_code& ec);

    // to_string prints what parse reads, always with the port. Throws std::bad_alloc.
    HANDOFF_API std::string to_string() const;

    friend bool operator==(const host_port&, const host_port&) = default;
};

}  // namespace handoff::net

template <>
struct std::hash<handoff::net::address> {
    HANDOFF_API std::size_t operator()(const handoff::net::address& a) const noexcept;
};

template <>
struct std::hash<handoff::net::endpoint> {
    HANDOFF_API std::size_t operator()(const handoff::net::endpoint& e) const noexcept;
};
