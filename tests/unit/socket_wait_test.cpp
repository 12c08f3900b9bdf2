// How goroutines and threads wait for sockets: deadlines, close and cancellation, who asks the kernel, several runtimes.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/tcp.hpp>
#include <handoff/net/unix.hpp>

#include <sys/socket.h>

using namespace handoff_test;
using handoff::mutable_buffer;
using handoff::const_buffer;
using handoff::go;
using handoff::task_group;
using handoff::net::net_errc;
using handoff::net::read_exactly;
using handoff::net::tcp_listener;
using handoff::net::tcp_stream;
using handoff::net::unix_stream;
using handoff::net::write_all;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class sockets_in_waits : public with_procs {};
INSTANTIATE_WITH_PROCS(sockets_in_waits);

TEST_P(sockets_in_waits, wait_without_a_thread) {
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
TEST_P(sockets_in_waits, cost_nothing_while_they_wait) {
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

// ---- Deadlines ----

TEST_P(sockets_in_waits, give_up_when_the_time_is_over) {
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

TEST_P(sockets_in_waits, take_a_deadline_while_they_wait) {   // golang/go#68273
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

TEST_P(sockets_in_waits, deadlines_change_as_they_expire) {   // golang/go#35532
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

TEST_P(sockets_in_waits, close_ends_all_waits) {   // golang/go#45211
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

TEST_P(sockets_in_waits, waits_are_cancelled) {
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
TEST_P(sockets_in_waits, numbers_are_used_again) {
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

// ---- Who polls ----

TEST_P(sockets_in_waits, are_seen_while_all_processors_compute) {   // tokio-rs/tokio#4730, golang/go#51651
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

TEST_P(sockets_in_waits, are_seen_beside_goroutines_that_never_run_out) {
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

TEST_P(sockets_in_waits, always_ready_let_others_run) {
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

// ---- Runtimes and threads ----

TEST_P(sockets_in_waits, of_two_runtimes_talk) {
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

// Neither a registration nor a close is a call that another goroutine takes the processor from, though the kernel may keep a thread
// in them for a moment: it teaches nothing about goroutines of that kind. With a guard, a hundred of them had a thread each.
TEST(socket, registrations_keep_the_processor) {
    handoff::runtime rt({.procs = 2, .syscall_grace = 1us, .syscall_retake_after = 1us});
    rt.run([&] {
        tcp_listener l = tcp_listener::listen(loopback());
        task_group g;
        for (int i = 0; i < 4; ++i)
            g.go([&] {
                for (unsigned k = scaled(1000); k-- != 0;) {
                    tcp_stream client = tcp_stream::connect(l.local_endpoint()), server = l.accept();
                    auto reader = go([&] {
                        char b;
                        return server.read_some(mutable_buffer(&b, 1));
                    });
                    this_goroutine::yield();
                    client.close();
                    reader.join();
                }
            });
        g.wait();
        EXPECT_EQ(rt.stats().handoffs_sysmon, 0u);
        EXPECT_EQ(rt.stats().handoffs_immediate, 0u);
        EXPECT_EQ(rt.stats().started_without, 0u);
    });
}

}  // namespace
