// Pipes and FIFOs: what is written is read; whose descriptors become non-blocking; and no SIGPIPE.
#include "locks.hpp"
#include "networks.hpp"

#include "net/quiet_write.hpp"

#include <handoff/net/algorithms.hpp>
#include <handoff/net/pipe.hpp>

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::mutable_buffer;
using handoff::const_buffer;
using handoff::go;
using handoff::task_group;
using handoff::net::make_pipe;
using handoff::net::net_errc;
using handoff::net::pipe_reader;
using handoff::net::pipe_writer;
using handoff::net::write_all;
namespace this_goroutine = handoff::this_goroutine;

static_assert(handoff::net::readable_stream<pipe_reader> && !handoff::net::writable_stream<pipe_reader>);
static_assert(handoff::net::writable_stream<pipe_writer> && !handoff::net::stream<pipe_writer>);

namespace {

bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }
bool is_close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

// A pipe as programs make it, whose ends are the test's.
struct raw_pipe {
    int ends[2] = {-1, -1};
    explicit raw_pipe(int flags = 0) { EXPECT_EQ(::pipe2(ends, flags), 0); }
    ~raw_pipe() { ::close(ends[0]), ::close(ends[1]); }
};

// The path of a FIFO that lives as long as the object.
struct fifo {
    std::string path;
    fifo() {
        static std::atomic<int> count{0};
        path = "/tmp/handoff_pipe_test." + std::to_string(::getpid()) + "." + std::to_string(++count);
        EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    }
    ~fifo() { ::unlink(path.c_str()); }
};

class pipes : public with_procs {};
INSTANTIATE_WITH_PROCS(pipes);

