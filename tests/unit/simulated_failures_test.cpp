// The failures of other libraries that src/net's files name, each as a scenario on the network of a simulation, which is
// tried with many seeds: the records of descriptors, their waiters and their events are the ones that are used with the
// kernel.
#include "simulated_networks.hpp"

using namespace handoff;
using namespace handoff_test;
using net::address;
using net::endpoint;
using net::net_errc;
using net::read_exactly;
using net::tcp_listener;
using net::tcp_stream;
using net::unix_listener;
using net::unix_stream;
using net::write_all;

namespace {

// golang/go#59545, tokio-rs/tokio#3103: the record of a closed socket is the next one's at once, and events of the old one
// are late.
TEST(simulated_network, nothing_of_a_closed_socket_reaches_the_next) {
    explore(2'000, [] {
        auto [a, b] = unix_stream::pair();
        auto reader = go([&] {
            char block[10];
            std::error_code ec;
            const std::size_t n = b.read_some(block, ec);
            const bool old = n > 0 && std::string_view("old").starts_with(std::string_view(block, n));
            require(ec == net_errc::closed || old, "the next one's data");
        });
        this_goroutine::yield();
        if (this_goroutine::id() % 2 != 0) write_all(a, "old");
        b.close();
        a.close();
        auto [c, d] = unix_stream::pair();
        auto next = go([&] {
            char block[10];
            return d.read_some(block) + c.read_some(block);
        });
        this_goroutine::sleep_for(1ms);
        write_all(c, "n");
        write_all(d, "m");
        require(next.join() == 2, "lost");
        reader.join();
    });
}

// golang/go#8891, dotnet/runtime#38747
TEST(simulated_network, the_end_comes_with_the_last_bytes) {
    explore(2'000, [] {
        connection c;
        auto reader = go([&] { return read_to_end(c.server, 100); });
        write_all(c.client, "the ");
        this_goroutine::yield();
        write_all(c.client, "last");
        if (this_goroutine::id() % 2 == 0) c.client.shutdown_write();
        else c.client.close();
        require(reader.join() == "the last", "not all");
    });
    explore(1'000, [] {
        auto [a, b] = unix_stream::pair();
        auto reader = go([&b = b] { return read_to_end(b, 100); });
        write_all(a, "the last");
        a.close();
        require(reader.join() == "the last", "not all");
    });
}

// denoland/deno#33860, xrootd/xrootd#303, tokio-rs/tokio#4549
TEST(simulated_network, bits_that_stay_do_not_spin) {
    for (std::uint64_t seed = 1; seed <= seeds(100); ++seed) {
        simulation sim(seed);
        sim.run([] {
            connection c;
            c.client.shutdown_write();
            require(read_a_byte(c.server) == handoff::io_errc::end_of_file, "the end");
            auto waits = go([&] { return read_a_byte(c.client, 1h); });
            require(waits.join() == std::errc::timed_out, "nothing is written");
        });
        EXPECT_LT(sim.steps(), 1'000u) << "seed " << seed;
    }
}

TEST(simulated_network, one_edge_wakes_all_whom_it_is_for) {
    explore(2'000, [] {
        connection c;
        task_group g;
        for (int i = 0; i < 4; ++i) g.go([&] { require(!read_a_byte(c.server), "a byte for each"); });
        simulation::settle();
        write_all(c.client, "abcd");
        g.wait();
    });
    explore(500, with_network({.buffer_size = 64}), [] {
        connection c;
        write_all(c.client, text_of(64));
        task_group g;
        for (int i = 0; i < 3; ++i) g.go([&] { write_all(c.client, "0123456789012345678901234567890123456789"); });
        simulation::settle();
        std::string all(64 + 120, 0);
        read_exactly(c.server, mutable_buffer(all.data(), all.size()));
        g.wait();
    });
    explore(500, [] {
        tcp_listener l = tcp_listener::listen(loopback());
        task_group g;
        for (int i = 0; i < 3; ++i) g.go([&] { (void)l.accept(); });
        for (int i = 0; i < 3; ++i) g.go([&] { (void)tcp_stream::connect(l.local_endpoint()); });
        g.wait();
    });
}

