// TCP and Unix streams: what is sent arrives; deadlines, close, cancellation and errors; and the failures of other libraries that
// src/net's files name.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/select.hpp>
#include <handoff/net/tcp.hpp>
#include <handoff/net/unix.hpp>

#include <cstring>
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
using handoff::net::unix_listener;
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

TEST_P(sockets, wait_without_a_thread) {
    rt_.run([this] {
        std::vector<std::unique_ptr<connection>> all;
        task_group g;
        for (int i = 0; i < 100; ++i) {
            auto& c = *all.emplace_back(std::make_unique<connection>());
            g.go([&c] {
                char b;
                EXPECT_EQ(c.server.read_some(mutable_buffer(&b, 1)), 1u);
            });
        }
        EXPECT_EVENTUALLY(waiting(rt_, network) == 100);
        EXPECT_LT(rt_.stats().threads_most, 20u);   // some were made while the others connected
        for (auto& c : all) write_all(c->client, "x");
        g.wait();
    });
}

// 10,000 of them are in the benchmarks.
TEST_P(sockets, cost_nothing_while_they_wait) {
    rt_.run([this] {
        std::vector<std::unique_ptr<connection>> all;
        task_group g;
        for (int i = 0; i < 50; ++i) {
            auto& c = *all.emplace_back(std::make_unique<connection>());
            g.go([&c] {
                std::error_code ec;
                char b[10];
                c.server.read_some(b, ec);
                EXPECT_EQ(ec, net_errc::closed);
            });
        }
        ASSERT_EVENTUALLY(waiting(rt_, network) == 50);
        const bool at_rest = eventually([] {
            const auto before = process_cpu_time();
            this_goroutine::sleep_for(100ms);
            return process_cpu_time() - before < 5ms;
        });
        EXPECT_TRUE(at_rest);
        for (auto& c : all) c->server.close();
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

// ---- Deadlines ----

TEST_P(sockets, give_up_when_the_time_is_over) {
    rt_.run([] {
        connection c;
        char b[10];
        const auto began = steady::now();
        EXPECT_EQ(error_of([&] { c.server.read_some(b, 20ms); }), std::errc::timed_out);
        EXPECT_GE(steady::now() - began, 20ms);
        EXPECT_EQ(error_of([&] { c.server.read_some(b, steady::now() - 1s); }), std::errc::timed_out);
        EXPECT_EQ(error_of([&] { c.server.read_some(b, std::chrono::system_clock::now() + 5ms); }), std::errc::timed_out);
        write_all(c.client, "x");
        EXPECT_EQ(c.server.read_some(b, 30s), 1u);
        write_all(c.client, "y");
        c.server.wait_readable();
        EXPECT_EQ(c.server.read_some(b, -1s), 1u) << "it need not wait";
        tcp_listener l = tcp_listener::listen(loopback());
        EXPECT_EQ(error_of([&] { (void)l.accept(1ms); }), std::errc::timed_out);
        EXPECT_EQ(error_of([&] { c.server.wait_readable(1ms); }), std::errc::timed_out);
        c.server.wait_writable(0s);
    });
}

TEST_P(sockets, take_a_deadline_while_they_wait) {   // golang/go#68273
    rt_.run([this] {
        connection c;
        const auto read = [&] {
            char b[10];
            std::error_code ec;
            c.server.read_some(b, ec);
            return ec;
        };
        auto reader = go(read);
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        c.server.set_read_deadline(steady::now() + 5ms);
        EXPECT_EQ(reader.join(), std::errc::timed_out);
        EXPECT_EQ(read(), std::errc::timed_out) << "until it is set again";
        c.server.set_deadline({});
        auto again = go(read);
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        c.server.set_write_deadline(0s);
        write_all(c.client, "x");
        EXPECT_EQ(again.join(), std::error_code());
    });
}

TEST_P(sockets, deadlines_change_as_they_expire) {   // golang/go#35532
    rt_.run([] {
        connection c;
        std::atomic<bool> ends{false};
        auto reader = go([&] {
            char b[10];
            std::error_code ec;
            while (!ends) c.server.read_some(b, ec);
        });
        for (unsigned i = 0; i < scaled(2'000); ++i) {
            c.server.set_read_deadline(std::chrono::microseconds(i % 50));
            if (i % 10 == 0) this_goroutine::yield();
        }
        ends = true;
        c.server.set_read_deadline(0s);
        reader.join();
    });
}

// ---- Close and cancellation ----

TEST_P(sockets, close_ends_all_waits) {   // golang/go#45211
    rt_.run([this] {
        connection c;
        std::string large(scaled(8'000'000, 4'000'000), 'x');
        tcp_listener l = tcp_listener::listen(loopback());
        auto first = go([&] { return error_of([&] { char b[10]; c.client.read_some(b); }); });
        auto second = go([&] { return error_of([&] { char b[10]; c.client.read_some(b); }); });
        auto writer = go([&] { return error_of([&] { write_all(c.client, large); }); });
        auto accepts = go([&] { return error_of([&] { (void)l.accept(); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 4);
        c.client.close();
        l.close();
        for (auto* h : {&first, &second, &writer, &accepts}) EXPECT_EQ(h->join(), net_errc::closed);
        char b[10];
        EXPECT_EQ(error_of([&] { c.client.read_some(b); }), net_errc::closed);
        EXPECT_EQ(error_of([&] { c.client.shutdown_write(); }), net_errc::closed);
        EXPECT_FALSE(c.client.is_open());
        EXPECT_EQ(c.client.native_handle(), -1);
        c.client.close();
        EXPECT_EQ(error_of([&] { tcp_stream().read_some(b); }), net_errc::closed);
    });
}

TEST_P(sockets, waits_are_cancelled) {
    rt_.run([this] {
        connection c;
        task_group g;
        std::atomic<int> cancelled{0};
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                char b[10];
                try {
                    c.server.read_some(b);
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
        write_all(c.client, "still there");
        char b[20];
        EXPECT_EQ(c.server.read_some(b), 11u);
    });
}

// A descriptor's number is used again at once; nothing of the old one may reach the new one (golang/go#59545).
TEST_P(sockets, numbers_are_used_again) {
    rt_.run([this] {
        connection waits;
        auto reader = go([&] {
            char b[10];
            return waits.server.read_some(b);
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        const std::size_t before = own_descriptor_count();
        for (unsigned i = 0; i < scaled(3'000); ++i) {
            auto [a, b] = unix_stream::pair();
            auto other = go([&] {
                std::error_code ec;
                char c[10];
                return b.read_some(c, ec);
            });
            if (i % 2 == 0) this_goroutine::yield();
            if (i % 3 == 0) write_all(a, "x");
            a.close();
            EXPECT_EQ(other.join(), i % 3 == 0 ? 1u : 0u);
        }
        EXPECT_EQ(own_descriptor_count(), before);
        write_all(waits.client, "x");
        EXPECT_EQ(reader.join(), 1u);
    });
}

// ---- Select ----

TEST_P(sockets, are_cases_of_a_select) {
    rt_.run([] {
        connection c;
        handoff::channel<int> commands(1);
        handoff::channel<std::string> said(1);
        const auto once = [&] {
            char b[10];
            handoff::select(handoff::on_recv(commands, [&](std::optional<int> i) { said.send(std::to_string(*i)); }),
                            handoff::on_readable(c.server, [&] { said.send(std::string(b, c.server.read_some(b))); }));
        };
        auto both = go([&] {
            for (int i = 0; i < 4; ++i) once();
        });
        this_goroutine::yield();
        write_all(c.client, "a");
        EXPECT_EQ(said.recv(), "a");
        commands.send(1);
        EXPECT_EQ(said.recv(), "1");
        write_all(c.client, "b");
        EXPECT_EQ(said.recv(), "b");
        commands.send(2);
        EXPECT_EQ(said.recv(), "2");
        both.join();
        handoff::select(handoff::on_readable(c.server, [] { ADD_FAILURE() << "nothing is there"; }), handoff::otherwise([] {}));
        bool writable = false;
        handoff::select(handoff::on_writable(c.server, [&] { writable = true; }), handoff::on_readable(c.server, [] { ADD_FAILURE(); }));
        EXPECT_TRUE(writable);
    });
}

TEST_P(sockets, of_a_select_fire_as_they_are_closed) {
    rt_.run([this] {
        connection c;
        auto waits = go([&] {
            bool fired = false;
            handoff::select(handoff::on_readable(c.server, [&] { fired = true; }));
            return fired;
        });
        auto reads = go([&] { return error_of([&] { char b[10]; c.server.read_some(b); }); });
        EXPECT_EVENTUALLY(waiting(rt_, network) == 1 && waiting(rt_, "select") == 1);
        c.server.close();
        EXPECT_TRUE(waits.join());
        EXPECT_EQ(reads.join(), net_errc::closed);
        bool fired = false;
        handoff::select(handoff::on_readable(c.server, [&] { fired = true; }));
        EXPECT_TRUE(fired);
    });
}

// A select that is woken makes no call, so it must not be the only one that is woken.
TEST_P(sockets, of_a_select_leave_what_came_to_a_reader) {
    rt_.run([this] {
        connection c;
        handoff::event stops;
        auto selects = go([&] {
            handoff::select(handoff::on_readable(c.server, [] {}), handoff::on_set(stops, [] {}));
        });
        ASSERT_EVENTUALLY(waiting(rt_, "select") == 1);
        auto reads = go([&] {
            char b[10];
            return c.server.read_some(b);
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        write_all(c.client, "x");
        EXPECT_EQ(reads.join(), 1u);
        stops.set();
        selects.join();
    });
}

TEST_P(sockets, are_accepted_in_a_select) {
    rt_.run([this] {
        tcp_listener l = tcp_listener::listen(loopback());
        handoff::event stops;
        int served = 0;
        auto server = go([&] {
            for (bool ends = false; !ends;)
                handoff::select(handoff::on_accept(l, [&](tcp_stream s) { served += static_cast<int>(write_all(s, "x")); }),
                                handoff::on_set(stops, [&] { ends = true; }));
        });
        for (int i = 0; i < 5; ++i) {
            if (i == 2) {
                EXPECT_EVENTUALLY(waiting(rt_, "select") == 1);
            }
            tcp_stream s = tcp_stream::connect(l.local_endpoint());
            char b[1];
            EXPECT_EQ(read_exactly(s, b), 1u);
        }
        stops.set();
        server.join();
        EXPECT_EQ(served, 5);
        l.close();
        EXPECT_EQ(error_of([&] { handoff::select(handoff::on_accept(l, [](tcp_stream) {})); }), net_errc::closed);
    });
}

// ---- Who polls ----

TEST_P(sockets, are_seen_while_all_processors_compute) {   // tokio-rs/tokio#4730, golang/go#51651
    rt_.run([this] {
        connection c;
        std::atomic<bool> got{false};
        auto reader = go([&] {
            char b[10];
            c.server.read_some(b);
            got = true;
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        std::vector<handoff::join_handle<void>> compute;
        for (unsigned i = 0; i < GetParam(); ++i)
            compute.push_back(go([&] { EXPECT_TRUE(compute_until([&] { return got.load(); })); }));
        ASSERT_EQ(::send(c.client.native_handle(), "x", 1, MSG_DONTWAIT), 1);
        reader.join();
        for (auto& h : compute) h.join();
    });
}

TEST_P(sockets, are_seen_beside_goroutines_that_never_run_out) {
    rt_.run([this] {
        connection c;
        std::atomic<bool> got{false};
        auto reader = go([&] {
            char b[10];
            c.server.read_some(b);
            got = true;
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        task_group g;
        for (unsigned i = 0; i < 2 * GetParam(); ++i)
            g.go([&] {
                while (!got) this_goroutine::yield();
            });
        write_all(c.client, "x");
        reader.join();
        g.wait();
    });
}

TEST_P(sockets, always_ready_let_others_run) {
    rt_.run([] {
        connection c;
        std::atomic<bool> other{false};
        task_group g;
        g.go([&] {
            char b[100];
            const auto until = steady::now() + patience;
            while (!other && steady::now() < until) {
                write_all(c.client, "some bytes");
                read_exactly(c.server, mutable_buffer(b, 10));
            }
            EXPECT_TRUE(other);
        });
        g.go([&] { other = true; });
        g.wait();
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

// ---- Others ----

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

TEST_P(sockets, of_unix_paths_and_abstract_names) {
    rt_.run([] {
        const std::string path = "/tmp/handoff_tcp_test." + std::to_string(::getpid());
        for (const endpoint& at : {endpoint::unix_path(path), endpoint::unix_abstract(path)}) {
            unix_listener l = unix_listener::listen(at);
            EXPECT_EQ(l.local_endpoint(), at);
            auto server = go([&] {
                unix_stream s = l.accept();
                const std::string text = read_to_end(s);
                write_all(s, text);
            });
            unix_stream s = unix_stream::connect(at);
            write_all(s, "hello");
            s.shutdown_write();
            EXPECT_EQ(read_to_end(s), "hello");
            server.join();
        }
        ::unlink(path.c_str());
    });
}

TEST_P(sockets, of_unix_names_wait_for_room_in_the_backlog) {
    rt_.run([] {
        unix_listener l = unix_listener::listen(endpoint::unix_abstract("handoff_tcp_test.backlog." + std::to_string(::getpid())), {.backlog = 0});
        const unix_stream first = unix_stream::connect(l.local_endpoint());
        EXPECT_EQ(error_of([&] { (void)unix_stream::connect(l.local_endpoint(), 5ms); }), std::errc::timed_out);
        auto second = go([&] { return unix_stream::connect(l.local_endpoint(), patience); });
        this_goroutine::sleep_for(5ms);
        (void)l.accept();
        EXPECT_TRUE(second.join().is_open());
    });
}

// The kernel ends a read behind bytes that came with descriptors, though others are there, of which it tells no more.
TEST_P(sockets, of_unix_names_are_read_on_behind_descriptors) {
    rt_.run([] {
        auto [a, b] = unix_stream::pair();
        char control[CMSG_SPACE(sizeof(int))]{};
        iovec v{const_cast<char*>("with"), 4};
        msghdr m{};
        m.msg_iov = &v;
        m.msg_iovlen = 1;
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        cmsghdr* h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        const int sent = a.native_handle();
        std::memcpy(CMSG_DATA(h), &sent, sizeof sent);
        std::size_t before = 0;
        for (const bool several : {false, true, false, true}) {
            ASSERT_EQ(::sendmsg(a.native_handle(), &m, 0), 4);
            write_all(a, "more");
            char block[100];
            const mutable_buffer parts[] = {mutable_buffer(block, 1), mutable_buffer(block + 1, 99)};
            const auto read = [&] { return several ? b.read_some(std::span(parts), patience) : b.read_some(block, patience); };
            EXPECT_EQ(read(), 4u);
            EXPECT_EQ(read(), 4u);
            if (several && before == 0) before = own_descriptor_count();   // with the poller's own
        }
        EXPECT_EQ(own_descriptor_count(), before) << "nobody wanted them";
    });
}

TEST_P(sockets, of_two_runtimes_talk) {
    connection c;
    auto echo = other_.go([&] {
        char b[10];
        for (int i = 0; i < 100; ++i) {
            read_exactly(c.server, mutable_buffer(b, 4));
            write_all(c.server, const_buffer(b, 4));
        }
    });
    rt_.run([&] {
        char b[10];
        for (int i = 0; i < 100; ++i) {
            write_all(c.client, "ping");
            read_exactly(c.client, mutable_buffer(b, 4));
        }
    });
    echo.join();
}

TEST(socket, moves_to_another_runtime_when_its_own_has_ended) {
    connection c;
    for (int i = 0; i < 3; ++i) {
        handoff::runtime rt({.procs = 2});
        rt.run([&] {
            auto reader = go([&] {
                char b[10];
                return c.server.read_some(b);
            });
            EXPECT_EVENTUALLY(waiting(rt, network) == 1);
            write_all(c.client, "x");
            EXPECT_EQ(reader.join(), 1u);
        });
    }
}

TEST(socket, needs_a_runtime_only_to_wait) {
    EXPECT_EXIT({
        connection c;
        write_all(c.client, "x");
        char b[10];
        if (c.server.read_some(b) != 1) std::_Exit(1);
        try {
            c.server.read_some(b);
        } catch (const handoff::usage_error& e) {
            std::fprintf(stderr, "%s\n", e.what());
            std::_Exit(0);
        }
        std::_Exit(2);
    }, testing::ExitedWithCode(0), "only if default_runtime.. was called");
}

TEST(socket, serves_threads_by_the_default_runtime) {
    (void)handoff::default_runtime();
    connection c;
    std::thread echo([&] {
        char b[10];
        while (const std::size_t n = c.server.read_some(b)) write_all(c.server, const_buffer(b, n));
    });
    char b[10];
    for (int i = 0; i < 20; ++i) {
        write_all(c.client, "ping");
        read_exactly(c.client, mutable_buffer(b, 4));
    }
    EXPECT_EQ(error_of([&] { c.client.read_some(b, 1ms); }), std::errc::timed_out);
    c.client.close();
    echo.join();
}

// The first that waits for a descriptor is no goroutine, and all threads of the runtime have gone to sleep long before.
TEST(socket, serves_a_thread_of_a_program_at_rest) {
    EXPECT_EXIT({
        (void)handoff::default_runtime();
        connection c;
        std::this_thread::sleep_for(700ms);   // its monitor sleeps deep by then, if the machine lets it
        std::thread sender([&] {
            std::this_thread::sleep_for(50ms);
            write_all(c.client, "x");
        });
        char b[10];
        const std::size_t n = c.server.read_some(b);
        sender.join();
        std::_Exit(n == 1 ? 0 : 2);
    }, testing::ExitedWithCode(0), "");
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