TEST_P(pipes, carry_what_is_written) {
    rt_.run([] {
        task_group g;
        for (unsigned i = 0; i < 10; ++i)
            g.go([i] {
                auto [r, w] = make_pipe();
                const std::string text = random_text(scaled(500'000), i);
                auto writer = go([&] {
                    EXPECT_EQ(write_all(w, text), text.size());
                    w.close();
                });
                EXPECT_EQ(read_to_end(r), text);
                writer.join();
            });
        g.wait();
    });
}

TEST_P(pipes, end_after_the_last_byte) {
    rt_.run([] {
        for (int i = 0; i < 200; ++i) {
            auto [r, w] = make_pipe();
            auto reader = go([&] { return read_to_end(r); });
            if (i % 2 == 0) this_goroutine::yield();
            write_all(w, "the last");
            w.close();
            EXPECT_EQ(reader.join(), "the last");
        }
    });
}

TEST_P(pipes, are_read_by_the_algorithms) {
    rt_.run([] {
        auto [r, w] = make_pipe();
        const const_buffer parts[] = {"one\n", "", "two\nthr"};
        EXPECT_EQ(w.write_some(std::span(parts)), 11u);
        EXPECT_EQ(w.write_some(""), 0u);
        char a[2], b[1];
        const mutable_buffer into[] = {a, b};
        EXPECT_EQ(r.read_some(std::span(into)), 3u);
        EXPECT_EQ(std::string_view(a, 2), "on");
        EXPECT_EQ(b[0], 'e');
        EXPECT_EQ(r.read_some(mutable_buffer()), 0u);
        std::string text;
        EXPECT_EQ(read_until(r, text, "two\n", 100), 5u);
        w.close();
        char c[10];
        EXPECT_EQ(error_of([&] { read_exactly(r, c); }), handoff::io_errc::end_of_file);
    });
}

TEST_P(pipes, wait_without_a_thread_until_a_deadline_or_close) {
    rt_.run([this] {
        auto [r, w] = make_pipe();
        char b[10];
        EXPECT_EQ(error_of([&] { r.read_some(b, 5ms); }), std::errc::timed_out);
        EXPECT_EQ(error_of([&] { r.wait_readable(1ms); }), std::errc::timed_out);
        w.wait_writable(0s);
        const std::string much(1'000'000, 'x');   // more than a pipe holds
        task_group g;
        std::atomic<int> cancelled{0}, closed{0};
        const auto counts = [&](auto f) {
            return [&, f] {
                try {
                    f();
                } catch (const std::system_error& e) {
                    closed += e.code() == net_errc::closed;
                } catch (const handoff::cancelled&) {
                    ++cancelled;
                }
            };
        };
        g.go(counts([&] { char c[10]; (void)r.read_some(c); }));
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        EXPECT_LT(rt_.stats().threads_most, 16u);   // some were made while the others began
        g.cancel();
        ASSERT_EVENTUALLY(cancelled == 1);
        task_group h;
        h.go(counts([&] { char c[10]; (void)r.read_some(c); }));
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        r.set_read_deadline(0s);
        EXPECT_EVENTUALLY(waiting(rt_, network) == 0);
        h.wait();
        auto [r2, w2] = make_pipe();
        h.go(counts([&] { write_all(w2, much); }));
        h.go(counts([&] { char c[10]; (void)r.read_some(c, patience); }));   // its own deadline is over
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        w2.close();
        h.wait();
        EXPECT_EQ(closed, 1);
        EXPECT_EQ(error_of([&] { w2.write_some("x"); }), net_errc::closed);
        EXPECT_EQ(error_of([&] { pipe_reader().read_some(b); }), net_errc::closed);
    });
}

TEST_P(pipes, that_are_full_make_writers_wait) {
    rt_.run([this] {
        auto [r, w] = make_pipe();
        const std::string text(1'000'000, 'x');
        auto writer = go([&] {
            write_all(w, text);
            w.close();
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        EXPECT_EQ(read_to_end(r).size(), text.size());
        writer.join();
    });
}

// ---- SIGPIPE ----

// Each kind of kernel: with the flag for that, if this one has it, and without.
template <class F>
void with_and_without_flag(F f) {
    for (const bool flag : {true, false}) {
        SCOPED_TRACE(flag ? "by the flag, if there is one" : "by blocking the signal");
        handoff::net::has_rwf_nosignal = flag;
        f();
    }
    handoff::net::has_rwf_nosignal = true;
}

bool is_pending() {
    sigset_t s;
    return ::sigpending(&s) == 0 && sigismember(&s, SIGPIPE) == 1;
}
bool is_blocked() {
    sigset_t s;
    return ::pthread_sigmask(SIG_BLOCK, nullptr, &s) == 0 && sigismember(&s, SIGPIPE) == 1;
}

bool writes_to_nobody() {
    auto [r, w] = make_pipe();
    r.close();
    std::error_code ec;
    return w.write_some("x", ec) == 0 && ec == std::errc::broken_pipe && error_of([&] { w.write_some("y"); }) == ec;
}

TEST_P(pipes, that_nobody_reads_are_an_error_and_no_signal) {
    ::signal(SIGPIPE, SIG_DFL);   // it would end the program
    with_and_without_flag([this] {
        EXPECT_TRUE(rt_.run(writes_to_nobody));
        EXPECT_TRUE(writes_to_nobody());
        EXPECT_FALSE(is_blocked());
        EXPECT_FALSE(is_pending());
        auto [r, w] = make_pipe();
        rt_.run([&, this, &reader = r, &writer = w] {   // while it waits
            auto waits = go([&] { return error_of([&] { write_all(writer, std::string(1'000'000, 'x')); }); });
            ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
            reader.close();
            EXPECT_EQ(waits.join(), std::errc::broken_pipe);
        });
    });
}

TEST(quiet_write, leaves_the_thread_as_it_was) {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &pipe, nullptr), 0);
    with_and_without_flag([] {
        EXPECT_TRUE(writes_to_nobody());
        EXPECT_FALSE(is_pending());
        EXPECT_TRUE(is_blocked());
    });
    ASSERT_EQ(::raise(SIGPIPE), 0);
    with_and_without_flag([] {
        EXPECT_TRUE(writes_to_nobody());
        EXPECT_TRUE(is_pending()) << "one that was not ours";
    });
    const timespec at_once{};
    EXPECT_EQ(::sigtimedwait(&pipe, nullptr, &at_once), SIGPIPE);
    ASSERT_EQ(::pthread_sigmask(SIG_UNBLOCK, &pipe, nullptr), 0);
}

// ---- Other people's descriptors ----

TEST_P(pipes, that_are_taken_become_non_blocking) {
    rt_.run([] {
        raw_pipe p;
        pipe_reader r = pipe_reader::take(p.ends[0]);
        EXPECT_EQ(r.native_handle(), p.ends[0]);
        EXPECT_FALSE(is_blocking(p.ends[0]));
        EXPECT_TRUE(is_close_on_exec(p.ends[0]));
        EXPECT_TRUE(is_blocking(p.ends[1])) << "a child may have it";
        EXPECT_FALSE(is_close_on_exec(p.ends[1]));
        auto reader = go([&] { return read_to_end(r); });
        this_goroutine::yield();
        ASSERT_EQ(::write(p.ends[1], "hello", 5), 5);
        pipe_writer w = pipe_writer::take(p.ends[1]);
        write_all(w, " and more");
        w.close();
        EXPECT_EQ(reader.join(), "hello and more");
        r.close();
        EXPECT_EQ(::fcntl(p.ends[0], F_GETFD), -1);
        p.ends[0] = p.ends[1] = -1;
    });
}

TEST_P(pipes, that_are_refused_stay_as_they_were) {
    rt_.run([] {
        raw_pipe p;
        EXPECT_EQ(error_of([&] { (void)pipe_reader::take(p.ends[1]); }), std::errc::bad_file_descriptor);
        EXPECT_EQ(error_of([&] { (void)pipe_writer::take(p.ends[0]); }), std::errc::bad_file_descriptor);
        EXPECT_TRUE(is_blocking(p.ends[0]));
        EXPECT_FALSE(is_close_on_exec(p.ends[0]));
        EXPECT_EQ(error_of([] { (void)pipe_reader::take(-1); }), std::errc::bad_file_descriptor);
        const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        const std::string said = thrown_by<std::system_error>([&] { (void)pipe_reader::take(file); });
        EXPECT_NE(said.find("descriptor " + std::to_string(file) + ", which is no pipe"), std::string::npos) << said;
        EXPECT_EQ(error_of([&] { (void)pipe_writer::reopen(file); }), std::errc::invalid_argument);
        EXPECT_EQ(::fcntl(file, F_GETFD), FD_CLOEXEC);
        ::close(file);
    });
}

// podman-container-tools/buildah#3152
TEST_P(pipes, that_are_standard_streams_are_not_touched) {
    const int before = ::dup(0);
    raw_pipe p;
    ASSERT_EQ(::dup2(p.ends[0], 0), 0);
    rt_.run([&] {
        const std::string said = thrown_by<std::system_error>([] { (void)pipe_reader::take(0); });
        EXPECT_NE(said.find("standard stream"), std::string::npos) << said;
        pipe_reader r = pipe_reader::reopen(0);
        EXPECT_TRUE(is_blocking(0));
        EXPECT_FALSE(is_blocking(r.native_handle()));
        EXPECT_TRUE(is_close_on_exec(r.native_handle()));
        pipe_writer w = pipe_writer::reopen(p.ends[1]);
        auto reader = go([&] {
            char b[10];
            return r.read_some(b);
        });
        this_goroutine::yield();
        write_all(w, "x");
        EXPECT_EQ(reader.join(), 1u);
        EXPECT_TRUE(is_blocking(p.ends[1]));
        r.close();
        EXPECT_NE(::fcntl(0, F_GETFD), -1);
        w.close();
        EXPECT_NE(::fcntl(p.ends[1], F_GETFD), -1);
    });
    ASSERT_EQ(::dup2(before, 0), 0);
    ::close(before);
    ::close(p.ends[0]);
    p.ends[0] = -1;
    EXPECT_EQ(error_of([&] { pipe_writer::reopen(p.ends[1]).write_some("x"); }), std::errc::broken_pipe);
    fifo f;
    pipe_reader r = pipe_reader::open(f.path);
    pipe_writer w = pipe_writer::open(f.path);
    r.close();
    EXPECT_EQ(error_of([&] { (void)pipe_writer::reopen(w.native_handle()); }), std::errc::broken_pipe);
}

// Each read gets a packet, however large the buffer is: a short read leaves something behind.
TEST_P(pipes, of_packets_leave_none_behind) {
    rt_.run([this] {
        raw_pipe p(O_DIRECT | O_CLOEXEC);
        pipe_reader r = pipe_reader::take(p.ends[0]);
        p.ends[0] = -1;
        auto reader = go([&] {
            std::string all;
            char b[100];
            for (int i = 0; i < 4; ++i) all.append(b, r.read_some(b)) += ' ';
            return all;
        });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        for (const char* packet : {"a", "bc", "def", "g"}) ASSERT_GT(::write(p.ends[1], packet, std::strlen(packet)), 0);
        EXPECT_EQ(reader.join(), "a bc def g ");
    });
}

// ---- FIFOs ----

TEST_P(pipes, with_a_path_wait_for_the_other_end) {
    rt_.run([this] {
        fifo f;
        EXPECT_EQ(error_of([&] { (void)pipe_writer::open(f.path, 20ms); }), std::errc::timed_out);
        auto writer = go([&] { return pipe_writer::open(f.path, patience); });
        this_goroutine::yield();
        pipe_reader r = pipe_reader::open(f.path);
        char b[10];
        pipe_writer w = writer.join();
        EXPECT_EQ(error_of([&] { r.read_some(b, 1ms); }), std::errc::timed_out);
        write_all(w, "first");
        w.close();
        EXPECT_EQ(read_to_end(r), "first");
        w = pipe_writer::open(f.path);   // another one
        auto reader = go([&] { return read_to_end(r); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        write_all(w, "second");
        w.close();
        EXPECT_EQ(reader.join(), "second");
        EXPECT_TRUE(is_close_on_exec(r.native_handle()));
    });
}

TEST_P(pipes, with_a_path_do_not_end_before_a_writer_has_come) {
    rt_.run([this] {
        fifo f;
        pipe_reader r = pipe_reader::open(f.path);
        char b[10];
        EXPECT_EQ(error_of([&] { r.read_some(b, 5ms); }), std::errc::timed_out);
        auto reader = go([&] { return read_to_end(r); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        pipe_writer::open(f.path).close();   // a writer without a word
        EXPECT_EQ(reader.join(), "");
    });
}

TEST_P(pipes, with_a_path_name_what_is_wrong) {
    rt_.run([] {
        const std::size_t before = own_descriptor_count();
        const std::string said = thrown_by<std::system_error>([] { (void)pipe_reader::open("/proc/self/exe"); });
        EXPECT_NE(said.find("/proc/self/exe"), std::string::npos) << said;
        EXPECT_EQ(error_of([] { (void)pipe_reader::open("/proc/self/exe"); }), std::errc::invalid_argument);
        EXPECT_EQ(error_of([] { (void)pipe_writer::open("/nowhere/x"); }), std::errc::no_such_file_or_directory);
        EXPECT_EQ(error_of([] { (void)pipe_writer::open(std::string("a\0b", 3)); }), std::errc::invalid_argument);
        EXPECT_EQ(error_of([] { (void)pipe_reader::open(std::string("a\0b", 3)); }), std::errc::invalid_argument);
        EXPECT_EQ(own_descriptor_count(), before);
    });
}

}  // namespace
