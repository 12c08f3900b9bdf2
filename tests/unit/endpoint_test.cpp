// Endpoints: what is read and printed, what the kernel takes and says, limits of names, how they compare.
#include "addresses.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <unordered_set>

using handoff::usage_error;
using handoff::net::address;
using handoff::net::endpoint;
using namespace handoff_test;

namespace {

static_assert(sizeof(endpoint) == 136 && std::is_trivially_copyable_v<endpoint>);
static_assert(std::is_nothrow_default_constructible_v<endpoint> && endpoint::capacity() == 128);
static_assert(noexcept(endpoint::parse({}, std::declval<std::error_code&>())) && noexcept(endpoint().set_size(0)));

constexpr std::size_t head = offsetof(sockaddr_un, sun_path);

// A descriptor of the kernel's own kind.
class socket_of {
public:
    explicit socket_of(int family, int type = SOCK_STREAM) : fd_(::socket(family, type | SOCK_CLOEXEC, 0)) {}
    ~socket_of() { ::close(fd_); }
    socket_of(const socket_of&) = delete;
    socket_of& operator=(const socket_of&) = delete;

    int fd() const { return fd_; }
    bool bind(const endpoint& e) const { return ::bind(fd_, e.data(), e.size()) == 0; }
    bool bind_and_listen(const endpoint& e) const { return bind(e) && ::listen(fd_, 1) == 0; }
    bool connect(const endpoint& e) const { return ::connect(fd_, e.data(), e.size()) == 0; }

    // What the kernel says about one end, or the other one.
    endpoint name(int (*ask)(int, sockaddr*, socklen_t*) = ::getsockname) const {
        endpoint e;
        socklen_t size = endpoint::capacity();
        EXPECT_EQ(ask(fd_, e.storage(), &size), 0);
        e.set_size(size);
        return e;
    }
    endpoint peer() const { return name(::getpeername); }

private:
    int fd_;
};

// A directory for sockets, and the way to them; it is removed with what is in it.
class directory {
public:
    directory() {
        EXPECT_NE(::mkdtemp(name_), nullptr);
        here_ = ::getcwd(before_, sizeof before_) != nullptr && ::chdir(name_) == 0;
        EXPECT_TRUE(here_);
    }
    ~directory() {
        for (const auto& path : paths_) ::unlink(path.c_str());
        EXPECT_TRUE(!here_ || ::chdir(before_) == 0);
        EXPECT_EQ(::rmdir(name_), 0);
    }
    directory(const directory&) = delete;
    directory& operator=(const directory&) = delete;

