// Sockets as cases of a select.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/select.hpp>
#include <handoff/net/tcp.hpp>

using namespace handoff_test;
using handoff::go;
using handoff::net::net_errc;
using handoff::net::read_exactly;
using handoff::net::tcp_listener;
using handoff::net::tcp_stream;
using handoff::net::write_all;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class sockets_in_select : public with_procs {};
INSTANTIATE_WITH_PROCS(sockets_in_select);

TEST_P(sockets_in_select, are_cases) {
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

TEST_P(sockets_in_select, fire_as_they_are_closed) {
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
TEST_P(sockets_in_select, leave_what_came_to_a_reader) {
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

TEST_P(sockets_in_select, are_accepted) {
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

}  // namespace
