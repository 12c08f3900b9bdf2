// Datagrams, UDP's and those of the Unix domain: each arrives once, whole or cut; deadlines, close and cancellation; options;
// errors of the network.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/udp.hpp>
#include <handoff/net/unix_datagram.hpp>

#include <cstring>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <set>
#include <sys/socket.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::mutable_buffer;
using handoff::const_buffer;
using handoff::go;
using handoff::task_group;
using handoff::net::address;
using handoff::net::datagram;
using handoff::net::endpoint;
using handoff::net::net_errc;
using handoff::net::udp_socket;
using handoff::net::unix_datagram;
namespace this_goroutine = handoff::this_goroutine;

namespace {

endpoint a_name(const char* what) {
    static std::atomic<int> count{0};
    return endpoint::unix_abstract("handoff_udp_test." + std::to_string(::getpid()) + what + std::to_string(++count));
}

// receive_text receives a datagram, as text.
std::string receive_text(auto& s, const handoff::deadline& d = patience) {
    std::string text(2000, 0);
    text.resize(s.receive(text, d).size);
    return text;
}

int option_of(const auto& s, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(s.native_handle(), level, name, &value, &size), 0) << std::strerror(errno);
    return value;
}

// rests waits until nothing is computed.
bool rests() {
    return eventually([] {
        const auto before = process_cpu_time();
        this_goroutine::sleep_for(100ms);
        return process_cpu_time() - before < 5ms;
    });
}

class datagrams : public with_procs {};
INSTANTIATE_WITH_PROCS(datagrams);

TEST_P(datagrams, tell_who_has_sent_them) {
    rt_.run([] {
        udp_socket server = udp_socket::bind(loopback());
        auto echo = go([&] {
            for (int i = 0; i < 100; ++i) {
                char b[100];
                endpoint from;
                const datagram got = server.receive_from(b, from);
                server.send_to(const_buffer(b, got.size), from);
            }
        });
        udp_socket client = udp_socket::bind(loopback());
        udp_socket connected = udp_socket::connect(server.local_endpoint());
        for (int i = 0; i < 50; ++i) {
            const std::string text = "number " + std::to_string(i);
            client.send_to(text, server.local_endpoint());
            endpoint from;
            char b[100];
            const datagram got = client.receive_from(b, from);
            EXPECT_EQ(std::string_view(b, got.size), text);
            EXPECT_EQ(from, server.local_endpoint());
            connected.send(text);
            EXPECT_EQ(receive_text(connected), text);
        }
        EXPECT_EQ(connected.peer_endpoint(), server.local_endpoint());
        echo.join();
    });
}

TEST_P(datagrams, are_cut_where_the_buffer_ends) {
    rt_.run([] {
        const auto check = [](auto& from, auto& to) {
            for (const std::string_view text : {"0123456789", "next", "", "whole"}) from.send(text);
            char b[5];
            datagram got = to.receive(b);
            EXPECT_EQ(got.size, 5u);
            EXPECT_EQ(got.whole, 10u);
            EXPECT_TRUE(got.truncated());
            EXPECT_EQ(std::string_view(b, 5), "01234");
            got = to.receive(b);
            EXPECT_EQ(std::string_view(b, got.size), "next");
            EXPECT_FALSE(got.truncated());
            got = to.receive(b);
            EXPECT_EQ(got.size, 0u);
            EXPECT_FALSE(got.truncated()) << "it had no bytes";
            got = to.receive(mutable_buffer());
            EXPECT_EQ(got.size, 0u);
            EXPECT_EQ(got.whole, 5u) << "it is gone";
            EXPECT_EQ(error_of([&] { to.receive(b, 0s); }), std::errc::timed_out);
        };
        udp_socket to = udp_socket::bind(loopback());
        udp_socket from = udp_socket::connect(to.local_endpoint());
        check(from, to);
        auto [a, b] = unix_datagram::pair();
        check(a, b);
    });
}

TEST_P(datagrams, are_made_of_several_buffers) {
    rt_.run([] {
        auto [a, b] = unix_datagram::pair();
        const const_buffer parts[] = {"ab", "", "cdef"};
        a.send(std::span(parts));
        char first[3], second[2];
        const mutable_buffer into[] = {first, second};
        const datagram got = b.receive(std::span(into));
        EXPECT_EQ(std::string_view(first, 3), "abc");
        EXPECT_EQ(std::string_view(second, 2), "de");
        EXPECT_EQ(got.size, 5u);
        EXPECT_EQ(got.whole, 6u);
        const std::vector<const_buffer> many(65, const_buffer("x"));
        EXPECT_EQ(error_of([&] { a.send(std::span(many)); }), std::errc::argument_list_too_long);
        a.send(std::span(many).first(64));
        EXPECT_EQ(receive_text(b), std::string(64, 'x'));
    });
}

