// Streams of Unix domain sockets, as far as they differ from TCP (tcp_test.cpp).
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/tcp.hpp>
#include <handoff/net/unix.hpp>

#include <cstring>
#include <sys/socket.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::mutable_buffer;
using handoff::go;
using handoff::net::endpoint;
using handoff::net::unix_listener;
using handoff::net::unix_stream;
using handoff::net::write_all;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class unix_sockets : public with_procs {};
INSTANTIATE_WITH_PROCS(unix_sockets);

TEST_P(unix_sockets, have_paths_and_abstract_names) {
    rt_.run([] {
        const std::string path = "/tmp/handoff_unix_stream_test." + std::to_string(::getpid());
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

TEST_P(unix_sockets, wait_for_room_in_the_backlog) {
    rt_.run([] {
        unix_listener l = unix_listener::listen(endpoint::unix_abstract("handoff_unix_stream_test.backlog." + std::to_string(::getpid())), {.backlog = 0});
        const unix_stream first = unix_stream::connect(l.local_endpoint());
        EXPECT_EQ(error_of([&] { (void)unix_stream::connect(l.local_endpoint(), 5ms); }), std::errc::timed_out);
        auto second = go([&] { return unix_stream::connect(l.local_endpoint(), patience); });
        this_goroutine::sleep_for(5ms);
        (void)l.accept();
        EXPECT_TRUE(second.join().is_open());
    });
}

// The kernel ends a read behind bytes that came with descriptors, though others are there, of which it tells no more.
TEST_P(unix_sockets, are_read_on_behind_descriptors) {
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

}  // namespace
