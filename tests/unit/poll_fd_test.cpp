// Waiting for descriptors that the program or a library reads by itself.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/poll_fd.hpp>

#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::go;
using handoff::task_group;
using handoff::net::net_errc;
using handoff::net::poll_fd;
using handoff::net::wait_fd;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// Two connected sockets that are not the library's, as a database's client has them.
struct foreign {
    int a = -1, b = -1;
    foreign() {
        int fds[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        a = fds[0];
        b = fds[1];
    }
    ~foreign() {
        close_a();
        if (b >= 0) ::close(b);
    }
    void close_a() {
        if (a >= 0) ::close(std::exchange(a, -1));
    }
    void write(const char* text = "x") const { EXPECT_GT(::send(b, text, std::string_view(text).size(), MSG_NOSIGNAL), 0); }
    bool read() const {
        char c[100];
        return ::recv(a, c, sizeof c, MSG_DONTWAIT) > 0;
    }
    void fill() const {   // until nothing can be written to a
        while (::send(a, "some bytes", 10, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {}
    }
    void drain() const {
        char c[1000];
        while (::recv(b, c, sizeof c, MSG_DONTWAIT) > 0) {}
    }
};

void signal(int fd) {
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(fd, &one, sizeof one), 8);
}
bool consume(int fd) {
    std::uint64_t n;
    return ::read(fd, &n, sizeof n) == 8;
}

class poll_fds : public with_procs {};
INSTANTIATE_WITH_PROCS(poll_fds);

TEST_P(poll_fds, that_were_taken_wait_and_are_closed) {
    rt_.run([this] {
        const int fd = ::eventfd(0, EFD_NONBLOCK);
        poll_fd p = poll_fd::take(fd);
        EXPECT_EQ(p.native_handle(), fd);
        EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
        p.wait_writable(0s);
        EXPECT_EQ(error_of([&] { p.wait_readable(5ms); }), std::errc::timed_out);
        for (int i = 0; i < 50; ++i) {
            auto waits = go([&] {
                p.wait_readable();
                return consume(fd);
            });
            if (i % 2 == 0) {
                ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
            }
            signal(fd);
            EXPECT_TRUE(waits.join());
        }
        auto waits = go([&] { return error_of([&] { p.wait_readable(); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        p.close();
        EXPECT_EQ(waits.join(), net_errc::closed);
        EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
        EXPECT_EQ(p.native_handle(), -1);
        EXPECT_EQ(error_of([] { poll_fd().wait_readable(); }), net_errc::closed);
    });
}

TEST_P(poll_fds, that_were_borrowed_wait_in_both_directions) {
    rt_.run([this] {
        foreign f;
        poll_fd p = poll_fd::borrow(f.a);
        EXPECT_EQ(p.native_handle(), f.a);
        for (int i = 0; i < 20; ++i) {
            f.fill();
            EXPECT_EQ(error_of([&] { p.wait_writable(0s); }), std::errc::timed_out);
            auto reader = go([&] {
                p.wait_readable();
                return f.read();
            });
            auto writer = go([&] { p.wait_writable(); });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 2);
            if (i % 2 == 0) {
                f.drain();
                writer.join();
                f.write();
                EXPECT_TRUE(reader.join());
            } else {
                f.write();
                EXPECT_TRUE(reader.join());
                f.drain();
                writer.join();
            }
        }
        auto waits = go([&] { return error_of([&] { p.wait_readable(); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        p.set_read_deadline(0s);
        EXPECT_EQ(waits.join(), std::errc::timed_out);
        p.close();
        EXPECT_EQ(error_of([&] { p.wait_readable(); }), net_errc::closed);
        EXPECT_NE(::fcntl(f.a, F_GETFD), -1) << "it is the owner's";
    });
}

TEST_P(poll_fds, that_were_borrowed_may_be_borrowed_several_times) {
    rt_.run([this] {
        foreign f;
        poll_fd first = poll_fd::borrow(f.a), second = poll_fd::borrow(f.a);
        task_group g;
        for (poll_fd* p : {&first, &second, &first}) g.go([=] { p->wait_readable(); });
        g.go([&] { EXPECT_EQ(wait_fd(f.a, POLLIN), POLLIN); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 4);
        f.write();
        g.wait();
        second.close();
        EXPECT_TRUE(f.read());
        auto waits = go([&] { first.wait_readable(); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        f.write();
        waits.join();
    });
}

// What the kernel knows of others is in /proc/self/fdinfo of each epoll object.
std::size_t registrations_of(int fd) {
    std::size_t n = 0;
    for (int e = 0; e < 200; ++e) {
        std::FILE* info = std::fopen(("/proc/self/fdinfo/" + std::to_string(e)).c_str(), "re");
        if (!info) continue;
        char line[200];
        int target = -1;
        while (std::fgets(line, sizeof line, info)) n += std::sscanf(line, "tfd: %d", &target) == 1 && target == fd;
        std::fclose(info);
    }
    return n;
}

// curl/curl#14976, moonbitlang/async#571
TEST_P(poll_fds, leave_no_registration_behind) {
    rt_.run([this] {
        foreign f;
        const int copy = ::dup(f.a);   // keeps it alive in the kernel, as a child would
        EXPECT_EQ(error_of([&] { (void)wait_fd(f.a, POLLIN, 1ms); }), std::errc::timed_out);   // opens the runtime's own
        const std::size_t before = own_descriptor_count();
        std::size_t seen = 0;
        {
            poll_fd p = poll_fd::borrow(f.a);
            auto waits = go([&] { return error_of([&] { p.wait_readable(); }); });
            auto once = go([&] { return error_of([&] { (void)wait_fd(f.a, POLLIN, 50ms); }); });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 2);
            seen = registrations_of(f.a);
            EXPECT_EQ(once.join(), std::errc::timed_out);
            p.close();
            EXPECT_EQ(waits.join(), net_errc::closed);
        }
        EXPECT_EQ(seen, 2u);
        EXPECT_EQ(registrations_of(f.a), 0u);
        EXPECT_EQ(own_descriptor_count(), before);
        const int number = f.a;
        auto late = go([&] { return error_of([&] { (void)wait_fd(number, POLLIN, 100ms); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        f.close_a();   // while somebody waits: no event comes of that
        EXPECT_EQ(late.join(), std::errc::timed_out);
        EXPECT_EQ(registrations_of(number), 0u);
        f.write();   // to the copy: nobody is there to be told
        ::close(copy);
    });
}

TEST_P(poll_fds, do_not_keep_connections_open) {
    rt_.run([this] {
        foreign f;
        auto late = go([&] { return error_of([&] { (void)wait_fd(f.a, POLLIN, 200ms); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        f.close_a();
        EXPECT_EQ(wait_fd(f.b, POLLIN, patience) & POLLHUP, POLLHUP) << "the peer sees it at once";
        EXPECT_EQ(waiting(rt_, network), 1u);
        EXPECT_EQ(late.join(), std::errc::timed_out);
    });
}

TEST_P(poll_fds, refuse_what_is_always_ready) {
    rt_.run([] {
        const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        const std::string said = thrown_by<std::system_error>([&] { (void)poll_fd::borrow(file); });
        const std::string expected = "borrow of descriptor " + std::to_string(file) + ": the descriptor can't be waited for";
        EXPECT_NE(said.find(expected), std::string::npos) << said;
        EXPECT_EQ(error_of([&] { (void)poll_fd::take(file); }), net_errc::not_pollable);
        EXPECT_EQ(error_of([&] { (void)poll_fd::take(file); }), std::errc::operation_not_permitted);
        EXPECT_EQ(::fcntl(file, F_GETFD), FD_CLOEXEC) << "it is still the caller's";
        EXPECT_EQ(wait_fd(file, POLLIN), POLLIN);
        pollfd p[] = {{file, POLLPRI, 0}};
        EXPECT_EQ(handoff::net::poll(p, 5ms), 0);
        ::close(file);   // its number is the next one that is given away
        EXPECT_EQ(error_of([&] { (void)poll_fd::take(file); }), std::errc::bad_file_descriptor);
        EXPECT_EQ(error_of([&] { (void)wait_fd(file, POLLIN); }), std::errc::bad_file_descriptor);
        EXPECT_EQ(error_of([] { (void)wait_fd(-1, POLLIN); }), std::errc::bad_file_descriptor);
    });
}

TEST_P(poll_fds, of_many_kinds) {
    rt_.run([] {
        const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        poll_fd t = poll_fd::take(timer);
        const itimerspec each{{0, 3'000'000}, {0, 3'000'000}};
        ASSERT_EQ(::timerfd_settime(timer, 0, &each, nullptr), 0);
        for (int i = 0; i < 5; ++i) {
            t.wait_readable();
            EXPECT_TRUE(consume(timer));
        }
        const std::string path = "/tmp/handoff_poll_fd_test." + std::to_string(::getpid());
        const int notes = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        poll_fd n = poll_fd::borrow(notes);
        ASSERT_GE(::inotify_add_watch(notes, "/tmp", IN_CREATE), 0);
        auto waits = go([&] { n.wait_readable(); });
        this_goroutine::yield();
        ::close(::open(path.c_str(), O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
        waits.join();
        ::unlink(path.c_str());
        n.close();
        ::close(notes);
    });
}

// golang/go#72900, chriskohlhoff/asio#452: it was readable, but another goroutine has read it.
TEST_P(poll_fds, that_several_read_lose_nothing) {
    rt_.run([] {
        const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        poll_fd p = poll_fd::take(fd);
        std::atomic<unsigned> got{0};
        const unsigned all = static_cast<unsigned>(scaled(2'000));
        task_group g;
        for (int i = 0; i < 4; ++i)
            g.go([&] {
                for (;;) {
                    std::error_code ec;
                    p.wait_readable(ec);
                    if (ec) break;
                    if (consume(fd) && ++got == all) p.close();
                }
            });
        for (unsigned i = 0; i < all; ++i) {
            signal(fd);
            if (i % 16 == 0) this_goroutine::yield();
        }
        g.wait();
        EXPECT_EQ(got, all);
    });
}

// ---- Waits of several at once ----

TEST_P(poll_fds, are_polled_together) {
    rt_.run([this] {
        foreign f[3];
        f[2].fill();
        pollfd p[] = {{f[0].a, POLLIN, 0}, {-1, POLLIN, -1}, {f[1].a, POLLIN, 0}, {f[2].a, POLLOUT, 0}, {f[1].a, POLLPRI, 0}};
        EXPECT_EQ(handoff::net::poll(p, 0s), 0);
        EXPECT_EQ(p[1].revents, 0);
        EXPECT_EQ(handoff::net::poll(p, 5ms), 0);
        for (int i = 0; i < 10; ++i) {
            auto waits = go([&] { return handoff::net::poll(p); });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
            f[1].write();
            EXPECT_EQ(waits.join(), 1);
            EXPECT_EQ(p[2].revents, POLLIN);
            EXPECT_EQ(p[0].revents | p[1].revents | p[3].revents | p[4].revents, 0);
            EXPECT_TRUE(f[1].read());
        }
        f[0].write();
        f[2].drain();
        EXPECT_EQ(handoff::net::poll(p), 2);
        EXPECT_EQ(p[3].revents, POLLOUT);
        const int gone = f[1].a;
        f[1].close_a();
        EXPECT_EQ(handoff::net::poll(p), 4);
        EXPECT_EQ(p[2].fd, gone);
        EXPECT_EQ(p[2].revents, POLLNVAL);
        EXPECT_EQ(handoff::net::poll({}, 1ms), 0);
    });
}

// The same descriptor, for one event each: none of the entries takes the place of another.
TEST_P(poll_fds, are_polled_together_with_themselves) {
    rt_.run([this] {
        foreign f;
        f.fill();
        for (const bool reads : {true, false}) {
            pollfd p[] = {{f.a, POLLIN, 0}, {f.a, POLLOUT, 0}, {f.a, 0, 0}};
            auto waits = go([&] { return handoff::net::poll(p); });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
            if (reads) f.write();
            else f.drain();
            EXPECT_EQ(waits.join(), 1);
            EXPECT_EQ(p[reads ? 0 : 1].revents, reads ? POLLIN : POLLOUT);
            (void)f.read();
        }
    });
}

TEST_P(poll_fds, are_polled_until_a_cancellation) {
    rt_.run([this] {
        foreign f;
        EXPECT_EQ(error_of([&] { (void)wait_fd(f.a, POLLIN, 1ms); }), std::errc::timed_out);   // opens the runtime's own
        const std::size_t before = own_descriptor_count();
        std::atomic<bool> cancelled{false};
        task_group g;
        g.go([&] {
            try {
                (void)wait_fd(f.a, POLLIN);
            } catch (const handoff::cancelled&) {
                cancelled = true;
            }
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        g.cancel();
        try {
            g.wait();
        } catch (const handoff::cancelled&) {
        }
        EXPECT_TRUE(cancelled);
        EXPECT_EQ(own_descriptor_count(), before);
        EXPECT_EQ(registrations_of(f.a), 0u);
    });
}

TEST_P(poll_fds, need_no_thread_and_no_time_while_they_wait) {
    rt_.run([this] {
        foreign f[20];
        task_group g;
        for (auto& one : f) g.go([&] { EXPECT_EQ(wait_fd(one.a, POLLIN), POLLIN); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 20);
        EXPECT_LT(rt_.stats().threads_most, 16u);   // some were made while the others began
        const bool at_rest = eventually([] {
            const auto before = process_cpu_time();
            this_goroutine::sleep_for(100ms);
            return process_cpu_time() - before < 5ms;
        });
        EXPECT_TRUE(at_rest);
        for (auto& one : f) one.write();
        g.wait();
    });
}

TEST(poll_fd, moves_to_another_runtime_when_its_own_has_ended) {
    foreign f;
    poll_fd p = poll_fd::borrow(f.a);
    for (int i = 0; i < 3; ++i) {
        handoff::runtime rt({.procs = 2});
        rt.run([&] {
            auto waits = go([&] { p.wait_readable(); });
            EXPECT_EVENTUALLY(waiting(rt, network) == 1);
            f.write();
            waits.join();
            EXPECT_TRUE(f.read());
        });
    }
}

TEST(poll_fd, serves_threads_by_the_default_runtime) {
    (void)handoff::default_runtime();
    foreign f;
    std::thread writer([&] {
        std::this_thread::sleep_for(5ms);
        f.write();
    });
    EXPECT_EQ(wait_fd(f.a, POLLIN), POLLIN);
    writer.join();
    EXPECT_TRUE(f.read());
    EXPECT_EQ(error_of([&] { (void)wait_fd(f.a, POLLIN, 1ms); }), std::errc::timed_out);
}

}  // namespace
