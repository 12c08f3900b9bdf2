// The start of child processes: programs, streams, environments, and what goes wrong. And run, which does all of it.
#include "locks.hpp"
#include "networks.hpp"
#include "processes.hpp"

#include <handoff/net/algorithms.hpp>

#include <csignal>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace handoff_test;
using handoff::task_group;
using handoff::net::child_stream;
using handoff::net::process;
using handoff::net::process_options;
using handoff::net::process_output;
using handoff::net::run;
using handoff::net::write_all;

namespace {

constexpr std::size_t plenty = 1 << 20;

class started_processes : public with_procs {};
INSTANTIATE_WITH_PROCS(started_processes);

std::string output_of(process_options o) {
    process_output r = run(std::move(o), plenty, patience);
    EXPECT_TRUE(r.status.success()) << r.status.to_string() << " " << r.err;
    return r.out;
}

// One that copies what it reads.
process_options cat() {
    return {.program = "cat", .in = child_stream::pipe(), .out = child_stream::pipe(), .err = child_stream::null()};
}

// ---- Streams ----

TEST_P(started_processes, are_written_to_and_read) {
    on_both(rt_, [] {
        process_options o = cat();
        o.err = child_stream::pipe();
        process p = process::start(o);
        EXPECT_NE(::fcntl(p.in().native_handle(), F_GETFL) & O_NONBLOCK, 0);
        EXPECT_EQ(::fcntl(p.in().native_handle(), F_GETFD), FD_CLOEXEC);
        EXPECT_EQ(::fcntl(p.out().native_handle(), F_GETFD), FD_CLOEXEC);
        const std::string text = random_text(300'000, 1);   // more than the pipes hold
        task_group g;
        g.go([&] {
            write_all(p.in(), text);
            p.in().close();
        });
        EXPECT_EQ(read_to_end(p.out(), 10'000), text);
        g.wait();
        EXPECT_EQ(read_to_end(p.err()), "");
        EXPECT_TRUE(p.wait().success());
    });
}

TEST_P(started_processes, have_the_streams_that_they_were_given) {
    rt_.run([] {
        auto [r, w] = handoff::net::make_pipe();
        process_options o = shell("cat; echo told; echo warned >&2; exec 1>&- 2>&-; test -c /dev/stdin");
        o.in = child_stream::null();
        o.out = o.err = child_stream::descriptor(w.native_handle());
        process p = process::start(o);
        EXPECT_FALSE(p.in().is_open());
        EXPECT_FALSE(p.out().is_open());
        w.close();
        EXPECT_EQ(read_to_end(r), "told\nwarned\n");
        EXPECT_EQ(p.wait().code(), 0);
    });
}

// Streams are made in their order, and none may overwrite what the next is made of.
TEST_P(started_processes, may_have_exchanged_streams) {
    rt_.run([] {
        process_options inner = shell("echo to_out; echo to_err >&2");
        process_options o = shell("sh -c 'echo to_out; echo to_err >&2' 3>&1 1>&2 2>&3");
        const process_output r = run(o, plenty, patience);
        EXPECT_EQ(r.out, "to_err\n");   // the shell can
        EXPECT_EQ(r.err, "to_out\n");
        // And so can we, of a program whose own streams are pipes.
        int saved[2] = {::fcntl(1, F_DUPFD_CLOEXEC, 3), ::fcntl(2, F_DUPFD_CLOEXEC, 3)};
        auto [out, out_w] = handoff::net::make_pipe();
        auto [err, err_w] = handoff::net::make_pipe();
        ::dup2(out_w.native_handle(), 1);
        ::dup2(err_w.native_handle(), 2);
        inner.out = child_stream::descriptor(2);
        inner.err = child_stream::descriptor(1);
        const bool success = process::start(inner).wait().success();
        ::dup2(saved[0], 1);
        ::dup2(saved[1], 2);
        for (const int fd : saved) ::close(fd);
        out_w.close();
        err_w.close();
        EXPECT_TRUE(success);
        EXPECT_EQ(read_to_end(out), "to_err\n");
        EXPECT_EQ(read_to_end(err), "to_out\n");
    });
}

// A daemon has closed its own, so that new descriptors get their numbers.
bool works_without_standard_streams() {
    handoff::runtime rt;
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    return rt.run([] {
        process p = process::start(cat());
        if (p.in().native_handle() <= 2 || p.out().native_handle() <= 2) return false;
        write_all(p.in(), "through");
        p.in().close();
        return read_to_end(p.out()) == "through" && p.wait().success();
    });
}
TEST(started_process, of_a_program_without_standard_streams) { EXPECT_IN_CHILD(works_without_standard_streams(), ""); }

std::string link_of(pid_t pid, int fd) {
    char target[100];
    const ssize_t n = ::readlink(("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
    return {target, n > 0 ? static_cast<std::size_t>(n) : 0};
}

// A second child that has the first one's input would keep that from ending, and so would the first one itself.
TEST_P(started_processes, have_no_pipe_of_others) {
    rt_.run([] {
        const process own = process::start(cat());
        const std::string in = link_of(own.pid(), 0), out = link_of(own.pid(), 1);
        EXPECT_EQ(in.substr(0, 5) + out.substr(0, 5), "pipe:pipe:");
        for (int fd = 2; fd < 100; ++fd) EXPECT_TRUE(link_of(own.pid(), fd) != in && link_of(own.pid(), fd) != out) << fd;
        process first = process::start({.program = "cat", .in = child_stream::pipe(), .out = child_stream::null()});
        process second = process::start(waiter());
        first.in().close();
        EXPECT_TRUE(first.wait(patience).success());
    });
}

// ---- Programs ----

TEST_P(started_processes, get_arguments_environment_and_directory) {
    rt_.run([] {
        EXPECT_EQ(output_of({.program = "printf", .arguments = {"%s|", "one", "", "two words", "$HOME"}}), "one||two words|$HOME|");
        const environment_variable ours("HANDOFF_OF_PARENT", "yes");
        EXPECT_EQ(output_of(shell("echo $HANDOFF_OF_PARENT")), "yes\n");
        process_options given = shell("echo $A-$HANDOFF_OF_PARENT");
        given.environment = {{"A=1", "B=2"}};
        EXPECT_EQ(output_of(given), "1-\n");
        EXPECT_EQ(output_of({.program = "env", .environment = std::vector<std::string>()}), "");
        EXPECT_EQ(output_of({.program = "pwd", .environment = std::vector<std::string>(), .directory = "/usr/bin"}), "/usr/bin\n");
        EXPECT_EQ(output_of({.program = "./sh", .arguments = {"-c", "echo here"}, .directory = "/bin"}), "here\n");
    });
}

// A goroutine's thread may block signals, and servers ignore SIGPIPE.
TEST_P(started_processes, have_the_usual_signals) {
    const auto pipe_before = ::signal(SIGPIPE, SIG_IGN), hup_before = ::signal(SIGHUP, SIG_IGN);
    rt_.run([] {
        handoff::lock_os_thread();
        sigset_t all, before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        const std::string status = output_of({.program = "cat", .arguments = {"/proc/self/status"}});
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        handoff::unlock_os_thread();
        const auto mask = [&](const char* name) {
            const auto at = status.find(name);
            return at == status.npos ? ~0ull : std::stoull(status.substr(at + 8), nullptr, 16);
        };
        EXPECT_EQ(mask("SigBlk:\t"), 0u) << status;
        const auto bit = [](int number) { return 1ull << (number - 1); };
        EXPECT_EQ(mask("SigIgn:\t") & (bit(SIGPIPE) | bit(SIGHUP)), bit(SIGHUP)) << status;
    });
    ::signal(SIGPIPE, pipe_before);
    ::signal(SIGHUP, hup_before);
}

// ---- What goes wrong ----

std::string why_not(const process_options& o) {
    return thrown_by<std::system_error>([&] { process::start(o); });
}
std::error_code error_of_start(const process_options& o) {
    std::error_code ec;
    const process p = process::start(o, ec);
    EXPECT_EQ(p.pid(), -1);
    return ec;
}

TEST_P(started_processes, that_do_not_start_say_why) {
    on_both(rt_, [] {
        const std::size_t before = settled_descriptor_count();
        process_options o = cat();
        o.program = "no-such-program";
        EXPECT_EQ(why_not(o), "handoff: start of no-such-program: No such file or directory");
        o.program = "/etc/passwd";
        EXPECT_EQ(error_of_start(o), std::errc::permission_denied);
        o.program = "cat";
        o.directory = "/no/such";
        EXPECT_EQ(why_not(o), "handoff: start of cat in directory /no/such: No such file or directory");
        o.directory = {};
        o.out = child_stream::descriptor(1'000'000);
        EXPECT_EQ(why_not(o), "handoff: start of the standard output of cat: Bad file descriptor");
        o.out = child_stream::pipe();
        for (const auto& add : {+[](process_options& p) { p.program = ""; }, +[](process_options& p) { p.program.push_back('\0'); },
                                +[](process_options& p) { p.arguments.emplace_back("a\0b", 3); },
                                +[](process_options& p) { p.environment = {std::string("A=\0", 3)}; },
                                +[](process_options& p) { p.directory = std::string("/\0", 2); }}) {
            process_options wrong = o;
            add(wrong);
            EXPECT_EQ(error_of_start(wrong), std::errc::invalid_argument);
        }
        EXPECT_EQ(settled_descriptor_count(), before);
        std::error_code ec = std::make_error_code(std::errc::io_error);
        EXPECT_TRUE(process::start({.program = "true"}, ec).wait().success());
        EXPECT_FALSE(ec);
    });
}

// Each number of descriptors that are left: it either fails and leaves nothing, or works.
bool starts_or_leaves_nothing() {
    handoff::runtime rt;
    return rt.run([&] {
        if (error_of([] { process::start(waiter()).wait(1ms); }) != std::errc::timed_out) return false;   // opens the runtime's own
        const std::size_t before = settled_descriptor_count();
        bool failed = false, worked = false;
        for (rlim_t most = 3; most < 40; ++most) {
            rlimit limit{}, old{};
            ::getrlimit(RLIMIT_NOFILE, &old);
            limit = old;
            limit.rlim_cur = most;
            ::setrlimit(RLIMIT_NOFILE, &limit);
            std::error_code ec;
            process p = process::start(cat(), ec);
            ::setrlimit(RLIMIT_NOFILE, &old);
            failed |= ec == std::errc::too_many_files_open;
            if (ec && (ec != std::errc::too_many_files_open || settled_descriptor_count() != before)) return false;
            if (ec) continue;
            worked = true;
            p.in().close();
            if (!p.wait(patience).success()) return false;
        }
        return failed && worked && settled_descriptor_count() == before;
    });
}
TEST(started_process, when_descriptors_are_short) { EXPECT_IN_CHILD(starts_or_leaves_nothing(), ""); }

// ---- run ----

TEST_P(started_processes, are_run) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            const process_output r = run(shell("cat; echo out; echo err >&2; exit 4"), plenty);
            EXPECT_EQ(r.status.code(), 4);
            EXPECT_EQ(r.out, "out\n");
            EXPECT_EQ(r.err, "err\n");
            process_options quiet = shell("echo out; echo err >&2");
            quiet.err = child_stream::null();
            EXPECT_EQ(run(quiet, plenty).err, "");
            const process_output much = run(shell("head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2"), 300'000, patience);
            EXPECT_EQ(much.out.size(), 300'000u);
            EXPECT_EQ(much.err.size(), 200'000u);
        });
    });
}

TEST_P(started_processes, are_run_within_bounds) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            const std::size_t before = settled_descriptor_count();
            std::error_code ec;
            run(shell("echo abcdefgh"), 5, ec);
            ASSERT_EQ(ec, std::errc::message_size);
            const process_output r = run(shell("echo abcdefgh; exec sleep 1000"), 5, ec, patience);
            EXPECT_EQ(ec, std::errc::message_size);
            EXPECT_EQ(r.out, "abcde");
            const process_output late = run(shell("echo begun; exec sleep 1000"), 100, ec, 300ms);
            EXPECT_EQ(ec, std::errc::timed_out);
            EXPECT_TRUE(late.out == "begun\n" || late.out.empty()) << late.out;
            EXPECT_LE(settled_descriptor_count(), before + 2) << "those of the runtime";
            EXPECT_EQ(thrown_by<std::system_error>([] { run({.program = "no-such-program"}, 1); }),
                      "handoff: run of no-such-program: No such file or directory");
        });
    });
}

// Whoever else has the pipes, as a server that was started in the background.
TEST_P(started_processes, are_run_until_they_end) {
    with_and_without_pidfd([this] {
        on_both(rt_, [] {
            process_output r = run(shell("sleep 1000 & echo $!"), plenty, patience);
            EXPECT_TRUE(r.status.success());
            ASSERT_GT(std::atoi(r.out.c_str()), 1);
            EXPECT_EQ(::kill(std::atoi(r.out.c_str()), SIGKILL), 0) << "it was still there, with the pipe";
        });
    });
}

}  // namespace