    // A path relative to the directory, in which the test runs.
    const std::string& path(std::string p) { return paths_.emplace_back(std::move(p)); }

private:
    char name_[32] = "/tmp/handoff_endpoint_XXXXXX";
    char before_[4096];
    bool here_ = false;
    std::vector<std::string> paths_;
};

// What is in a sockaddr, as `from` takes it, with a length of its own.
template <class Sockaddr>
endpoint from(const Sockaddr& a, std::size_t size = sizeof(Sockaddr)) {
    return endpoint::from(reinterpret_cast<const sockaddr*>(&a), static_cast<socklen_t>(size));
}
template <class Sockaddr>
std::error_code from_refused(const Sockaddr& a, std::size_t size) {
    return refused([&](auto&... ec) {
        return endpoint::from(reinterpret_cast<const sockaddr*>(&a), static_cast<socklen_t>(size), ec...);
    }, "sockaddr of length \"" + std::to_string(size) + '"');
}

// A sockaddr of a Unix socket with these bytes, whatever they are, and more room than it has.
sockaddr_storage unix_with(std::string_view bytes) {
    sockaddr_storage s{};
    s.ss_family = AF_UNIX;
    std::memcpy(reinterpret_cast<char*>(&s) + head, bytes.data(), bytes.size());
    return s;
}

TEST(endpoints, print_what_they_are_read_from) {
    const struct {
        std::string_view text, printed;
        endpoint is;
    } cases[] = {
        {"127.0.0.1:80", "127.0.0.1:80", {address::loopback_v4(), 80}},
        {"0.0.0.0:0", "0.0.0.0:0", {address(), 0}},
        {"255.255.255.255:65535", "255.255.255.255:65535", {address::broadcast_v4(), 65535}},
        {"[::1]:443", "[::1]:443", {address::loopback_v6(), 443}},
        {"[0:0::]:1", "[::]:1", {address::any_v6(), 1}},
        {"[fe80::1%2]:80", "[fe80::1%2]:80", {address::parse("fe80::1%2"), 80}},
        {"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80", {address::parse("::ffff:1.2.3.4"), 80}},
        {"unix:", "unix:", endpoint::unix_unnamed()},
        {"unix:/run/x.sock", "unix:/run/x.sock", endpoint::unix_path("/run/x.sock")},
        {"unix:x", "unix:x", endpoint::unix_path("x")},
        {"unix:80", "unix:80", endpoint::unix_path("80")},
        {"unix:a b:c[d]", "unix:a b:c[d]", endpoint::unix_path("a b:c[d]")},
        {"unix:\\x40x", "unix:\\x40x", endpoint::unix_path("@x")},
        {"unix:x@", "unix:x@", endpoint::unix_path("x@")},
        {"unix:\\x40@x", "unix:\\x40@x", endpoint::unix_path("@@x")},
        {"unix:\\\\x41", "unix:\\\\x41", endpoint::unix_path("\\x41")},
        {"unix:\\x41\\x6A\\x6a", "unix:Ajj", endpoint::unix_path("Ajj")},
        {"unix:\xc3\xbc\n", "unix:\\xc3\\xbc\\x0a", endpoint::unix_path("\xc3\xbc\n")},
        {"unix:@", "unix:@", endpoint::unix_abstract("")},
        {"unix:@name", "unix:@name", endpoint::unix_abstract("name")},
        {"unix:@@name", "unix:@@name", endpoint::unix_abstract("@name")},
        {"unix:@\\x00a\\x00", "unix:@\\x00a\\x00", endpoint::unix_abstract("\0a\0"sv)},
        {"unix:@\0a\0"sv, "unix:@\\x00a\\x00", endpoint::unix_abstract("\0a\0"sv)},
        {"unix:@\\xff\\xFE", "unix:@\\xff\\xfe", endpoint::unix_abstract("\xff\xfe")},
    };
    for (const auto& c : cases) {
        const auto e = accepted<endpoint>(c.text);
        EXPECT_TRUE(e == c.is) << c.text;
        EXPECT_EQ(e.to_string(), c.printed);
        EXPECT_TRUE(accepted<endpoint>(c.printed) == e) << c.text;
    }
}

TEST(endpoints, are_refused_unless_all_of_the_text_is_one) {
    const std::string_view cases[] = {
        "", ":", ":80", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:+80", "127.0.0.1:-0", "127.0.0.1:080", "127.0.0.1:65536",
        "127.0.0.1:4294967376", "127.0.0.1:80 ", "127.0.0.1: 80", " 127.0.0.1:80", "127.0.0.1 :80", "127.0.0.1:80\0"sv,
        "127.0.0.1\0:80"sv, "127.0.0.1:0x50", "127.0.0.1:http", "127.0.0.1:80:80", "127.0.0.01:80", "127.1:80",
        "localhost:80", "[127.0.0.1]:80", "::1:80", "::1", "[::1]", "[::1]:", "[::1]80", "[::1:80", "::1]:80", "[]:80",
        "[[::1]]:80", "[::1]:65536", "[::1] :80", "[::1%]:80", "[fe80::1%0]:80", "[localhost]:80", "UNIX:x", "unix",
        "unix :x", "unix:\\", "unix:\\x", "unix:\\x4", "unix:\\xg0", "unix:\\x0g", "unix:\\n", "unix:\\X41", "unix:\\x 4",
        "unix:a\\x00b", "unix:a\0b"sv, "unix:\\x00", "unix:\0"sv, "unix:@\\", "unix:@\\x1", "nothing", "family 40",
    };
    for (const auto text : cases) EXPECT_EQ(parse_refused<endpoint>(text, "endpoint \""), std::errc::invalid_argument) << text;
    EXPECT_EQ(parse_refused<endpoint>("[fe80::1%no%such,[one]]:80", "there is no interface"), std::errc::no_such_device);
}

TEST(endpoints, of_ip_have_an_address_and_a_port) {
    for (const auto& a : {address::v4({1, 2, 3, 4}), address::parse("2001:db8::1"), address::parse("fe80::1%70000")}) {
        const endpoint e(a, 0x1234);
        EXPECT_TRUE(e.ip() == a);
        EXPECT_EQ(e.port(), 0x1234);
        EXPECT_TRUE(e.is_ip() && !e.is_unix());
        EXPECT_EQ(e.family(), a.is_v4() ? AF_INET : AF_INET6);
        EXPECT_EQ(e.size(), a.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        EXPECT_TRUE(endpoint::from(e.data(), e.size()) == e);
        EXPECT_TRUE(e.path().empty() && e.abstract_name().empty() && !e.has_abstract_name());
    }
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(0x1234);
    in.sin_addr.s_addr = htonl(0x01020304);
    EXPECT_EQ(std::memcmp(endpoint(address::v4({1, 2, 3, 4}), 0x1234).data(), &in, sizeof in), 0);
}

TEST(endpoints, of_unix_have_a_path_or_an_abstract_name) {
    const auto path = endpoint::unix_path("@x"), abstract = endpoint::unix_abstract("\0x"sv), unnamed = endpoint::unix_unnamed();
    EXPECT_EQ(path.path(), "@x");
    EXPECT_EQ(path.abstract_name(), "");
    EXPECT_EQ(abstract.path(), "");
    EXPECT_EQ(abstract.abstract_name(), "\0x"sv);
    EXPECT_TRUE(unnamed.path().empty() && unnamed.abstract_name().empty());
    EXPECT_TRUE(abstract.has_abstract_name() && endpoint::unix_abstract("").has_abstract_name());
    EXPECT_FALSE(path.has_abstract_name() || unnamed.has_abstract_name());
    for (const auto& e : {path, abstract, unnamed}) {
        EXPECT_TRUE(e.is_unix() && !e.is_ip() && e.family() == AF_UNIX);
        EXPECT_TRUE(endpoint::from(e.data(), e.size()) == e);
        EXPECT_THROW((void)e.ip(), usage_error);
        EXPECT_THROW((void)e.port(), usage_error);
    }
    EXPECT_EQ(path.size(), head + 3);
    EXPECT_EQ(abstract.size(), head + 3);
    EXPECT_EQ(unnamed.size(), head);
}

TEST(endpoints, have_names_of_107_bytes_at_most) {
    const std::string longest(107, 'p'), longer(108, 'p');
    const auto path = [](const std::string& p) { return [p](auto&... ec) { return endpoint::unix_path(p, ec...); }; };
    const auto abstract = [](const std::string& n) { return [n](auto&... ec) { return endpoint::unix_abstract(n, ec...); }; };
    std::error_code ec = std::make_error_code(std::errc::io_error);
    EXPECT_EQ(path(longest)(ec).path(), longest);
    EXPECT_FALSE(ec);
    EXPECT_EQ(abstract(longest)(ec).abstract_name(), longest);
    EXPECT_EQ(accepted<endpoint>("unix:" + longest).path(), longest);
    EXPECT_EQ(accepted<endpoint>("unix:@" + longest).abstract_name(), longest);
    const std::errc too_long = std::errc::filename_too_long;
    EXPECT_EQ(refused(path(longer), "path \"" + longer + '"', "107 bytes"), too_long);
    EXPECT_EQ(refused(abstract(longer), "abstract name \"" + longer + '"', "107 bytes"), too_long);
    EXPECT_EQ(refused(path(std::string(100'000, 'p')), "107 bytes"), too_long);
    EXPECT_EQ(parse_refused<endpoint>("unix:" + longer, "107 bytes"), too_long);
    EXPECT_EQ(parse_refused<endpoint>("unix:@" + longer, "107 bytes"), too_long);
    EXPECT_EQ(parse_refused<endpoint>("unix:" + std::string(5000, 'p'), "107 bytes"), too_long);
    // An escaped byte is one byte.
    std::string escaped;
    for (int i = 0; i < 107; ++i) escaped += "\\x00";
    EXPECT_EQ(accepted<endpoint>("unix:@" + escaped).abstract_name(), std::string(107, '\0'));
    EXPECT_EQ(parse_refused<endpoint>("unix:@" + escaped + "\\x00", "107 bytes"), too_long);
    EXPECT_EQ(refused(path(""), "it is empty"), std::errc::invalid_argument);
    EXPECT_EQ(refused(path("a\0b"s), "path \"a\\x00b\"", "NUL"), std::errc::invalid_argument);
}

// The kernel writes nothing of a peer that has no name, and all that it writes fits.
TEST(endpoints, that_hold_nothing_say_so) {
    const endpoint e;
    EXPECT_EQ(e.size(), 0u);
    EXPECT_EQ(e.family(), AF_UNSPEC);
    EXPECT_FALSE(e.is_ip() || e.is_unix() || e.has_abstract_name());
    EXPECT_TRUE(e.path().empty() && e.abstract_name().empty());
    EXPECT_EQ(e.to_string(), "nothing");
    EXPECT_THROW((void)e.ip(), usage_error);
    EXPECT_THROW((void)e.port(), usage_error);
    EXPECT_TRUE(endpoint::from(nullptr, 0) == e);
    EXPECT_TRUE(from(sockaddr_storage{}) == e);
    endpoint was(address::loopback_v4(), 80);
    was.set_size(0);
    EXPECT_TRUE(was == e);
}

TEST(endpoints, have_one_form_for_each_meaning) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(80);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::memset(in.sin_zero, 1, sizeof in.sin_zero);
    const endpoint four(address::loopback_v4(), 80);
    EXPECT_TRUE(from(in) == four && std::hash<endpoint>()(from(in)) == std::hash<endpoint>()(four));
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(80);
    in6.sin6_addr = in6addr_loopback;
    in6.sin6_flowinfo = 77;
    EXPECT_TRUE(from(in6) == endpoint(address::loopback_v6(), 80));
    // With room behind them.
    sockaddr_storage large{};
    std::memset(&large, 1, sizeof large);
    std::memcpy(&large, &in, sizeof in);
    EXPECT_TRUE(from(large) == four);
    std::memcpy(&large, &in6, sizeof in6);
    EXPECT_TRUE(from(large) == endpoint(address::loopback_v6(), 80));
    // A path may be said with its NUL, with several, with anything behind it, or without.
    const auto path = endpoint::unix_path("/x");
    for (const std::size_t size : {head + 2, head + 3, head + 4, head + 108, std::size_t{128}})
        EXPECT_TRUE(from(unix_with("/x\0y"sv), size) == path) << size;
    EXPECT_TRUE(from(unix_with("/xz"), head + 2) == path);
    EXPECT_EQ(path.data()->sa_data[2], '\0');
    EXPECT_EQ(from(unix_with("\0x\0y"sv), head + 4).abstract_name(), "x\0y"sv);
    EXPECT_EQ(from(unix_with("\0x"sv), head + 108).abstract_name(), "x"s + std::string(106, '\0'));
}

TEST(endpoints, are_not_made_of_what_does_not_fit) {
    sockaddr_storage s{};
    const auto expect_refused = [&s](std::size_t size) {
        EXPECT_EQ(from_refused(s, size), std::errc::invalid_argument) << s.ss_family << ' ' << size;
        endpoint e;
        std::memcpy(e.storage(), &s, sizeof s);
        e.set_size(static_cast<socklen_t>(size));
        EXPECT_TRUE(e == endpoint()) << s.ss_family << ' ' << size;
    };
    for (const int family : {AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
        s.ss_family = static_cast<sa_family_t>(family);
        for (const std::size_t size : {std::size_t{1}, sizeof s + 1, std::size_t{0xffffffff}}) expect_refused(size);
    }
    s.ss_family = AF_INET;
    expect_refused(sizeof(sockaddr_in) - 1);
    s.ss_family = AF_INET6;
    expect_refused(sizeof(sockaddr_in6) - 1);
    s = unix_with("\0x"sv);
    expect_refused(head + 109);
    s = unix_with(std::string(109, 'p'));
    expect_refused(head + 109);
    EXPECT_EQ(refused([](auto&... ec) { return endpoint::from(nullptr, 16, ec...); }, "there is none"),
              std::errc::invalid_argument);
}

TEST(endpoints, of_ip_are_what_the_kernel_takes_and_says) {
    for (const auto& loopback : {address::loopback_v4(), address::loopback_v6()}) {
        const socket_of listener(loopback.is_v4() ? AF_INET : AF_INET6), caller(loopback.is_v4() ? AF_INET : AF_INET6);
        if (!listener.bind_and_listen(endpoint(loopback, 0))) {
            EXPECT_TRUE(loopback.is_v6()) << "this machine has not even 127.0.0.1";
            continue;
        }
        const auto at = listener.name();
        EXPECT_TRUE(at.ip() == loopback);
        EXPECT_NE(at.port(), 0);
        EXPECT_TRUE(caller.connect(at));
        EXPECT_TRUE(caller.peer() == at);
        EXPECT_TRUE(accepted<endpoint>(at.to_string()) == at);
    }
}

TEST(endpoints, of_unix_are_what_the_kernel_takes_and_says) {
    directory d;
    const auto own = std::to_string(::getpid());
    for (const auto& e : {endpoint::unix_path(d.path("x")), endpoint::unix_path(d.path("@x")),
                          endpoint::unix_path(d.path(std::string(107, 'p'))), endpoint::unix_abstract("handoff\0"s + own + "\0"s),
                          endpoint::unix_abstract(own + std::string(107 - own.size(), '\0'))}) {
        const socket_of listener(AF_UNIX), caller(AF_UNIX);
        EXPECT_TRUE(caller.name() == endpoint::unix_unnamed());
        ASSERT_TRUE(listener.bind_and_listen(e)) << e.to_string();
        EXPECT_TRUE(listener.name() == e);
        EXPECT_TRUE(caller.connect(accepted<endpoint>(e.to_string())));
        EXPECT_TRUE(caller.peer() == e);
    }
    const socket_of chosen(AF_UNIX);
    ASSERT_TRUE(chosen.bind(endpoint::unix_unnamed()));
    EXPECT_TRUE(chosen.name().has_abstract_name());
    EXPECT_EQ(chosen.name().abstract_name().size(), 5u);
}

// Linux lets a socket have a path that leaves no room for its NUL, and says a byte more of it than a sockaddr_un has.
TEST(endpoints, reach_a_peer_whose_path_has_108_bytes) {
    directory d;
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    const auto& path = d.path(std::string(108, 'p'));
    std::memcpy(a.sun_path, path.data(), path.size());
    const socket_of listener(AF_UNIX), caller(AF_UNIX);
    ASSERT_EQ(::bind(listener.fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
    ASSERT_EQ(::listen(listener.fd(), 1), 0);
    const auto at = listener.name();
    EXPECT_EQ(at.path(), path);
    EXPECT_TRUE(at == from(a));
    EXPECT_TRUE(endpoint::from(at.data(), at.size()) == at);
    EXPECT_EQ(at.to_string(), "unix:" + path);
    EXPECT_TRUE(caller.connect(at));
    EXPECT_TRUE(caller.peer() == at);
}

TEST(endpoints, of_other_families_are_passed_on) {
    const socket_of s(AF_NETLINK, SOCK_RAW), other(AF_NETLINK, SOCK_RAW);
    if (s.fd() < 0) GTEST_SKIP() << "no netlink here";
    sockaddr_nl nl{};
    nl.nl_family = AF_NETLINK;
    const auto any = from(nl);
    ASSERT_TRUE(s.bind(any) && other.bind(any));
    const auto e = s.name();
    EXPECT_EQ(e.family(), AF_NETLINK);
    EXPECT_EQ(e.size(), sizeof nl);
    EXPECT_EQ(e.to_string(), "family 16");
    EXPECT_TRUE(e != other.name() && e == s.name());
    EXPECT_FALSE(e.is_ip() || e.is_unix());
    EXPECT_THROW((void)e.port(), usage_error);
}

TEST(endpoints, are_ordered_and_hashed) {
    std::vector<endpoint> all{endpoint()};
    for (const auto text : {"unix:", "unix:@", "unix:@a", "unix:@b", "unix:a", "unix:aa", "unix:b", "0.0.0.0:0",
                            "0.0.0.0:256", "1.0.0.2:1", "1.0.0.2:2", "1.0.0.2:65535", "2.0.0.1:0", "[::]:1", "[::]:2",
                            "[::%1]:1", "[::2]:0", "[1::]:0"})
        all.push_back(accepted<endpoint>(text));
    std::unordered_set<endpoint> set(all.begin(), all.end());
    EXPECT_EQ(set.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (std::size_t k = 0; k < all.size(); ++k) EXPECT_TRUE((all[i] <=> all[k]) == (i <=> k)) << i << ' ' << k;
        EXPECT_TRUE(set.contains(endpoint::from(all[i].data(), all[i].size())));
    }
}

endpoint random_endpoint(std::mt19937_64& random) {
    if (random() % 2 == 0) return {random_address(random), static_cast<std::uint16_t>(random())};
    std::string name(random() % 108, '\0');
    const bool abstract = random() % 2 == 0;
    for (char& c : name) c = random() % 4 == 0 ? "\0@\\x\n:"[random() % 6] : static_cast<char>(random());
    if (abstract) return endpoint::unix_abstract(name);
    std::replace(name.begin(), name.end(), '\0', '0');
    return name.empty() ? endpoint::unix_unnamed() : endpoint::unix_path(name);
}

TEST(endpoints, come_back_from_their_text) {
    auto random = seeded_random("endpoints.come_back_from_their_text");
    for (std::size_t n = scaled(100'000); n != 0; --n) {
        const auto e = random_endpoint(random);
        const auto text = e.to_string();
        ASSERT_TRUE(endpoint::parse(text) == e) << text;
        ASSERT_TRUE(endpoint::from(e.data(), e.size()) == e) << text;
        ASSERT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; })) << text;
    }
}

}  // namespace
