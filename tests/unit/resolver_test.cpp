// Names: what is one, what is looked up, and that nobody waits for a lookup longer than it wants to. No test asks a name server.
#include "locks.hpp"
#include "networks.hpp"

#include "net/resolver.hpp"

#include <handoff/net/resolver.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>

using namespace handoff_test;
using handoff::go;
using handoff::task_group;
using handoff::net::address;
using handoff::net::endpoint;
using handoff::net::ip_family;
using handoff::net::lookup_function;
using handoff::net::lookup_request;
using handoff::net::resolve_errc;
using handoff::net::resolver;

namespace {

class resolvers : public with_procs {};
INSTANTIATE_WITH_PROCS(resolvers);

// A clock whose time comes when a lookup has begun.
struct lookup_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<lookup_clock>;
    static constexpr bool is_steady = false;
    static inline std::atomic<bool> begun{false};
    static time_point now() noexcept { return time_point(begun ? 1h : 0h); }
};
constexpr lookup_clock::time_point once_begun{5ms};

// gate has a lookup function that blocks until it is let go: as getaddrinfo, where no name server answers.
class gate {
public:
    ~gate() {
        let_go();
        EXPECT_TRUE(block_until([&] { return ended_ == calls_; }));
    }
    lookup_function function() {
        return [this](const lookup_request&, std::error_code&) {
            ++calls_;
            lookup_clock::begun = true;
            for (int most = most_, now = ++inside_; now > most && !most_.compare_exchange_weak(most, now);) {}
            open_.wait(false);
            --inside_;
            ++ended_;
            return std::vector{loopback(7)};
        };
    }
    void let_go() {
        open_ = true;
        open_.notify_all();
    }
    bool is_open() const { return open_; }
    int calls() const { return calls_; }
    int inside() const { return inside_; }
    int most_inside() const { return most_; }

private:
    std::atomic<bool> open_{false};
    std::atomic<int> calls_{0}, inside_{0}, most_{0}, ended_{0};
};

// what is what() of the error that f throws.
template <class F>
std::string what(F f) {
    try {
        f();
    } catch (const std::exception& e) {
        return e.what();
    }
    return "nothing was thrown";
}

lookup_function must_not_be_called() {
    return [](const lookup_request& r, std::error_code&) {
        ADD_FAILURE() << r.host << " is looked up";
        return std::vector{loopback()};
    };
}

TEST(resolver, numbers_need_no_lookup) {   // so they need no runtime, either
    resolver names({.lookup = must_not_be_called()});
    EXPECT_EQ(names.resolve("127.0.0.1", 80), std::vector{loopback(80)});
    EXPECT_EQ(names.resolve("127.0.0.1", "80", {}, -1s), std::vector{loopback(80)});
    EXPECT_EQ(names.resolve("::1", 0, {.family = ip_family::v6}), std::vector{endpoint(address::loopback_v6(), 0)});
    EXPECT_EQ(names.resolve("fe80::1%3", "65535"), std::vector{endpoint::parse("[fe80::1%3]:65535")});
    EXPECT_EQ(names.resolve("127.0.0.1", 80, {.family = ip_family::v6, .v4_mapped = true}),
              std::vector{endpoint::parse("[::ffff:127.0.0.1]:80")});
    EXPECT_EQ(names.resolve("127.0.0.1", 80, {.v4_mapped = true}), std::vector{loopback(80)}) << "it is for v6 alone";
    for (const auto& [host, family] : {std::pair("127.0.0.1", ip_family::v6), std::pair("::1", ip_family::v4)}) {
        std::error_code ec;
        EXPECT_EQ(names.resolve(host, 80, ec, {.family = family}), std::vector<endpoint>());
        EXPECT_EQ(ec, std::errc::address_family_not_supported);
    }
}

TEST(resolver, what_is_no_host_is_not_looked_up) {
    resolver names({.lookup = must_not_be_called()});
    const std::vector<std::string> hosts{"", "127.1", "0x7f.1", "010.0.0.1", "2130706433", "0177.0.0.1", "a b", {"local\0host", 10}, "[::1]",
                                         "::zz", "localhost\n", "a:80", std::string(254, 'a')};
    for (const std::string& host : hosts) {
        std::error_code ec;
        EXPECT_TRUE(names.resolve(host, 80, ec).empty()) << host;
        EXPECT_EQ(ec, std::errc::invalid_argument) << host;
    }
    EXPECT_EQ(error_of([&] { names.resolve("fe80::1%no-such-if", 80); }), std::errc::no_such_device);
    EXPECT_EQ(what([&] { names.resolve("127.1", 80); }),
              "handoff: host \"127.1\": an IPv4 address has four decimal parts: Invalid argument");
    const std::vector<std::string> services{"", "65536", "080", "-1", "+1", " 80", {"ht\0tp", 5}, "99999999999999999999"};
    for (const std::string& service : services) {
        std::error_code ec;
        EXPECT_TRUE(names.resolve("localhost", service, ec).empty()) << service;
        EXPECT_EQ(ec, std::errc::invalid_argument) << service;
    }
    EXPECT_NE(what([&] { names.resolve("localhost", "65536"); }).find("handoff: service \"65536\": a port is"), std::string::npos);
}

