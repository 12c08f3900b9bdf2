// What the tests of files share: runtimes of one and two processors, a directory of their own, and guarded calls counted.
#pragma once

#include "testing.hpp"

#include <handoff/directory.hpp>
#include <handoff/file.hpp>

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace handoff_test {

// A suite that runs with 1 and 2 processors, in a directory that is gone afterwards.
class with_files : public testing::TestWithParam<unsigned> {
protected:
    std::string in(const std::string& name) const { return dir_.path() + '/' + name; }

    handoff::runtime rt_{{.procs = GetParam()}};
    handoff::temporary_directory dir_;
};
#define INSTANTIATE_WITH_FILES(suite) \
    INSTANTIATE_TEST_SUITE_P(procs, suite, testing::Values(1u, 2u), testing::PrintToStringParamName())

// on_each calls f on a goroutine of rt, on this thread, and in a simulation.
template <class F>
void on_each(handoff::runtime& rt, F f) {
    {
        SCOPED_TRACE("on a goroutine");
        rt.run([&] { f(); });
    }
    {
        SCOPED_TRACE("on a thread");
        f();
    }
    SCOPED_TRACE("in a simulation");
    handoff::simulation(1).run([&] { f(); });
}

inline std::uint64_t guarded_calls(const handoff::runtime& rt) {
    const handoff::stats s = rt.stats();
    return s.exits_own + s.exits_without;
}

// What f throws as an io_error: what() and the number of bytes transferred, or "nothing".
template <class F>
std::string io_failure(F f) {
    try {
        f();
    } catch (const handoff::io_error& e) {
        return std::string(e.what()) + " [" + std::to_string(e.transferred()) + "]";
    }
    return "nothing";
}

// A text in which each place differs from its neighbours.
inline std::string pattern(std::size_t n, std::uint64_t seed = 1) {
    std::string s(n, '\0');
    std::uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
    for (char& c : s) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        c = static_cast<char>(x >> 32);
    }
    return s;
}

// in_child runs f in a fork of this process, in the same directory (a death test may start the test anew, in another one), and
// returns how that ended: its exit status, which is 0 if f returned true, or minus the signal.
template <class F>
int in_child(F f) {
    const pid_t child = ::fork();
    if (child == 0) std::_Exit(f() ? 0 : 1);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Ends the process's files at that size from now on, for a child of its own; longer ones are EFBIG, or kill by SIGXFSZ.
inline void limit_file_size(rlim_t bytes) {
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace handoff_test
