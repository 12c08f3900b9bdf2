// A goroutine that ends its thread, by pthread_exit or as one that was cancelled, ends the process, which says which one it was.
#include "testing.hpp"

#include <csignal>
#include <pthread.h>
#include <unistd.h>

using handoff::runtime;
using namespace handoff_test;

namespace {

// Unwound with the rest.
struct guarded {
    ~guarded() { [[maybe_unused]] volatile int x = 0; }
};

void exits() {
    guarded g;
    ::pthread_exit(nullptr);
}

void is_cancelled() {
    guarded g;
    ::pthread_cancel(::pthread_self());
    char c;
    pipe_pair p;
    [[maybe_unused]] const auto n = ::read(p.read_end(), &c, 1);   // a cancellation point
}

using body = void (*)();

[[noreturn]] void run(body f, int way) {
    ::signal(SIGABRT, SIG_DFL);   // not the sanitizer's
    runtime rt({.procs = 1});
    handoff::spawn_options o{.name = "leaver"};
    o.site = {"some/dir/leaver.cc", 21};
    rt.go(o, [=] {
        switch (way) {
            case 0: f(); break;
            case 1: handoff::blocking_call(f); break;
            case 2: handoff::call_on_thread_stack(f); break;
            case 3: {
                handoff::once_flag once;
                handoff::call_once(once, f);
                break;
            }
        }
    }).join();
    std::_Exit(3);
}

[[noreturn]] void run_in_group(body f) {
    ::signal(SIGABRT, SIG_DFL);
    runtime rt({.procs = 1});
    rt.run([=] {
        handoff::task_group g;
        g.go(f);
        g.wait();
    });
    std::_Exit(3);
}

[[noreturn]] void run_in_simulation(body f) {
    ::signal(SIGABRT, SIG_DFL);
    handoff::simulation(1).run([=] { handoff::go(f).join(); });
    std::_Exit(3);
}

TEST(thread_end, inside_a_goroutine_names_it) {
    if (with_tsan) GTEST_SKIP() << "it does not unwind through its own functions";
    for (const body f : {exits, is_cancelled}) {
        for (int way = 0; way < 4; ++way)
            EXPECT_EXIT(run(f, way), testing::KilledBySignal(SIGABRT),
                        "^handoff: goroutine [0-9]+ \"leaver\" \\(leaver\\.cc:21\\) has called pthread_exit, or its thread was cancelled");
        EXPECT_EXIT(run_in_group(f), testing::KilledBySignal(SIGABRT), "^handoff: goroutine [0-9]+ .*has called pthread_exit");
    }
    EXPECT_EXIT(run_in_simulation(exits), testing::KilledBySignal(SIGABRT), "^handoff: goroutine 2 .*has called pthread_exit");
}

}  // namespace
