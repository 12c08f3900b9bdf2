// Connecting by name (RFC 8305). In simulations, where the times are exact; and on the kernel's sockets.
#include "locks.hpp"
#include "simulated_networks.hpp"

#include <handoff/net/resolver.hpp>

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <sys/resource.h>

using namespace handoff;
using namespace handoff_test;
using net::address;
using net::connect_options;
using net::endpoint;
using net::host_port;
using net::ip_family;
using net::lookup_request;
using net::resolve_errc;
using net::resolver;
using net::tcp_listener;
using net::tcp_stream;

namespace {

constexpr std::uint16_t port = 80;

// A network on which each step of a connection takes 1 ms, and which knows one host.
constexpr std::chrono::nanoseconds step = 1ms;

simulation_options with_host(const std::vector<std::string>& addresses) {
    network_options n{.least_latency = step, .most_latency = step, .most_event_delay = 0s};
    n.hosts["host"] = addresses;
    return with_network(n);
}

endpoint at(const std::string& ip) { return {address::parse(ip), port}; }

host_port host() { return {"host", port}; }

// What answers no request for a connection: a listener whose backlog is full. It takes those that still want one when it opens.
class black_hole {
public:
    explicit black_hole(const std::string& ip)
        : listener_(tcp_listener::listen(at(ip), {.backlog = 0})), first_(tcp_stream::connect(at(ip))) {}
    void open() { (void)listener_.accept(); }
    bool anybody_wants() {   // within the time in which a request is repeated
        open();
        std::error_code ec;
        (void)listener_.accept(ec, 300s);
        return !ec;
    }

private:
    tcp_listener listener_;
    tcp_stream first_;
};

struct outcome {
    std::string what;
    std::error_code code;
    std::chrono::nanoseconds took{0};
    tcp_stream stream;
};

// connect tells what has come of connecting.
outcome connect(const connect_options& o = {}, const deadline& d = {}) {
    outcome r;
    const auto start = handoff::clock::now();
    try {
        r.stream = tcp_stream::connect(host(), o, d);
    } catch (const std::system_error& e) {
        r.what = e.what();
        r.code = e.code();
    }
    r.took = handoff::clock::now() - start;
    return r;
}

void require_took(const outcome& o, std::chrono::nanoseconds time) {
    require(o.took == time, ("it has taken " + std::to_string(o.took.count()) + " ns").c_str());
}

// ---- In simulations ----

TEST(connect_by_name, tries_the_families_in_turn) {
    explore(30, with_host({"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"}), [] {
        const outcome o = connect();
        require(o.what == "handoff: connect to host:80 ([2001:db8::1]:80: Connection refused, 192.0.2.1:80: Connection refused, "
                          "[2001:db8::2]:80: Connection refused, 192.0.2.2:80: Connection refused, "
                          "[2001:db8::3]:80: Connection refused): Connection refused", o.what.c_str());
        require_took(o, 5 * 2 * step);   // each begins when the one before has failed
        require(connect({.family = ip_family::v4}).what.find("2001") == std::string::npos, "it tries another family");
        std::error_code ec;
        require(!tcp_stream::connect(host(), ec).is_open(), "it is connected");
        require(ec == std::errc::connection_refused, "the other form says something else");
    });
    explore(30, with_host({"192.0.2.1", "192.0.2.2", "2001:db8::1"}), [] {
        const std::string what = connect().what;
        const auto place = [&](const char* ip) { return what.find(ip); };
        require(place("192.0.2.1") < place("2001:db8::1") && place("2001:db8::1") < place("192.0.2.2"), what.c_str());
    });
}

TEST(connect_by_name, goes_on_to_the_next_address_after_a_while) {
    explore(50, with_host({"2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"}), [] {
        black_hole a("2001:db8::1"), b("192.0.2.1");
        tcp_listener l = tcp_listener::listen(at("2001:db8::2"));
        const outcome o = connect();
        require_took(o, 2 * 250ms + 2 * step);
        require(o.stream.peer_endpoint() == at("2001:db8::2"), "it is another address");
        require(!a.anybody_wants() && !b.anybody_wants(), "an attempt that has lost goes on");
    });
    explore(50, with_host({"2001:db8::1", "2001:db8::2", "192.0.2.1"}), [] {
        black_hole a("2001:db8::1"), b("192.0.2.1");
        tcp_listener l = tcp_listener::listen(at("2001:db8::2"));
        require_took(connect({.attempt_delay = 10ms}), 2 * 10ms + 2 * step);
        require_took(connect({.attempt_delay = 0ms}), 2 * step);
        require_took(connect({.attempt_delay = -1h}), 2 * step);
    });
}

TEST(connect_by_name, begins_at_once_where_an_attempt_has_failed) {
    explore(50, with_host({"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"}), [] {
        black_hole a("2001:db8::1");
        tcp_listener l = tcp_listener::listen(at("192.0.2.2"));
        const outcome o = connect();   // the second begins after 250 ms; it is refused, and so is the third
        require_took(o, 250ms + 3 * 2 * step);
        require(!a.anybody_wants(), "an attempt that has lost goes on");
    });
}

TEST(connect_by_name, does_not_begin_early_for_an_older_attempt) {
    explore(50, with_host({"2001:db8::1", "192.0.2.1", "2001:db8::2"}), [] {
        auto closed = std::make_optional<black_hole>("2001:db8::1");
        black_hole never("192.0.2.1");
        tcp_listener l = tcp_listener::listen(at("2001:db8::2"));
        auto closes = go([&] {
            this_goroutine::sleep_for(700ms);
            closed.reset();   // the request is refused when it is repeated, behind a second
        });
        require_took(connect({.attempt_delay = 600ms}), 2 * 600ms + 2 * step);
        closes.join();
    });
}

TEST(connect_by_name, begins_no_attempt_when_one_has_succeeded) {   // python-trio/trio#632
    simulation_options late = with_host({"192.0.2.1", "2001:db8::1"});
    late.network.least_latency = late.network.most_latency = 124ms;
    late.network.most_event_delay = 100ms;   // the connection is made after 248 ms, and nobody may have told so after 250
    explore(50, late, [] {
        tcp_listener l = tcp_listener::listen(at("192.0.2.1"));
        const outcome o = connect();
        require(o.took >= 248ms && o.took <= 250ms, "it waits for longer");
        const tcp_stream next = tcp_stream::connect(at("192.0.2.1"));   // ports are given one after the other
        require(next.local_endpoint().port() == o.stream.local_endpoint().port() + 1, "another attempt has begun");
    });
}

TEST(connect_by_name, lets_attempts_go_on_when_the_next_has_begun) {   // nodejs/node#54359
    explore(50, with_host({"192.0.2.1", "2001:db8::1"}), [] {
        black_hole slow("192.0.2.1"), never("2001:db8::1");
        auto opens = go([&] {
            this_goroutine::sleep_for(600ms);
            slow.open();
        });
        const outcome o = connect();
        require_took(o, step + 1s + step);   // by the first repetition of the request
        require(o.stream.peer_endpoint() == at("192.0.2.1"), "it is another address");
        opens.join();
        require(!never.anybody_wants(), "an attempt that has lost goes on");
    });
}

TEST(connect_by_name, closes_what_comes_second) {
    simulation_options far = with_host({"192.0.2.1", "2001:db8::1"});
    far.network.least_latency = far.network.most_latency = 140ms;   // there and back more than 250 ms
    explore(50, far, [] {
        tcp_listener first = tcp_listener::listen(at("192.0.2.1")), second = tcp_listener::listen(at("2001:db8::1"));
        const outcome o = connect();
        require_took(o, 280ms);
        require(o.stream.peer_endpoint() == at("192.0.2.1"), "it is another address");
        std::error_code ec;
        tcp_stream lost = second.accept(ec, 1h);
        require(!ec || ec == std::errc::timed_out, "accept fails");
        if (!ec) require(static_cast<bool>(read_a_byte(lost, 1h)), "somebody writes to the connection that has lost");
        tcp_stream won = first.accept();
        require(read_a_byte(won, 1h) == std::errc::timed_out, "the winner is closed");
    });
}

TEST(connect_by_name, tries_an_address_once) {   // mozilla/happy-eyeballs#46
    explore(20, with_host({"192.0.2.1", "192.0.2.1"}), [] {
        require(connect().what == "handoff: connect to host:80 (192.0.2.1:80: Connection refused): Connection refused", "once");
        const outcome o = [&] {
            outcome r;
            try {
                (void)tcp_stream::connect(host_port{"192.0.2.7", 1}, 1h);
            } catch (const std::system_error& e) {
                r.what = e.what();
            }
            return r;
        }();
        require(o.what == "handoff: connect to 192.0.2.7:1 (192.0.2.7:1: Connection refused): Connection refused", o.what.c_str());
    });
}

TEST(connect_by_name, ends_at_the_deadline) {
    explore(50, with_host({"2001:db8::1", "192.0.2.3", "192.0.2.1", "192.0.2.2"}), [] {
        black_hole a("2001:db8::1"), b("192.0.2.1");
        const outcome o = connect({}, 400ms);
        require(o.code == std::errc::timed_out, "another error");
        require_took(o, 400ms);
        const char* report = "(192.0.2.3:80: Connection refused, [2001:db8::1]:80: no answer yet, 192.0.2.1:80: no answer yet)";
        require(o.what.find(report) != std::string::npos, o.what.c_str());
        require(!a.anybody_wants() && !b.anybody_wants(), "an attempt goes on");
        require_took(connect({}, handoff::clock::now() - 1s), 0ms);
    });
}

TEST(connect_by_name, ends_by_a_cancellation) {
    explore(50, with_host({"2001:db8::1", "192.0.2.1"}), [] {
        black_hole a("2001:db8::1"), b("192.0.2.1");
        task_group g(400ms);
        g.go([] { (void)tcp_stream::connect(host()); });
        const auto start = handoff::clock::now();
        bool ended = false;
        try {
            g.wait();
        } catch (const deadline_exceeded&) {
            ended = true;
        }
        require(ended && handoff::clock::now() - start == 400ms, "it is not cancelled at once");
        require(!a.anybody_wants() && !b.anybody_wants(), "an attempt goes on");
    });
}

TEST(connect_by_name, says_the_error_that_tells_most) {
    explore(20, with_host({"192.0.2.1"}), [] {
        const endpoint refused = at("192.0.2.1"), local = endpoint::unix_path("x");   // which tcp_stream can't connect to
        for (const auto& order : {std::vector{refused, local}, std::vector{local, refused}}) {
            resolver both({.lookup = [&](const lookup_request&, std::error_code&) { return order; }});
            const outcome o = connect({.names = &both});
            require(o.code == std::errc::connection_refused, "the other one");
            require(o.what.find("unix:x: Address family not supported") != std::string::npos, o.what.c_str());
        }
        resolver none({.lookup = [&](const lookup_request&, std::error_code&) { return std::vector{local}; }});
        require(connect({.names = &none}).code == std::errc::address_family_not_supported, "the only one");
    });
}

TEST(connect_by_name, counts_the_lookup) {
    explore(50, with_host({"192.0.2.1"}), [] {
        tcp_listener l = tcp_listener::listen(at("192.0.2.1"));
        resolver slow({.max_lookups = 1, .lookup = [](const lookup_request&, std::error_code&) {
            this_goroutine::sleep_for(1s);
            return std::vector{at("192.0.2.1")};
        }});
        const connect_options o{.names = &slow};
        require_took(connect(o, 10s), 1s + 2 * step);
        const outcome late = connect(o, 300ms);
        require(late.code == std::errc::timed_out && late.what.starts_with("handoff: resolve \"host\""), late.what.c_str());
        require_took(late, 300ms);
        require_took(connect(o, 500ms), 500ms);       // it waits for the place of the one before
        require_took(connect(o), 200ms + 1s + 2 * step);
        require(connect({}, 1s).stream.is_open(), "the host's own address");
    });
    explore(50, with_host({"192.0.2.1"}), [] {
        int calls = 0;
        resolver names({.max_lookups = 1, .lookup = [&](const lookup_request&, std::error_code&) {
            ++calls;
            return std::vector{at("192.0.2.1")};
        }});
        require(connect({.names = &names}, handoff::clock::now()).code == std::errc::timed_out, "there is time");
        simulation::settle();
        require(calls == 0, "a lookup has begun for which nobody waits");
        require(names.resolve("host", port).size() == 1, "its place is taken");
    });
}

TEST(connect_by_name, finds_the_hosts_of_a_simulation_alone) {
    explore(20, with_host({"2001:db8::1", "192.0.2.1"}), [] {
        resolver& all = resolver::of_process();
        require(all.resolve("host", port) == std::vector{at("2001:db8::1"), at("192.0.2.1")}, "host");
        require(all.resolve("host", "80", {.family = ip_family::v4}) == std::vector{at("192.0.2.1")}, "of one family");
        const net::resolve_options mapped{.family = ip_family::v6, .v4_mapped = true};
        require(all.resolve("host", port, mapped) == std::vector{at("2001:db8::1")}, "there is one");
        require(all.resolve("localhost", port) == std::vector{at("::1"), at("127.0.0.1")}, "localhost");
        require(error_of([&] { all.resolve("host", "http"); }) == resolve_errc::service_not_found, "of the machine");
        try {
            (void)tcp_stream::connect(host_port{"example.com", 80});
            require(false, "it is found");
        } catch (const std::system_error& e) {
            require(e.code() == resolve_errc::host_not_found, "another error");
            const std::string_view said = e.what();
            require(said.find("\"example.com\" (a simulation knows network_options::hosts alone)") != said.npos, e.what());
        }
    });
    explore(5, with_host({"192.0.2.1"}), [] {
        resolver& all = resolver::of_process();
        const net::resolve_options mapped{.family = ip_family::v6, .v4_mapped = true};
        require(all.resolve("host", port, mapped) == std::vector{at("::ffff:192.0.2.1")}, "there is no other");
        require(error_of([&] { all.resolve("host", port, {.family = ip_family::v6}); }) == resolve_errc::no_address, "none");
    });
    EXPECT_THROW(simulation(1, with_host({"nowhere"})), std::invalid_argument);
    explore(5, with_network({.hosts = {{"db", {"2001:db8::1", "192.0.2.1"}}, {"localhost", {"127.0.0.1"}}}}), [] {
        require(resolver::of_process().resolve("db", port) == std::vector{at("2001:db8::1"), at("192.0.2.1")}, "db");
        require(resolver::of_process().resolve("localhost", port) == std::vector{at("127.0.0.1")}, "localhost");
    });
}

TEST(connect_by_name, refuses_a_connection_to_itself) {
    explore(20, with_host({"127.0.0.1", "::1"}), [] {
        std::error_code ec;
        (void)tcp_stream::connect(host_port{"127.0.0.1", 32'768}, ec);   // the first port that it gets itself
        require(ec == net::net_errc::self_connect, "it is connected");
    });
}

// ---- The kernel's sockets ----

class connections_by_name : public with_procs {};
INSTANTIATE_WITH_PROCS(connections_by_name);

// An address of this machine that is not a loopback address, so that connecting to it is not over at once; none: 127.0.0.1.
address own_address() {
    address found = address::loopback_v4();
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return found;
    for (const ifaddrs* i = all; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_LOOPBACK) == 0 && (i->ifa_flags & IFF_UP) != 0)
            found = endpoint::from(i->ifa_addr, sizeof(sockaddr_in)).ip();
    ::freeifaddrs(all);
    return found;
}

// The endpoint of a port where nobody listens.
endpoint nobody(const address& ip) { return tcp_listener::listen(endpoint(ip, 0)).local_endpoint(); }

TEST_P(connections_by_name, are_as_any_other) {
    on_both(rt_, [] {
        tcp_listener l = tcp_listener::listen(loopback());
        tcp_stream s = tcp_stream::connect(host_port{"localhost", l.local_endpoint().port()}, patience);
        tcp_stream server = l.accept();
        EXPECT_EQ(::fcntl(s.native_handle(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        EXPECT_NE(::fcntl(s.native_handle(), F_GETFL) & O_NONBLOCK, 0);
        int on = 0;
        socklen_t size = sizeof on;
        EXPECT_EQ(::getsockopt(s.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        EXPECT_NE(on, 0);
        net::write_all(s, "x");
        EXPECT_FALSE(read_a_byte(server));
        s.close();
        EXPECT_EQ(read_a_byte(server), io_errc::end_of_file);
    });
}

TEST_P(connections_by_name, leave_no_descriptor_behind) {
    for (const address& ip : {address::loopback_v4(), own_address()}) {
        std::size_t before = 0;
        for (int i = 0; i < 20; ++i) {
            on_both(rt_, [&] {
                tcp_listener l = tcp_listener::listen(endpoint(ip, 0));
                std::vector<endpoint> all{nobody(ip), nobody(address::loopback_v4()), l.local_endpoint()};
                resolver names({.lookup = [&](const lookup_request&, std::error_code&) { return all; }});
                tcp_stream s = tcp_stream::connect(host_port{"host", 1}, {.names = &names}, patience);
                EXPECT_EQ(s.peer_endpoint(), l.local_endpoint());
                all.pop_back();
                const auto ec = error_of([&] { (void)tcp_stream::connect(host_port{"host", 1}, {.names = &names}); });
                EXPECT_EQ(ec, std::errc::connection_refused);
            });
            if (i == 0) before = own_descriptor_count();   // runtimes have opened theirs
        }
        EXPECT_EVENTUALLY(own_descriptor_count() == before);
    }
}

// A backlog that is full answers nobody, in the kernel as in a simulation; how much fits, kernels decide.
TEST_P(connections_by_name, go_on_where_nobody_answers) {
    rt_.run([this] {
        const endpoint silent(own_address(), 0);
        tcp_listener full = tcp_listener::listen(silent, {.backlog = 0}), l = tcp_listener::listen(loopback());
        std::vector<tcp_stream> fill;
        std::error_code ec;
        while (!ec && fill.size() < 10) fill.push_back(tcp_stream::connect(full.local_endpoint(), ec, 500ms));
        if (ec != std::errc::timed_out) GTEST_SKIP() << "no backlog is ever full here";
        const std::vector both{full.local_endpoint(), l.local_endpoint()};
        resolver names({.lookup = [&](const lookup_request&, std::error_code&) { return both; }});
        const auto start = steady::now();
        tcp_stream s = tcp_stream::connect(host_port{"host", 1}, {.names = &names}, patience);
        EXPECT_EQ(s.peer_endpoint(), l.local_endpoint());
        EXPECT_GE(steady::now() - start, 250ms);
        const connect_options one_at_a_time{.names = &names, .attempt_delay = 1h};
        const auto silence = [&](const deadline& d) { (void)tcp_stream::connect(host_port{"host", 1}, one_at_a_time, d); };
        EXPECT_EQ(error_of([&] { silence(20ms); }), std::errc::timed_out);
        task_group g;
        auto gives_up = g.go([&] { silence({}); });
        EXPECT_EVENTUALLY(handoff_test::waiting(rt_, "select") == 1);
        g.cancel();
        EXPECT_THROW(gives_up.join(), cancelled);
    });
}

TEST_P(connections_by_name, fail_where_no_descriptor_is_left) {
    rt_.run([] {
        tcp_listener l = tcp_listener::listen(loopback());
        const std::uint16_t p = l.local_endpoint().port();
        rlimit before{};
        ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
        const rlimit none{static_cast<rlim_t>(::dup(0)), before.rlim_max};
        ::close(static_cast<int>(none.rlim_cur));
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
        const std::error_code ec = error_of([&] { (void)tcp_stream::connect(host_port{"127.0.0.1", p}, patience); });
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
        EXPECT_EQ(ec, std::errc::too_many_files_open);
        EXPECT_TRUE(tcp_stream::connect(host_port{"127.0.0.1", p}, patience).is_open());
    });
}

}  // namespace