TEST_P(resolvers, find_localhost) {
    on_both(rt_, [] {
        auto all = resolver::of_process().resolve("localhost", 80, {.only_configured = false});
        EXPECT_NE(std::find(all.begin(), all.end(), loopback(80)), all.end());
        std::sort(all.begin(), all.end());
        EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end()) << "each comes once";
        EXPECT_EQ(resolver::of_process().resolve("localhost", "80", {.family = ip_family::v4}), std::vector{loopback(80)});
        EXPECT_EQ(resolver::of_process().resolve("localhost", 80, {.family = ip_family::v4, .udp = true}), std::vector{loopback(80)});
    });
}

TEST_P(resolvers, say_which_service_is_unknown) {
    on_both(rt_, [] {
        std::error_code ec;
        EXPECT_TRUE(resolver::of_process().resolve("127.0.0.1", "no-such-service", ec).empty());
        EXPECT_EQ(ec, resolve_errc::service_not_found);
        const std::string said = what([] { resolver::of_process().resolve("127.0.0.1", "no-such-service"); });
        EXPECT_TRUE(said.starts_with("handoff: resolve \"127.0.0.1\": ")) << said;
    });
}

TEST(resolver, has_a_category_of_errors) {
    EXPECT_STREQ(make_error_code(resolve_errc::try_again).category().name(), "handoff.resolver");
    EXPECT_EQ(make_error_code(resolve_errc::host_not_found).message(), ::gai_strerror(EAI_NONAME));
    EXPECT_EQ(make_error_code(resolve_errc::try_again), std::errc::resource_unavailable_try_again);
    EXPECT_EQ(handoff::net::lookup_error(EAI_NONAME, ECONNREFUSED), resolve_errc::host_not_found);
    EXPECT_EQ(handoff::net::lookup_error(EAI_AGAIN, 0), resolve_errc::try_again);
    EXPECT_EQ(handoff::net::lookup_error(EAI_SYSTEM, EMFILE), std::errc::too_many_files_open);
    EXPECT_EQ(handoff::net::lookup_error(EAI_MEMORY, 0), std::errc::not_enough_memory);
    EXPECT_EQ(handoff::net::lookup_error(EAI_FAMILY, 0), std::errc::address_family_not_supported);
}

TEST(resolver, refuses_bad_options) {
    EXPECT_THROW(resolver({.max_lookups = 0}), std::invalid_argument);
    EXPECT_THROW(resolver({.max_lookups = SIZE_MAX}), std::invalid_argument);
}

TEST(resolver, needs_a_runtime_on_a_thread) {
    EXPECT_IN_CHILD([] {
        try {
            resolver::of_process().resolve("localhost", 80);
        } catch (const handoff::usage_error&) {
            return true;
        }
        return false;
    }(), "");
}

TEST_P(resolvers, pass_on_what_the_lookup_says) {
    on_both(rt_, [] {
        lookup_request asked;
        resolver two({.lookup = [&](const lookup_request& r, std::error_code&) {
            asked = r;
            return std::vector{loopback(2), loopback(1), loopback(2), loopback(3), loopback(1)};
        }});
        EXPECT_EQ(two.resolve("some.host", "http", {.family = ip_family::v4, .udp = true}),
                  (std::vector{loopback(2), loopback(1), loopback(3)}));
        EXPECT_EQ(asked.host, "some.host");
        EXPECT_EQ(asked.service, "http");
        EXPECT_TRUE(asked.options.family == ip_family::v4 && asked.options.udp);

        resolver none({.lookup = [](const lookup_request&, std::error_code& ec) {
            ec = resolve_errc::try_again;
            return std::vector{loopback(1)};
        }});
        std::error_code ec;
        EXPECT_TRUE(none.resolve("some.host", 80, ec).empty());
        EXPECT_EQ(ec, resolve_errc::try_again);
        EXPECT_EQ(what([&] { none.resolve("some.host", 80); }),
                  "handoff: resolve \"some.host\": " + make_error_code(resolve_errc::try_again).message());
        EXPECT_FALSE(two.resolve("some.host", 80, ec).empty());
        EXPECT_FALSE(ec) << "an error of before";

        resolver empty({.lookup = [](const lookup_request&, std::error_code&) { return std::vector<endpoint>(); }});
        EXPECT_EQ(error_of([&] { empty.resolve("some.host", 80); }), resolve_errc::no_address);
        resolver throws({.max_lookups = 1, .lookup = [](const lookup_request&, std::error_code&) -> std::vector<endpoint> {
            throw std::runtime_error("of the lookup");
        }});
        for (int i = 0; i < 3; ++i) EXPECT_EQ(what([&] { throws.resolve("some.host", 80, ec, {}, patience); }), "of the lookup");
    });
}

