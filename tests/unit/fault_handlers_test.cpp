// Our handler for SIGSEGV and SIGBUS beside those of others, which pass on to the one that they found: each is called once,
// however runtimes come and go; then the process dies of the signal.
#include "testing.hpp"

#include <csignal>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using handoff::runtime;
using namespace handoff_test;

namespace {

void say(const char* text) {
    [[maybe_unused]] const auto written = ::write(2, text, std::strlen(text));
}

// Crash reporters: N says its number, and passes on to the handler that it found when it was installed last.
template <int N>
struct reporter {
    static inline struct sigaction before[65];
    static inline int flags = SA_SIGINFO | SA_ONSTACK;

    static void report(int signal, siginfo_t* info, void* context) {
        static const char text[] = {'<', static_cast<char>('0' + N), '>', '\0'};
        say(text);
        const struct sigaction& b = before[signal];
        if (b.sa_flags & SA_SIGINFO) b.sa_sigaction(signal, info, context);
        else if (b.sa_handler != SIG_DFL) b.sa_handler(signal);
        else {
            ::signal(signal, SIG_DFL);
            if (info->si_code <= 0) ::raise(signal);
        }
    }
    static void install() {
        for (const int signal : {SIGSEGV, SIGBUS}) {
            struct sigaction a {};
            a.sa_sigaction = report;
            a.sa_flags = flags;
            ::sigaction(signal, &a, &before[signal]);
        }
    }
    static void remove() {
        for (const int signal : {SIGSEGV, SIGBUS}) ::sigaction(signal, &before[signal], nullptr);
    }
    static bool is_installed() {
        struct sigaction now {};
        ::sigaction(SIGSEGV, nullptr, &now);
        return (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == report;
    }
};
using one = reporter<1>;
using two = reporter<2>;

void nobody() {
    ::signal(SIGSEGV, SIG_DFL);
    ::signal(SIGBUS, SIG_DFL);
}

handoff::options single() { return {.procs = 1, .stack_size = 64 * 1024}; }

void use_a_runtime() { runtime(single()).run([] {}); }

void segv() { *static_cast<volatile char*>(::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) = 1; }
void sent_segv() { ::raise(SIGSEGV); }
void sent_bus() { ::raise(SIGBUS); }

[[gnu::noinline]] int recurse(int depth) {
    volatile char block[1024];
    block[0] = static_cast<char>(depth);
    return depth == 100'000 ? 0 : recurse(depth + 1) + block[0];
}
void overflow() { recurse(0); }

// `before` is done without a runtime, then the fault happens: on a goroutine of another runtime, or beside that.
[[noreturn]] void die(void (*before)(), void (*fault)(), bool on_goroutine) {
    nobody();
    before();
    runtime rt(single());
    if (on_goroutine) rt.run(fault);
    fault();
    std::_Exit(3);
}

void expect_reports(void (*before)(), const char* said) {
    for (const bool on_goroutine : {true, false}) {
        EXPECT_EXIT(die(before, segv, on_goroutine), testing::KilledBySignal(SIGSEGV), said);
        EXPECT_EXIT(die(before, sent_segv, on_goroutine), testing::KilledBySignal(SIGSEGV), said);
        EXPECT_EXIT(die(before, sent_bus, on_goroutine), testing::KilledBySignal(SIGBUS), said);
    }
}

void reporter_between_runtimes() {
    runtime first(single());
    first.run([] {});
    one::install();
}

TEST(fault_handlers, one_installed_between_runtimes_is_called_once) { expect_reports(reporter_between_runtimes, "^<1>$"); }

void without_a_signal_stack() {
    one::flags = SA_SIGINFO;
    reporter_between_runtimes();
}

TEST(fault_handlers, without_a_signal_stack_too) { expect_reports(without_a_signal_stack, "^<1>$"); }

// Nobody was there when it came, and we must not go over it.
TEST(fault_handlers, one_installed_after_a_runtime_is_called_once) {
    const auto before = [] {
        use_a_runtime();
        one::install();
        use_a_runtime();
    };
    expect_reports(before, "^<1>$");
}

// It was there before us, and is put over us once more: it finds us, and we would find it.
TEST(fault_handlers, one_installed_again_over_ours_is_called_once) {
    const auto before = [] {
        one::install();
        runtime rt(single());
        one::install();
    };
    expect_reports(before, "^<1>$");
}

// 2 passes on to 1, we to 2, and 1, put over us once more, to us: a circle of three that others have made.
TEST(fault_handlers, longer_circles_of_others_end) {
    const auto before = [] {
        one::install();
        two::install();
        runtime rt(single());
        one::install();
    };
    expect_reports(before, "^<1><2><1>$");
}

TEST(fault_handlers, those_of_before_and_after_have_their_turn) {
    const auto before = [] {
        one::install();
        runtime rt(single());
        two::install();
    };
    expect_reports(before, "^<2><1>$");
}

// Where one that came later has kept its place, it passes overflows on to us.
TEST(fault_handlers, overflow_is_reported_below_one_that_came_later) {
    EXPECT_EXIT(die(reporter_between_runtimes, overflow, true), testing::KilledBySignal(SIGSEGV),
                "^<1>handoff: goroutine [0-9]+ .* has overflowed its stack of 64 KiB");
}

// One that comes and goes leaves us as we were, also where ours was not restored in between.
TEST(fault_handlers, overflow_is_reported_after_another_has_gone) {
    const auto gone_early = [] {
        runtime rt(single());
        one::install();
        one::remove();
    };
    const auto gone_late = [] {
        reporter_between_runtimes();
        one::remove();
    };
    const auto gone_for_nobody = [] {
        reporter_between_runtimes();
        nobody();
    };
    const auto was_there_before = [] {
        one::install();
        use_a_runtime();
    };
    const char* const said = "^handoff: goroutine [0-9]+ .* has overflowed its stack of 64 KiB";
    EXPECT_EXIT(die(gone_early, overflow, true), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(die(gone_late, overflow, true), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(die(gone_for_nobody, overflow, true), testing::KilledBySignal(SIGSEGV), said);
    EXPECT_EXIT(die(was_there_before, overflow, true), testing::KilledBySignal(SIGSEGV), said);
}

// In a process of its own, where no runtime has been.
bool keeps_later_ones_in_place() {
    nobody();
    use_a_runtime();
    one::install();
    runtime rt(single());
    if (!one::is_installed()) return false;
    rt.run([] {});
    return one::is_installed();
}

TEST(fault_handlers, one_that_came_later_keeps_its_place) { EXPECT_IN_CHILD(keeps_later_ones_in_place(), ""); }

bool are_those(const struct sigaction (&right)[2]) {
    const int signals[] = {SIGSEGV, SIGBUS};
    for (int i = 0; i < 2; ++i) {
        struct sigaction now {};
        ::sigaction(signals[i], nullptr, &now);
        if (now.sa_sigaction != right[i].sa_sigaction) return false;
    }
    return true;
}

bool installs_none() {
    nobody();
    struct sigaction before[2];
    ::sigaction(SIGSEGV, nullptr, &before[0]);
    ::sigaction(SIGBUS, nullptr, &before[1]);
    handoff::options without = single();
    without.fault_handlers = false;
    {
        runtime rt(without);
        rt.run([] {});
        if (!are_those(before)) return false;
        runtime with(single());   // this one may
        if (are_those(before)) return false;
    }
    return are_those(before);
}

TEST(fault_handlers, are_not_installed_by_who_must_not) { EXPECT_IN_CHILD(installs_none(), ""); }

}  // namespace
