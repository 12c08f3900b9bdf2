// Reports of the runtime's own threads where there is no memory for them: a line says so, and all goes on.
#include "fault.hpp"

#include <poll.h>
#include <unistd.h>

namespace {

using namespace fault;

// hears runs body() while no memory is to be had, until stderr has said `text`; needs none itself. False if it does not in
// time.
template <class F>
bool hears(const char* text, F body) {
    int ends[2];
    if (::pipe(ends) != 0) return false;
    const int before = ::dup(2);
    ::dup2(ends[1], 2);
    char said[8192] = "";
    std::size_t n = 0;
    bool heard = false;
    {
        const injection refuse(site::allocation, {.error = ENOMEM});
        body();
        while (!heard && n < sizeof said - 1) {
            pollfd from{ends[0], POLLIN, 0};
            if (::poll(&from, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) != 1) break;
            const ssize_t got = ::read(ends[0], said + n, sizeof said - 1 - n);
            if (got <= 0) break;
            n += static_cast<std::size_t>(got);
            said[n] = '\0';
            heard = std::strstr(said, text) != nullptr;
        }
    }
    ::dup2(before, 2);
    for (const int fd : {before, ends[0], ends[1]}) ::close(fd);
    return heard;
}

bool traces_without_memory() {
    const environment_variable trace("HANDOFF_DEBUG", "schedtrace=1");
    runtime rt({.procs = 1});
    if (!hears("handoff: no memory for a trace line\n", [] {})) return false;
    return rt.run([] { return 7; }) == 7;
}
TEST(reports, of_schedtrace_need_memory) { EXPECT_IN_CHILD(traces_without_memory(), ""); }

bool reports_a_standstill_without_memory() {
    runtime rt({.procs = 1, .deadlock_after = 1ms});
    rt.run([] {});
    handoff::channel<int> ch(0);
    handoff::join_handle<void> waits;
    const bool heard = hears("handoff: all goroutines wait for each other, and there is no memory to say who\n",
                             [&] { waits = rt.go([&ch] { ch.recv(); }); });
    ch.close();
    waits.join();
    return heard;
}
TEST(reports, of_a_standstill_need_memory) { EXPECT_IN_CHILD(reports_a_standstill_without_memory(), ""); }

}  // namespace
