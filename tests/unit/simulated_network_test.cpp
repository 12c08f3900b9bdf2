// The network of simulations: it behaves as the kernel's, its own faults come by the seed, and nothing of it is left behind.
#include "simulated_networks.hpp"

#include <set>

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

// ---- It behaves as the kernel's ----

// A server that gives back what comes, and some clients.
void echo(unsigned clients, std::size_t size) {
    tcp_listener l = tcp_listener::listen(loopback());
    task_group g;
    g.go([&] {
        for (unsigned i = 0; i < clients; ++i)
            g.go([s = l.accept()]() mutable {
                char block[77];
                while (const std::size_t n = s.read_some(block)) write_all(s, const_buffer(block, n));
                s.shutdown_write();
            });
    });
    for (unsigned i = 0; i < clients; ++i)
        g.go([&] {
            tcp_stream s = tcp_stream::connect(l.local_endpoint());
            const std::string text = text_of(size);
            auto writer = go([&] {
                write_all(s, text);
                s.shutdown_write();
            });
            require(read_to_end(s, 100) == text, "what comes back is something else");
            writer.join();
        });
    g.wait();
}

TEST(simulated_network, carries_what_is_written) {
    explore(300, [] { echo(3, 2'000); });
    explore(300, with_network({.short_transfers = 0.9, .buffer_size = 100}), [] { echo(2, 1'000); });
    explore(50, with_network({.short_transfers = 0, .buffer_size = 1}), [] { echo(1, 50); });
    explore(20, with_network({.most_latency = 0s, .short_transfers = 0, .most_event_delay = 0s}), [] { echo(3, 2'000); });
}

TEST(simulated_network, same_seed_same_run) {
    auto random = seeded_random("simulated_network.same_seed_same_run");
    std::set<std::uint64_t> different;
    const auto run = [](std::uint64_t seed) {
        simulation sim(seed);
        sim.run([] { echo(3, 500); });
        return std::pair(sim.trace_hash(), sim.elapsed());
    };
    for (int i = 0; i < 30; ++i) {
        const std::uint64_t seed = random();
        const auto first = run(seed);
        EXPECT_EQ(run(seed), first) << "seed " << seed;
        different.insert(first.first);
    }
    EXPECT_EQ(different.size(), 30u);
}

TEST(simulated_network, latency_is_drawn_and_keeps_the_order_within_a_connection) {
    std::set<bool> orders;
    bool overlap = false;
    explore(200, with_network({.least_latency = 2ms, .most_latency = 5ms, .most_event_delay = 0s}), [&] {
        connection a, b;
        const auto start = handoff::clock::now();
        write_all(a.client, "1");
        write_all(b.client, "x");
        write_all(a.client, "2");
        int first = 0;
        std::string got;
        task_group g;
        g.go([&] {
            for (int i = 0; i < 2; ++i) {
                char c;
                require(a.server.read_some(mutable_buffer(&c, 1)) == 1, "one byte");
                got += c;
                const auto took = handoff::clock::now() - start;
                require(took >= 2ms && took <= 5ms, "the latency is what was asked for");
                if (first == 0) first = 1;
            }
        });
        g.go([&] {
            require(!read_a_byte(b.server), "a byte");
            if (first == 0) first = 2;
            if (got == "1") overlap = true;
        });
        g.wait();
        require(got == "12", "overtaken within a connection");
        orders.insert(first == 1);
    });
    EXPECT_EQ(orders.size(), 2u) << "and none between connections";
    EXPECT_TRUE(overlap);
}

TEST(simulated_network, transfers_are_short_by_the_seed) {
    bool short_read = false, short_write = false, whole = false;
    explore(100, [&] {
        auto [a, b] = unix_stream::pair();
        const std::string text = text_of(20);
        const std::size_t written = a.write_some(text);
        char block[100];
        const std::size_t read = b.read_some(block);
        if (written < text.size()) short_write = true;
        if (read < written) short_read = true;
        if (read == text.size()) whole = true;
    });
    EXPECT_TRUE(short_read && short_write && whole);
    explore(50, with_network({.short_transfers = 0}), [&] {
        auto [a, b] = unix_stream::pair();
        require(a.write_some(text_of(20)) == 20, "a short write");
        char block[100];
        require(b.read_some(block) == 20, "a short read");
    });
}

TEST(simulated_network, writes_wait_for_room) {
    explore(200, with_network({.buffer_size = 1000}), [] {
        connection c;
        const std::string text = text_of(1500);
        std::error_code ec;
        try {
            write_all(c.client, text, 1h);
        } catch (const handoff::io_error& e) {
            ec = e.code();
            require(e.transferred() == 1000, "the buffer holds what it should");
        }
        require(ec == std::errc::timed_out, "nobody reads");
        require(error_of([&] { c.client.wait_writable(1h); }) == std::errc::timed_out, "no room");
        auto reader = go([&] {
            std::string all(1500, 0);
            read_exactly(c.server, mutable_buffer(all.data(), all.size()));
            return all;
        });
        c.client.wait_writable();
        write_all(c.client, const_buffer(text.data() + 1000, 500));
        require(reader.join() == text, "all of it");
    });
}

TEST(simulated_network, half_a_connection_can_be_closed) {
    explore(200, [] {
        connection c;
        write_all(c.client, "question");
        c.client.shutdown_write();
        require(read_to_end(c.server, 100) == "question", "to its end");
        require(error_of([&] { write_all(c.client, "x"); }) == std::errc::broken_pipe, "that side is closed");
        write_all(c.server, "answer");
        c.server.close();
        require(read_to_end(c.client, 100) == "answer", "the other way");
        require(read_a_byte(c.client) == handoff::io_errc::end_of_file, "again");
        c.client.wait_readable();
    });
}

TEST(simulated_network, shutdown_read_ends_the_own_reads) {
    explore(200, [] {
        connection c;
        auto reader = go([&] { return read_a_byte(c.server); });
        simulation::settle();
        c.server.shutdown_read();
        require(reader.join() == handoff::io_errc::end_of_file, "the end");
    });
}

TEST(simulated_network, resets_are_errors) {
    explore(200, [] {
        connection c;
        auto reader = go([&] { return read_a_byte(c.server); });
        c.client.set_linger(0s);
        c.client.close();
        require(reader.join() == std::errc::connection_reset, "the reader is told");
        require(error_of([&] { write_all(c.server, "x"); }) == std::errc::broken_pipe, "and the writer");
        require(read_a_byte(c.server) == handoff::io_errc::end_of_file, "once");
    });
    explore(100, [] {   // what was not read resets it
        connection c;
        write_all(c.client, "not read");
        c.server.wait_readable();
        c.server.close();
        require(read_a_byte(c.client) == std::errc::connection_reset, "reset");
    });
    explore(100, [] {   // writing to who has closed
        connection c;
        c.server.close();
        std::error_code ec;
        while (!(ec = error_of([&] { write_all(c.client, "x"); }))) this_goroutine::sleep_for(1ms);
        require(ec == std::errc::broken_pipe || ec == std::errc::connection_reset, "broken");
    });
}

TEST(simulated_network, connections_are_reset_by_the_seed) {
    bool reset = false, whole = false;
    explore(300, with_network({.resets = 0.02}), [&] {
        connection c;
        auto writer = go([&] {
            return error_of([&] {
                for (int i = 0; i < 20; ++i) write_all(c.client, "some text");
                c.client.shutdown_write();
            });
        });
        std::string all;
        const std::error_code ec = error_of([&] { all = read_to_end(c.server, 100); });
        const std::error_code other = writer.join();
        require(ec ? ec == std::errc::connection_reset : all.size() == 180, "all or an error");
        require(!other || other == std::errc::connection_reset || other == std::errc::broken_pipe, "the writer's error");
        (ec ? reset : whole) = true;
    });
    EXPECT_TRUE(reset && whole);
}

TEST(simulated_network, has_names_of_its_own) {
    explore(30, [] {
        tcp_listener l = tcp_listener::listen(loopback());
        require(l.local_endpoint() == loopback(32768), "the first port");
        require(error_of([&] { (void)tcp_listener::listen(l.local_endpoint()); }) == std::errc::address_in_use, "one listener");
        const endpoint any{address::any_v4(), 32768};
        require(error_of([&] { (void)tcp_listener::listen(any); }) == std::errc::address_in_use, "for any, too");
        require(error_of([] { (void)tcp_stream::connect(loopback(80)); }) == std::errc::connection_refused, "nobody there");
        tcp_stream far_away;
        {
            const endpoint there = endpoint::parse("192.0.2.7:80");
            tcp_listener remote = tcp_listener::listen(there);
            far_away = tcp_stream::connect(there);
            require(far_away.peer_endpoint() == there, "all addresses exist");
            endpoint peer;
            tcp_stream s = remote.accept(peer);
            require(peer == far_away.local_endpoint() && s.local_endpoint() == there, "both ends agree");
        }
        require(read_a_byte(far_away) == handoff::io_errc::end_of_file, "closed with its scope");
        const endpoint at = l.local_endpoint();
        l.close();
        require(error_of([&] { (void)tcp_stream::connect(at); }) == std::errc::connection_refused, "it is gone");
        require(error_of([&] { (void)tcp_stream::connect(at, at); }) == net_errc::self_connect, "with itself");
        (void)tcp_listener::listen(at);
    });
}

TEST(simulated_network, listens_for_both_families) {
    explore(30, [] {
        tcp_listener both = tcp_listener::listen({address::any_v6(), 80});
        tcp_stream four = tcp_stream::connect(loopback(80));
        endpoint peer;
        tcp_stream s = both.accept(peer);
        require(peer.ip() == address::loopback_v4().to_v4_mapped(), "a mapped address");
        require(peer.port() == four.local_endpoint().port(), "its port");
        tcp_stream six = tcp_stream::connect({address::loopback_v6(), 80});
        s = both.accept(peer);
        require(peer == six.local_endpoint(), "the other family");
        tcp_listener only = tcp_listener::listen({address::any_v6(), 81}, {.only_v6 = true});
        require(error_of([] { (void)tcp_stream::connect(loopback(81)); }) == std::errc::connection_refused, "not for IPv4");
        std::vector<tcp_listener> shared;
        for (int i = 0; i < 2; ++i) shared.push_back(tcp_listener::listen(loopback(82), {.reuse_port = true}));
        tcp_stream t = tcp_stream::connect(loopback(82));
    });
}

TEST(simulated_network, unix_names_are_no_files) {
    for (const endpoint& at : {endpoint::unix_path("/nowhere/at/all"), endpoint::unix_abstract("name")}) {
        explore(50, [&] {
            {
                unix_listener l = unix_listener::listen(at);
                require(l.local_endpoint() == at, "its name");
                require(error_of([&] { (void)unix_listener::listen(at); }) == std::errc::address_in_use, "one listener");
                auto server = go([&] {
                    unix_stream s = l.accept();
                    write_all(s, read_to_end(s, 100));
                });
                unix_stream s = unix_stream::connect(at);
                require(s.peer_endpoint() == at, "whom it is connected to");
                write_all(s, "hello");
                s.shutdown_write();
                require(read_to_end(s, 100) == "hello", "an echo");
                server.join();
            }
            const std::error_code gone = error_of([&] { (void)unix_stream::connect(at); });
            const auto expected = at.has_abstract_name() ? std::errc::connection_refused : std::errc::no_such_file_or_directory;
            require(gone == expected, "gone");
        });
    }
}

TEST(simulated_network, a_full_backlog_lets_others_wait) {
    explore(100, [] {
        tcp_listener l = tcp_listener::listen(loopback(), {.backlog = 1});
        unix_listener u = unix_listener::listen(endpoint::unix_abstract("u"), {.backlog = 1});
        task_group g;
        const auto gets_a_byte = [](auto s) { require(!read_a_byte(s), "a byte"); };
        for (int i = 0; i < 5; ++i) {
            g.go([&] { gets_a_byte(tcp_stream::connect(l.local_endpoint())); });
            g.go([&] { gets_a_byte(unix_stream::connect(u.local_endpoint())); });
        }
        for (int i = 0; i < 5; ++i) {
            tcp_stream t = l.accept();
            write_all(t, "x");
            unix_stream s = u.accept();
            write_all(s, "x");
            this_goroutine::sleep_for(10ms);
        }
        g.wait();
    });
    explore(20, [] {
        tcp_listener l = tcp_listener::listen(loopback(), {.backlog = 0});
        tcp_stream first = tcp_stream::connect(l.local_endpoint());
        const auto start = handoff::clock::now();
        require(error_of([&] { (void)tcp_stream::connect(l.local_endpoint()); }) == std::errc::timed_out, "as the kernel");
        require(handoff::clock::now() - start > 60s, "after its tries");
    });
}

TEST(simulated_network, accept_passes_over_failures) {   // ECONNABORTED; joyent/libuv#690: EMFILE has no second edge
    explore(300, with_network({.aborted_accepts = 0.3, .accept_shortages = 0.5}), [] {
        tcp_listener l = tcp_listener::listen(loopback());
        int done = 0;
        task_group g;
        for (int i = 0; i < 3; ++i)
            g.go([&] {
                for (std::error_code ec = net_errc::closed; ec;) {
                    tcp_stream s = tcp_stream::connect(l.local_endpoint(), ec);
                    if (!ec) ec = read_a_byte(s);
                    require(!ec || ec == std::errc::connection_reset, "aborted");
                }
                if (++done == 3) l.close();
            });
        for (;;) {
            std::error_code ec;
            tcp_stream s = l.accept(ec);
            if (ec == net_errc::closed) break;
            require(!ec, "accept fails");
            write_all(s, "x");
        }
        g.wait();
    });
    explore(300, with_network({.accept_shortages = 0.999}), [] {
        tcp_listener l = tcp_listener::listen(loopback());
        tcp_stream s = tcp_stream::connect(l.local_endpoint());
        auto accepts = go([&] { return error_of([&] { (void)l.accept(); }); });
        this_goroutine::sleep_for(50ms);
        l.set_read_deadline(5ms);
        const auto start = handoff::clock::now();
        const std::error_code ec = accepts.join();
        require(!ec || (ec == std::errc::timed_out && handoff::clock::now() - start <= 5ms), "late");
    });
}

// ---- Its ends ----

TEST(simulated_network, sockets_are_closed_when_the_run_ends) {
    tcp_listener l;
    std::unique_ptr<connection> c;
    simulation sim(1);
    sim.run([&] {
        const std::size_t before = own_descriptor_count();
        l = tcp_listener::listen(loopback(80));
        c = std::make_unique<connection>();
        EXPECT_GE(c->client.native_handle(), 1 << 30);
        EXPECT_EQ(own_descriptor_count(), before);
        simulation(2).run([&] {   // a network of its own
            EXPECT_EQ(error_of([&] { write_all(c->client, "x"); }), std::errc::bad_file_descriptor);
            EXPECT_EQ(error_of([] { (void)tcp_stream::connect(loopback(80)); }), std::errc::connection_refused);
            (void)tcp_listener::listen(loopback(80));
        });
        write_all(c->client, "x");
    });
    EXPECT_FALSE(l.is_open());
    EXPECT_EQ(read_a_byte(c->server), net_errc::closed);
    EXPECT_EQ(error_of([&] { write_all(c->client, "x"); }), net_errc::closed);
    sim.run([&] {
        EXPECT_EQ(read_a_byte(c->server), net_errc::closed);
        (void)tcp_listener::listen(loopback(80));
    });
}

TEST(simulated_network, is_apart_from_the_process) {
    runtime rt({.procs = 1});
    rt.run([] {
        connection outside;
        simulation sim(1);
        sim.run([&] { EXPECT_THROW(read_a_byte(outside.server), usage_error); });
        write_all(outside.client, "x");
        EXPECT_EQ(read_a_byte(outside.server), std::error_code());
        sim.run([&] {
            auto [a, b] = unix_stream::pair();
            std::error_code ec;
            std::thread([&b = b, &ec] { ec = read_a_byte(b); }).join();
            EXPECT_EQ(ec, std::errc::bad_file_descriptor);
        });
    });
}

TEST(simulated_network, a_wait_for_nothing_is_a_deadlock) {
    simulation sim(1);
    std::string what;
    try {
        sim.run([] {
            connection c;
            read_a_byte(c.server);
        });
    } catch (const deadlock& e) {
        what = e.what();
    }
    EXPECT_NE(what.find("waiting for network"), std::string::npos) << what;
}

TEST(simulated_network, refuses_bad_options) {
    const auto refused = [](const network_options& o) {
        try {
            simulation(1, with_network(o));
        } catch (const std::invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    EXPECT_EQ(refused({}), "");
    EXPECT_NE(refused({.least_latency = 2ms}).find("least_latency"), std::string::npos);
    EXPECT_NE(refused({.most_latency = -1ns}).find("most_latency"), std::string::npos);
    EXPECT_NE(refused({.short_transfers = 1.5}).find("short_transfers"), std::string::npos);
    EXPECT_NE(refused({.buffer_size = 0}).find("buffer_size"), std::string::npos);
    EXPECT_NE(refused({.resets = -0.5}).find("resets"), std::string::npos);
    EXPECT_NE(refused({.accept_shortages = 1}).find("accept_shortages"), std::string::npos);
}

}  // namespace