// Each goes to one receiver, and none is left lying while receivers wait. (Those of a Unix socket are not lost.)
TEST_P(datagrams, go_to_one_of_several_receivers) {
    rt_.run([] {
        unix_datagram to = unix_datagram::bind(a_name("several"));
        constexpr unsigned receivers = 5, senders = 3;
        const unsigned each = static_cast<unsigned>(scaled(2'000));
        std::vector<std::set<int>> got(receivers);
        task_group g;
        for (auto& mine : got)
            g.go([&] {
                int number[4] = {};   // room for more: that a datagram is short says nothing about the next one
                while (to.receive(mutable_buffer(number, sizeof number)).size != 0) EXPECT_TRUE(mine.insert(number[0]).second);
            });
        task_group sending;
        for (unsigned s = 0; s < senders; ++s)
            sending.go([&, s] {
                unix_datagram from = unix_datagram::connect(to.local_endpoint());
                for (unsigned i = 0; i < each; ++i) {
                    const int number = static_cast<int>(s * each + i);
                    from.send(const_buffer(&number, sizeof number));
                    if (i % 64 == 0) this_goroutine::yield();
                }
            });
        sending.wait();
        unix_datagram from = unix_datagram::connect(to.local_endpoint());
        for (unsigned i = 0; i < receivers; ++i) from.send("");   // the last ones, so each ends a receiver
        g.wait();
        std::set<int> all;
        for (auto& mine : got) all.merge(mine);
        EXPECT_EQ(all.size(), senders * each);
    });
}

TEST_P(datagrams, that_came_together_wake_all_receivers) {
    rt_.run([this] {
        auto [a, b] = unix_datagram::pair();
        for (int round = 0; round < 20; ++round) {
            task_group g;
            for (int i = 0; i < 5; ++i)
                g.go([&] {
                    char c[10];
                    EXPECT_EQ(b.receive(c).size, 1u);
                });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 5);
            for (int i = 0; i < 5; ++i) ASSERT_EQ(::send(a.native_handle(), "x", 1, MSG_DONTWAIT), 1);   // in one edge, maybe
            g.wait();
        }
    });
}

TEST_P(datagrams, wait_until_the_receiver_has_room) {
    rt_.run([this] {
        unix_datagram to = unix_datagram::bind(a_name("room"));
        unix_datagram connected = unix_datagram::connect(to.local_endpoint());
        unix_datagram other = unix_datagram::bind(a_name("other"));
        std::error_code ec;
        unsigned sent = 0;
        while (connected.send("x", ec, 0s), !ec) ++sent;
        EXPECT_EQ(ec, std::errc::timed_out);
        EXPECT_EQ(error_of([&] { other.send_to("y", to.local_endpoint(), 20ms); }), std::errc::timed_out);
        auto first = go([&] { connected.send("x"); });
        auto second = go([&] { other.send_to("y", to.local_endpoint()); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 2);
        EXPECT_TRUE(rests()) << "a try that fails is an event to the kernel, but it says nothing";
        std::string all;
        for (unsigned i = 0; i < sent + 2; ++i) all += receive_text(to);
        first.join();
        second.join();
        std::sort(all.begin(), all.end());
        EXPECT_EQ(all, std::string(sent + 1, 'x') + 'y');
    });
}

TEST_P(datagrams, wait_until_their_own_buffer_has_room) {
    rt_.run([this] {
        auto [a, b] = unix_datagram::pair();   // between such two the length of the queue has no bound
        a.set_send_buffer(10'000);
        const std::string text(3000, 'x');
        std::error_code ec;
        unsigned sent = 0;
        while (a.send(text, ec, 0s), !ec) ++sent;
        EXPECT_EQ(ec, std::errc::timed_out);
        auto sends = go([&] { a.send("last"); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        for (unsigned i = 0; i < sent; ++i) EXPECT_EQ(b.receive(mutable_buffer()).whole, text.size());
        EXPECT_EQ(receive_text(b), "last");
        sends.join();
    });
}

// ---- Deadlines, close, cancellation ----

TEST_P(datagrams, are_waited_for_until_a_deadline) {
    rt_.run([this] {
        udp_socket s = udp_socket::bind(loopback());
        char b[10];
        endpoint from = loopback(1);
        const auto began = steady::now();
        EXPECT_EQ(error_of([&] { s.receive_from(b, from, 20ms); }), std::errc::timed_out);
        EXPECT_GE(steady::now() - began, 20ms);
        EXPECT_EQ(from, loopback(1)) << "it is as it was";
        EXPECT_EQ(error_of([&] { s.wait_readable(1ms); }), std::errc::timed_out);
        s.wait_writable(0s);
        auto receives = go([&] { return error_of([&] { char c[10]; s.receive(c); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        s.set_read_deadline(1ms);
        EXPECT_EQ(receives.join(), std::errc::timed_out);
        s.set_deadline({});
        s.send_to("x", s.local_endpoint());
        s.wait_readable();
        EXPECT_EQ(s.receive(b, -1s).size, 1u) << "it need not wait";
    });
}

TEST_P(datagrams, are_waited_for_until_the_socket_is_closed) {
    rt_.run([this] {
        udp_socket s = udp_socket::bind(loopback());
        auto [a, b] = unix_datagram::pair();
        auto first = go([&] { return error_of([&] { char c[10]; s.receive(c); }); });
        auto second = go([&] { return error_of([&] { char c[10]; endpoint from; b.receive_from(c, from); }); });
        auto third = go([&] { return error_of([&] { b.wait_readable(); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 3);
        s.close();
        b.close();
        for (auto* h : {&first, &second, &third}) EXPECT_EQ(h->join(), net_errc::closed);
        EXPECT_EQ(error_of([&] { s.send_to("x", loopback(9)); }), net_errc::closed);
        EXPECT_EQ(error_of([&] { udp_socket().set_ttl(5); }), net_errc::closed);
        EXPECT_EQ(error_of([&] { unix_datagram().send("x"); }), net_errc::closed);
        EXPECT_EQ(error_of([&] { a.send("x"); }), std::errc::connection_refused);
        EXPECT_EQ(error_of([&] { a.send("x"); }), std::errc::not_connected);
    });
}

TEST_P(datagrams, are_waited_for_until_a_cancellation) {
    rt_.run([this] {
        udp_socket s = udp_socket::bind(loopback());
        std::atomic<int> cancelled{0};
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                char b[10];
                try {
                    s.receive(b);
                } catch (const handoff::cancelled&) {
                    ++cancelled;
                }
            });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 3);
        g.cancel();
        try {
            g.wait();
        } catch (const handoff::cancelled&) {
        }
        EXPECT_EQ(cancelled, 3);
        s.send_to("x", s.local_endpoint());
        EXPECT_EQ(receive_text(s), "x");
    });
}

// ---- Errors ----

// tokio-rs/tokio#4549: an error on the socket is told once, and then there is nothing to do until something comes.
TEST_P(datagrams, refused_are_told_once) {
    rt_.run([this] {
        udp_socket gone = udp_socket::bind(loopback());
        const endpoint at = gone.local_endpoint();
        udp_socket s = udp_socket::connect(at);
        gone.close();
        auto receives = go([&] { return error_of([&] { char b[10]; s.receive(b); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        s.send("x");
        EXPECT_EQ(receives.join(), std::errc::connection_refused);
        auto again = go([&] { return receive_text(s, {}); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        EXPECT_TRUE(rests());
        gone = udp_socket::bind(at);
        gone.send_to("still there", s.local_endpoint());
        EXPECT_EQ(again.join(), "still there");
    });
}

TEST_P(datagrams, name_what_failed) {
    rt_.run([] {
        udp_socket s = udp_socket::bind(loopback());
        try {
            (void)udp_socket::bind(s.local_endpoint());
            ADD_FAILURE() << "the port is taken";
        } catch (const std::system_error& e) {
            EXPECT_EQ(e.code(), std::errc::address_in_use);
            EXPECT_NE(std::string(e.what()).find(s.local_endpoint().to_string()), std::string::npos) << e.what();
        }
        const std::string said = thrown_by<std::system_error>([&] { s.send_to("x", endpoint::unix_abstract("x")); });
        EXPECT_NE(said.find("send_to unix:@x"), std::string::npos) << said;
        EXPECT_EQ(error_of([&] { s.send("x"); }), std::errc::destination_address_required);
        EXPECT_EQ(error_of([&] { (void)s.peer_endpoint(); }), std::errc::not_connected);
        EXPECT_EQ(error_of([&] { s.send_to(std::string(70'000, 'x'), s.local_endpoint()); }), std::errc::message_size);
        const endpoint elsewhere = endpoint::unix_abstract("x");
        EXPECT_EQ(error_of([&] { (void)udp_socket::bind(elsewhere); }), std::errc::address_family_not_supported);
        EXPECT_EQ(error_of([] { (void)udp_socket::connect(endpoint()); }), std::errc::address_family_not_supported);
        EXPECT_EQ(error_of([] { (void)unix_datagram::bind(loopback()); }), std::errc::address_family_not_supported);
        EXPECT_EQ(error_of([] { (void)unix_datagram::connect(a_name("nobody")); }), std::errc::connection_refused);
    });
}

// ---- Peers and options ----

TEST_P(datagrams, come_only_from_the_peer) {
    rt_.run([] {
        udp_socket s = udp_socket::bind(loopback());
        const endpoint at = s.local_endpoint();
        s.close();
        s = udp_socket::bind(at);   // at a port that we have chosen
        udp_socket peer = udp_socket::bind(loopback()), other = udp_socket::bind(loopback());
        s.set_peer(peer.local_endpoint());
        other.send_to("other", at);
        peer.send_to("peer", at);
        EXPECT_EQ(receive_text(s), "peer");
        s.send_to("elsewhere", other.local_endpoint());
        EXPECT_EQ(receive_text(other), "elsewhere");
        s.set_peer(endpoint());
        EXPECT_EQ(error_of([&] { s.send("x"); }), std::errc::destination_address_required);
        EXPECT_EQ(s.local_endpoint(), at);
        other.send_to("now", at);
        EXPECT_EQ(receive_text(s), "now");
        const std::string said = thrown_by<std::system_error>([&] { s.set_peer(endpoint(address::broadcast_v4(), 9)); });
        EXPECT_NE(said.find("set_peer to 255.255.255.255:9"), std::string::npos) << said;
    });
}

TEST_P(datagrams, of_unix_sockets_have_names_or_none) {
    rt_.run([] {
        const endpoint path = endpoint::unix_path("/tmp/handoff_udp_test." + std::to_string(::getpid()));
        unix_datagram server = unix_datagram::bind(path), named = unix_datagram::bind(endpoint::unix_unnamed());
        EXPECT_TRUE(named.local_endpoint().has_abstract_name());
        unix_datagram unnamed = unix_datagram::connect(path);
        unnamed.send("from nobody");
        named.send_to("from a name", path);
        char b[100];
        endpoint from = path;
        EXPECT_EQ(server.receive_from(b, from).size, 11u);
        EXPECT_EQ(from, endpoint());
        EXPECT_EQ(server.receive_from(b, from).size, 11u);
        EXPECT_EQ(from, named.local_endpoint());
        server.send_to("answer", from);
        EXPECT_EQ(receive_text(named), "answer");
        unnamed.send_to("elsewhere", named.local_endpoint());
        EXPECT_EQ(receive_text(named), "elsewhere");
        EXPECT_EQ(error_of([&] { (void)unix_datagram::bind(path); }), std::errc::address_in_use);
        ::unlink(std::string(path.path()).c_str());
    });
}

TEST_P(datagrams, sockets_take_options) {
    rt_.run([] {
        udp_socket s = udp_socket::bind(loopback());
        EXPECT_EQ(::fcntl(s.native_handle(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        EXPECT_EQ(error_of([&] { s.send_to("x", endpoint(address::broadcast_v4(), 9)); }), std::errc::permission_denied);
        s.set_broadcast(true);
        EXPECT_EQ(option_of(s, SOL_SOCKET, SO_BROADCAST), 1);
        s.set_ttl(7);
        EXPECT_EQ(option_of(s, IPPROTO_IP, IP_TTL), 7);
        s.set_multicast_ttl(3);
        EXPECT_EQ(option_of(s, IPPROTO_IP, IP_MULTICAST_TTL), 3);
        s.set_multicast_loop(false);
        EXPECT_EQ(option_of(s, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
        EXPECT_EQ(error_of([&] { s.set_ttl(-1); }), std::errc::invalid_argument);
        EXPECT_EQ(error_of([&] { s.set_ttl(256); }), std::errc::invalid_argument);
        EXPECT_EQ(error_of([&] { s.set_multicast_ttl(-1); }), std::errc::invalid_argument);
        s.set_receive_buffer(10'000);
        EXPECT_EQ(s.receive_buffer(), 20'000);
        s.set_send_buffer(12'000);
        EXPECT_EQ(s.send_buffer(), 24'000);
        udp_socket first = udp_socket::bind(loopback(), {.reuse_port = true});
        udp_socket second = udp_socket::bind(first.local_endpoint(), {.reuse_port = true});
        EXPECT_EQ(first.local_endpoint(), second.local_endpoint());
    });
}

TEST_P(datagrams, of_ipv6) {
    rt_.run([] {
        std::error_code ec;
        udp_socket s = udp_socket::bind(endpoint(address::any_v6(), 0), ec);
        if (ec) GTEST_SKIP() << "no IPv6: " << ec.message();
        EXPECT_EQ(option_of(s, IPPROTO_IPV6, IPV6_V6ONLY), 0);
        s.set_ttl(7);
        EXPECT_EQ(option_of(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 7);
        EXPECT_EQ(option_of(s, IPPROTO_IP, IP_TTL), 7) << "for the IPv4 peers that it may have";
        s.set_multicast_ttl(3);
        EXPECT_EQ(option_of(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 3);
        const std::uint16_t port = s.local_endpoint().port();
        udp_socket v4 = udp_socket::bind(loopback());
        v4.send_to("four", loopback(port));
        char b[10];
        endpoint from;
        EXPECT_EQ(s.receive_from(b, from).size, 4u);
        EXPECT_EQ(from, endpoint(address::loopback_v4().to_v4_mapped(), v4.local_endpoint().port()));
        udp_socket only = udp_socket::bind(endpoint(address::any_v6(), 0), {.only_v6 = true});
        EXPECT_EQ(option_of(only, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    });
}

// By the loopback interface, which may have no multicast: then nothing is sent, but the memberships are there.
TEST_P(datagrams, of_groups_go_to_members) {
    rt_.run([] {
        const unsigned lo = ::if_nametoindex("lo");
        ASSERT_NE(lo, 0u);
        const address group = address::v4({239, 255, 77, 1});
        udp_socket member = udp_socket::bind(endpoint(group, 0), {.reuse_address = true});
        member.join(group, lo);
        EXPECT_EQ(error_of([&] { member.join(group, lo); }), std::errc::address_in_use);
        const std::string said = thrown_by<std::system_error>([&] { member.join(address::loopback_v4()); });
        EXPECT_NE(said.find("127.0.0.1"), std::string::npos) << said;
        udp_socket from = udp_socket::bind(loopback());
        from.set_multicast_interface(lo);
        EXPECT_EQ(error_of([&] { from.set_multicast_interface(1'000'000); }), std::errc::address_not_available);
        from.send_to("to the group", member.local_endpoint());
        EXPECT_EQ(receive_text(member), "to the group");
        member.leave(group, lo);
        EXPECT_EQ(error_of([&] { member.leave(group, lo); }), std::errc::address_not_available);
        from.send_to("to nobody", member.local_endpoint());
        EXPECT_EQ(error_of([&] { (void)receive_text(member, 20ms); }), std::errc::timed_out);
    });
}

TEST_P(datagrams, of_ipv6_groups_go_to_members) {
    rt_.run([] {
        const unsigned lo = ::if_nametoindex("lo");
        std::error_code ec;
        const address group = address::parse("ff01::77", ec);
        udp_socket member = udp_socket::bind(endpoint(address::any_v6(), 0), ec);
        if (ec) GTEST_SKIP() << "no IPv6: " << ec.message();
        member.join(address::v6({0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77}, lo));   // its scope says where
        EXPECT_EQ(error_of([&] { member.join(group, lo); }), std::errc::address_in_use);
        member.set_multicast_interface(lo);
        EXPECT_EQ(option_of(member, IPPROTO_IPV6, IPV6_MULTICAST_IF), static_cast<int>(lo));
        member.leave(group, lo);
        member.join(address::v4({239, 255, 77, 1}), lo);
    });
}

TEST(datagram, serves_threads_by_the_default_runtime) {
    (void)handoff::default_runtime();
    udp_socket server = udp_socket::bind(loopback());
    std::thread echo([&] {
        char b[10];
        endpoint from;
        while (const std::size_t n = server.receive_from(b, from).size) server.send_to(const_buffer(b, n), from);
    });
    udp_socket client = udp_socket::connect(server.local_endpoint());
    for (int i = 0; i < 20; ++i) {
        client.send("ping");
        EXPECT_EQ(receive_text(client), "ping");
    }
    client.send("");
    echo.join();
}

}  // namespace
