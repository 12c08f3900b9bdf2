// TCP streams: what is sent arrives; errors, options; algorithms on streams. How they are waited for: socket_wait_test.cpp.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/tcp.hpp>
#include <handoff/net/unix.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::mutable_buffer;
using handoff::const_buffer;
using handoff::go;
using handoff::task_group;
using handoff::net::endpoint;
using handoff::net::net_errc;
using handoff::net::read_exactly;
using handoff::net::tcp_listener;
using handoff::net::tcp_stream;
using handoff::net::unix_stream;
using handoff::net::write_all;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class sockets : public with_procs {};
INSTANTIATE_WITH_PROCS(sockets);

TEST_P(sockets, carry_what_is_written) {
    rt_.run([] {
        tcp_listener l = tcp_listener::listen(loopback());
        task_group g;
        constexpr unsigned connections = 20;
        g.go([&] {
            for (unsigned i = 0; i < connections; ++i)
                g.go([s = l.accept()]() mutable {
                    char block[777];
                    while (const std::size_t n = s.read_some(block)) write_all(s, const_buffer(block, n));
                    s.shutdown_write();
                });
        });
        for (unsigned i = 0; i < connections; ++i)
            g.go([&, i] {
                tcp_stream s = tcp_stream::connect(l.local_endpoint());
                const std::string text = random_text(scaled(300'000), i);
                auto writer = go([&] {
                    EXPECT_EQ(write_all(s, text), text.size());
                    s.shutdown_write();
                });
                EXPECT_EQ(read_to_end(s), text);
                writer.join();
            });
        g.wait();
    });
}

TEST_P(sockets, end_after_the_last_byte) {
    rt_.run([] {
        for (int i = 0; i < 200; ++i) {   // golang/go#8891, dotnet/runtime#38747: data and end in one edge
            connection c;
            auto reader = go([&] { return read_to_end(c.server); });
            if (i % 2 == 0) this_goroutine::yield();
            write_all(c.client, "the last");
            if (i % 3 == 0) c.client.close();
            else c.client.shutdown_write();
            EXPECT_EQ(reader.join(), "the last");
        }
    });
}

TEST_P(sockets, read_some_stops_at_urgent_data_and_goes_on) {
    rt_.run([] {
        connection c;
        auto reader = go([&] { return read_to_end(c.server); });
        write_all(c.client, "before");
        ASSERT_EQ(::send(c.client.native_handle(), "!", 1, MSG_OOB | MSG_DONTWAIT), 1);
        write_all(c.client, "after");
        c.client.shutdown_write();
        EXPECT_EQ(reader.join(), "beforeafter");   // the urgent byte is not in line
    });
}

TEST_P(sockets, several_buffers_are_filled_one_after_the_other) {
    rt_.run([] {
        connection c;
        const const_buffer parts[] = {"ab", "", "cdef"};
        EXPECT_EQ(c.client.write_some(std::span(parts)), 6u);
        char a[3], b[10];
        const mutable_buffer into[] = {a, b};
        EXPECT_EQ(c.server.read_some(std::span(into)), 6u);
        EXPECT_EQ(std::string_view(a, 3), "abc");
        EXPECT_EQ(std::string_view(b, 3), "def");
        EXPECT_EQ(c.client.write_some(""), 0u);
        EXPECT_EQ(c.server.read_some(mutable_buffer()), 0u);
    });
}

TEST_P(sockets, write_waits_for_room) {
    rt_.run([this] {
        connection c;
        const std::string text = random_text(8'000'000, 7);   // more than the kernel's buffers take
        auto writer = go([&] {
            write_all(c.client, text);
            c.client.shutdown_write();
        });
        EXPECT_EVENTUALLY(waiting(rt_, network) == 1);
        EXPECT_EQ(read_to_end(c.server), text);
        writer.join();
    });
}

// ---- Errors ----

TEST_P(sockets, refused_connections_are_named) {
    rt_.run([] {
        tcp_listener l = tcp_listener::listen(loopback());
        const endpoint gone = l.local_endpoint();
        l.close();
        try {
            (void)tcp_stream::connect(gone);
            ADD_FAILURE() << "somebody listens there";
        } catch (const std::system_error& e) {
            EXPECT_EQ(e.code(), std::errc::connection_refused);
            EXPECT_NE(std::string(e.what()).find(gone.to_string()), std::string::npos) << e.what();
        }
        EXPECT_EQ(error_of([] { (void)tcp_stream::connect(endpoint::unix_abstract("x")); }), std::errc::address_family_not_supported);
        EXPECT_EQ(error_of([] { (void)unix_stream::connect(endpoint::unix_path("/nowhere/x")); }), std::errc::no_such_file_or_directory);
        tcp_listener one = tcp_listener::listen(loopback());
        EXPECT_EQ(error_of([&] { (void)tcp_listener::listen(one.local_endpoint()); }), std::errc::address_in_use);
    });
}

TEST_P(sockets, do_not_connect_to_themselves) {
    rt_.run([] {
        // By chance it happens to who connects to a port in the range from which the kernel chooses the local one.
        tcp_listener l = tcp_listener::listen(loopback());
        const endpoint at = l.local_endpoint();
        l.close();
        const std::error_code ec = error_of([&] { (void)tcp_stream::connect(at, at); });
        EXPECT_EQ(ec, net_errc::self_connect);
        EXPECT_EQ(ec, std::errc::connection_refused);
    });
}

TEST_P(sockets, resets_are_errors) {
    rt_.run([this] {
        connection c;
        auto reader = go([&] { return error_of([&] { char b[10]; c.server.read_some(b); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        c.client.set_linger(0s);
        c.client.close();
        EXPECT_EQ(reader.join(), std::errc::connection_reset);
        EXPECT_EQ(error_of([&] {
            for (;;) write_all(c.server, "x");
        }), std::errc::broken_pipe) << "and no signal";
        EXPECT_EQ(error_of([&] { c.server.wait_readable(); }), std::error_code()) << "its end can be read";
    });
}

TEST_P(sockets, accept_goes_on_after_a_shortage_of_descriptors) {
    rt_.run([this] {
        tcp_listener l = tcp_listener::listen(loopback());
        tcp_stream client = tcp_stream::connect(l.local_endpoint());
        rlimit before{};
        ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
        const rlimit none{static_cast<rlim_t>(::dup(0)), before.rlim_max};   // the lowest number that is free
        ::close(static_cast<int>(none.rlim_cur));
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
        auto accepts = go([&] { return l.accept(); });
        auto gives_up = go([&] { return error_of([&] { (void)l.accept(20ms); }); });
        const std::error_code timed_out = gives_up.join();
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
        EXPECT_EQ(timed_out, std::errc::timed_out);
        tcp_stream server = accepts.join();
        write_all(client, "x");
        char b[10];
        EXPECT_EQ(server.read_some(b), 1u);
    });
}

TEST_P(sockets, descriptors_are_close_on_exec_and_send_at_once) {
    rt_.run([] {
        connection c;
        for (const tcp_stream* s : {&c.client, &c.server}) {
            EXPECT_EQ(::fcntl(s->native_handle(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
            int on = 0;
            socklen_t size = sizeof on;
            EXPECT_EQ(::getsockopt(s->native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
            EXPECT_NE(on, 0);
        }
        c.client.set_nodelay(false);
        c.client.set_keepalive(60s, 5s, 3);
        c.client.set_keepalive(0s);
        EXPECT_EQ(c.client.peer_endpoint(), c.server.local_endpoint());
        EXPECT_EQ(c.client.local_endpoint(), c.server.peer_endpoint());
    });
}

TEST(algorithms, read_until_keeps_what_comes_after) {
    handoff::runtime rt({.procs = 1});
    rt.run([] {
        connection c;
        write_all(c.client, "one\r\ntwo\r");
        std::string text;
        std::size_t n = read_until(c.server, text, "\r\n", 100);
        EXPECT_EQ(text.substr(0, n), "one\r\n");
        text.erase(0, n);
        auto rest = go([&] {
            this_goroutine::yield();
            write_all(c.client, "\nthree");
            c.client.shutdown_write();
        });
        n = read_until(c.server, text, "\r\n", 5);
        EXPECT_EQ(text.substr(0, n), "two\r\n");
        text.erase(0, n);
        std::error_code ec;
        EXPECT_EQ(read_until(c.server, text, "\r\n", 100, ec), 0u);
        EXPECT_EQ(ec, handoff::io_errc::end_of_file);
        EXPECT_EQ(text, "three");
        EXPECT_EQ(read_until(c.server, text, "\r\n", 3, ec), 0u);
        EXPECT_EQ(ec, std::errc::message_size);
        rest.join();
        char b[10];
        try {
            read_exactly(c.server, b);
            ADD_FAILURE();
        } catch (const handoff::io_error& e) {
            EXPECT_EQ(e.code(), handoff::io_errc::end_of_file);
            EXPECT_EQ(e.transferred(), 0u);
        }
    });
}

}  // namespace