TEST_P(resolvers, leave_a_lookup_alone_at_the_deadline) {   // golang/go#15321
    gate blocked;
    const auto life = std::make_shared<int>();
    on_both(rt_, [&] {
        resolver names(
            {.lookup = [f = blocked.function(), life](const lookup_request& r, std::error_code& ec) { return f(r, ec); }});
        for (int i = 0; i < 2; ++i) {
            lookup_clock::begun = false;
            std::error_code ec;
            EXPECT_TRUE(names.resolve("localhost", 80, ec, {}, once_begun).empty());
            EXPECT_EQ(ec, std::errc::timed_out);
        }
        const auto start = steady::now();
        EXPECT_EQ(error_of([&] { names.resolve("localhost", 80, {}, 20ms); }), std::errc::timed_out);
        EXPECT_GE(steady::now() - start, 20ms);
    });
    EXPECT_EVENTUALLY(blocked.inside() >= 4) << "they go on";
    EXPECT_GT(life.use_count(), 1) << "with what they need, though the resolvers are gone";
    blocked.let_go();
    EXPECT_EVENTUALLY(life.use_count() == 1);
}

TEST_P(resolvers, begin_no_lookup_behind_the_deadline) {
    on_both(rt_, [] {
        resolver names({.lookup = must_not_be_called()});
        EXPECT_EQ(error_of([&] { names.resolve("localhost", 80, {}, -1s); }), std::errc::timed_out);
        EXPECT_EQ(error_of([&] { names.resolve("localhost", 80, {}, std::chrono::system_clock::now() - 1s); }), std::errc::timed_out);
    });
}

TEST_P(resolvers, leave_a_lookup_alone_when_cancelled) {
    gate blocked;
    resolver names({.lookup = blocked.function()});
    rt_.run([&] {
        task_group g;
        auto asks = g.go([&] { names.resolve("localhost", 80); });
        EXPECT_EVENTUALLY(blocked.inside() == 1);
        g.cancel();
        EXPECT_THROW(asks.join(), handoff::cancelled);
        EXPECT_FALSE(blocked.is_open());
    });
}

TEST_P(resolvers, bound_the_lookups_at_one_time) {   // golang/go#63978
    gate blocked;
    resolver names({.max_lookups = 2, .lookup = blocked.function()});
    rt_.run([&] {
        lookup_clock::begun = false;
        EXPECT_EQ(error_of([&] { names.resolve("localhost", 80, {}, once_begun); }), std::errc::timed_out);
        std::vector<handoff::join_handle<std::size_t>> ask;
        for (int i = 0; i < 5; ++i) ask.push_back(go([&] { return names.resolve("localhost", 80).size(); }));
        EXPECT_EVENTUALLY(waiting(rt_, "semaphore") == 4) << "one that was left alone keeps its place";
        EXPECT_EVENTUALLY(blocked.inside() == 2);
        EXPECT_EQ(error_of([&] { names.resolve("localhost", 80, {}, 10ms); }), std::errc::timed_out);
        task_group g;
        auto gives_up = g.go([&] { names.resolve("localhost", 80); });
        EXPECT_EVENTUALLY(waiting(rt_, "semaphore") == 5);
        g.cancel();
        EXPECT_THROW(gives_up.join(), handoff::cancelled);
        EXPECT_EQ(blocked.calls(), 2);
        blocked.let_go();
        for (auto& a : ask) EXPECT_EQ(a.join(), 1u);
        EXPECT_EQ(blocked.calls(), 6) << "those who gave up have left nothing behind";
        EXPECT_EQ(blocked.most_inside(), 2);
    });
}

TEST_P(resolvers, may_be_used_by_many_at_the_same_time) {
    std::atomic<int> calls{0};
    resolver names({.max_lookups = 3, .lookup = [&](const lookup_request& r, std::error_code&) {
        ++calls;
        return std::vector{endpoint(address::loopback_v4(), static_cast<std::uint16_t>(std::stoi(r.service)))};
    }});
    crowd all;
    handoff::default_runtime();
    const int each = static_cast<int>(scaled(50, 10));
    for (int i = 0; i < 8; ++i)
        all.start(i % 2 == 0 ? rt_ : other_, i % 4 == 3, [&, i] {
            for (int k = 0; k < each; ++k) {
                const auto port = static_cast<std::uint16_t>(i * each + k);
                EXPECT_EQ(names.resolve("localhost", port), std::vector{loopback(port)});
            }
        });
    all.join();
    EXPECT_EQ(calls, 8 * each);
}

}  // namespace