// Selects make no call, so those that do have to be woken beside them.
TEST(simulated_network, selects_take_no_event_from_others) {
    explore(2'000, [] {
        connection c;
        channel<int> stop(1);
        int fired = 0;
        task_group g;
        for (int i = 0; i < 2; ++i) {
            g.go([&] { select(on_readable(c.server, [&] { ++fired; }), on_recv(stop, [](auto) {})); });
            g.go([&] { require(!read_a_byte(c.server), "a byte for each"); });
        }
        this_goroutine::yield();
        write_all(c.client, "ab");
        simulation::settle();
        this_goroutine::sleep_for(1s);
        stop.close();
        g.wait();
    });
    // A select that an event has woken may fire for something else.
    explore(2'000, with_network({.least_latency = 1ms, .most_latency = 1ms, .most_event_delay = 0s}), [] {
        connection c;
        channel<int> stop(1);
        task_group g;
        write_all(c.client, "a");
        const auto at = handoff::clock::now() + 1ms;
        for (int i = 0; i < 2; ++i) g.go([&] { select(on_readable(c.server, [] {}), on_recv(stop, [](auto) {})); });
        g.go([&] { require(!read_a_byte(c.server), "a byte"); });
        this_goroutine::sleep_until(at);
        stop.close();
        g.wait();
    });
    explore(1'000, [] {
        tcp_listener one = tcp_listener::listen(loopback()), two = tcp_listener::listen(loopback());
        task_group g;
        for (int i = 0; i < 2; ++i) {
            g.go([&] {
                const auto greet = [](tcp_stream s) { write_all(s, "x"); };
                select(on_accept(one, greet), on_accept(two, greet));
            });
            g.go([&, i] {
                tcp_stream s = tcp_stream::connect((i == 0 ? one : two).local_endpoint());
                require(!read_a_byte(s), "nobody accepts");
            });
        }
        g.wait();
    });
}

// A waiter that is cancelled, or times out, at the instant of the event leaves it to another.
TEST(simulated_network, who_gives_up_takes_no_event_along) {
    explore(2'000, with_network({.least_latency = 1ms, .most_latency = 1ms, .most_event_delay = 0s}), [] {
        connection c;
        task_group stays, goes;
        int got = 0;
        write_all(c.client, "x");   // comes with the timeout and the cancellation
        const auto at = handoff::clock::now() + 1ms;
        goes.go([&] {
            if (!read_a_byte(c.server, 1h)) ++got;
        });
        goes.go([&] {
            if (!read_a_byte(c.server, at)) ++got;
        });
        stays.go([&] { require(!read_a_byte(c.server), "it waits"); });
        this_goroutine::sleep_until(at);
        goes.cancel();
        try {
            goes.wait();
        } catch (const cancelled&) {
        }
        require(got <= 1, "a byte for one");
        if (got == 1) write_all(c.client, "y");
        stays.wait();
    });
}

TEST(simulated_network, deadlines_are_set_while_it_reads) {   // golang/go#68273
    explore(2'000, [] {
        connection c;
        auto first = go([&] { return read_a_byte(c.server); });
        auto second = go([&] { return read_a_byte(c.server, 10h); });
        this_goroutine::yield();
        c.server.set_read_deadline(1s);
        const auto start = handoff::clock::now();
        require(first.join() == std::errc::timed_out, "the first");
        require(second.join() == std::errc::timed_out, "the second");
        require(handoff::clock::now() - start <= 1s, "late");
        c.server.set_deadline({});
        auto third = go([&] { return read_a_byte(c.server); });
        write_all(c.client, "x");
        require(!third.join(), "it was taken away");
    });
}

TEST(simulated_network, deadlines_change_as_they_expire) {   // golang/go#35532
    explore(2'000, [] {
        connection c;
        c.server.set_read_deadline(1s);
        auto reader = go([&] {
            const std::error_code ec = read_a_byte(c.server);
            return std::pair(ec, handoff::clock::now());
        });
        const auto start = handoff::clock::now();
        this_goroutine::sleep_until(start + 1s);
        c.server.set_read_deadline(1s);
        const auto [ec, when] = reader.join();
        require(ec == std::errc::timed_out, "no deadline");
        require(when - start >= 1s && when - start <= 2s, "another time");
        c.server.set_read_deadline({});
        auto again = go([&] { return read_a_byte(c.server); });
        for (int i = 0; i < 5; ++i) c.server.set_read_deadline(std::chrono::seconds(i % 2));
        c.server.set_read_deadline(0s);
        require(again.join() == std::errc::timed_out, "for ever");
    });
}

TEST(simulated_network, close_ends_all_waits) {   // golang/go#45211
    explore(2'000, with_network({.buffer_size = 100}), [] {
        connection c;
        tcp_listener l = tcp_listener::listen(loopback());
        task_group g;
        const auto is_closed = [](const std::error_code& ec) { require(ec == net_errc::closed, "not closed"); };
        for (int i = 0; i < 2; ++i) {
            g.go([&] { is_closed(read_a_byte(c.client)); });
            g.go([&] { is_closed(error_of([&] { write_all(c.client, text_of(300)); })); });
            g.go([&] { is_closed(error_of([&] { (void)l.accept(); })); });
        }
        for (int i = 0; i < 3; ++i) this_goroutine::yield();
        c.client.close();
        l.close();
        g.wait();
        is_closed(read_a_byte(c.client));
        require(c.client.native_handle() == -1 && !c.client.is_open(), "still open");
    });
}

TEST(simulated_network, waits_are_cancelled) {
    explore(500, [] {
        connection c;
        int ended = 0;
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                try {
                    read_a_byte(c.server);
                } catch (const cancelled&) {
                    ++ended;
                    throw;
                }
            });
        this_goroutine::yield();
        g.cancel();
        try {
            g.wait();
        } catch (const cancelled&) {
        }
        write_all(c.client, "x");
        require(!read_a_byte(c.server), "still there");
    });
}

}  // namespace
