// What a program can make of the runtime's threads: their names, options::on_thread_start and on_thread_exit.
#include "locks.hpp"

#include <fstream>
#include <functional>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <string>

using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

std::string name_of(pid_t tid) {
    std::ifstream comm("/proc/self/task/" + std::to_string(tid) + "/comm");
    std::string name;
    std::getline(comm, name);
    return name;
}

// use_threads has as many goroutines in calls at once.
void use_threads(runtime& rt, std::size_t n) {
    std::atomic<std::size_t> inside{0};
    crowd all;
    for (std::size_t i = 0; i < n; ++i)
        all.go(rt, [&] {
            handoff::blocking_call(handoff::handoff_policy::immediate, [&] {
                ++inside;
                EXPECT_TRUE(block_until([&] { return inside == n; }));
            });
        });
    all.join();
}

// Whether each thread of rt has the name that `right` says for its id.
bool all_are_named(const runtime& rt, const std::function<std::string(int id)>& right) {
    const auto all = rt.snapshot().threads;
    return std::all_of(all.begin(), all.end(), [&](const auto& t) { return name_of(t.tid) == right(t.id); });
}

TEST(thread_names, are_those_of_the_snapshot) {
    runtime rt({.procs = 2});
    use_threads(rt, 12);
    EXPECT_GE(rt.snapshot().threads.size(), 12u);
    EXPECT_EVENTUALLY(all_are_named(rt, [](int id) { return "handoff/" + std::to_string(id); }));
    EXPECT_EQ(name_of(this_tid()).rfind("handoff/", 0), std::string::npos);   // it is not one of them
}

TEST(thread_names, may_be_changed) {
    std::atomic<int> others{0};
    runtime rt({.procs = 2, .on_thread_start = [&] {
                    if (name_of(this_tid()).rfind("handoff/", 0) != 0) ++others;
                    ::pthread_setname_np(::pthread_self(), "mine");
                }});
    use_threads(rt, 4);
    EXPECT_EVENTUALLY(all_are_named(rt, [](int) { return "mine"; }));
    EXPECT_EQ(others, 0);
}

// life records what happens to the threads of a runtime. It uses the library, as the functions of the options may.
class life {
public:
    handoff::options watch(handoff::options o) {
        o.on_thread_start = [this] { began(); };
        o.on_thread_exit = [this] { ended(); };
        return o;
    }
    std::size_t begins() const { return count(begun_); }
    std::size_t ends() const { return count(ended_); }
    bool has_begun(pid_t tid) const { return has(begun_, tid); }
    bool has_ended(pid_t tid) const { return has(ended_, tid); }
    bool is_even() const { return begun_ == ended_; }   // once the runtime has ended
    int wrong() const { return wrong_; }

private:
    // Its destructor comes at the thread's end.
    struct at_thread_end {
        const life* of;
        constexpr at_thread_end() noexcept : of(nullptr) {}
        ~at_thread_end() {
            if (of && !of->has_ended(this_tid())) ++of->wrong_;
        }
    };
    static inline thread_local at_thread_end last;

    void began() {
        if (this_goroutine::id() != 0 || last.of) ++wrong_;
        last.of = this;
        handoff::channel<int> ch(1);
        ch.send(1);
        const std::lock_guard hold(lock_);
        begun_.insert(this_tid());
    }
    void ended() {
        if (this_goroutine::id() != 0) ++wrong_;
        const std::lock_guard hold(lock_);
        ended_.insert(this_tid());
    }
    std::size_t count(const std::multiset<pid_t>& in) const {
        const std::lock_guard hold(lock_);
        return in.size();
    }
    bool has(const std::multiset<pid_t>& in, pid_t tid) const {
        const std::lock_guard hold(lock_);
        return in.contains(tid);
    }

    mutable handoff::mutex lock_;
    std::multiset<pid_t> begun_, ended_;   // the kernel may use a number again
    mutable std::atomic<int> wrong_{0};
};

class thread_options : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(procs, thread_options, testing::Values(1u, 2u, 4u));

TEST_P(thread_options, are_called_on_each_thread) {
    life threads;
    {
        runtime rt(threads.watch({.procs = GetParam()}));
        use_threads(rt, 8);
        rt.run([&] { EXPECT_TRUE(threads.has_begun(this_tid())); });
        EXPECT_EVENTUALLY(threads.begins() == rt.stats().threads_created);
        for (const auto& t : rt.snapshot().threads) EXPECT_TRUE(threads.has_begun(t.tid)) << to_string(t.state);
        EXPECT_EQ(threads.ends(), 0u);
    }
    EXPECT_GE(threads.ends(), 9u);   // the monitor's, too
    EXPECT_TRUE(threads.is_even());
    EXPECT_EQ(threads.wrong(), 0);
}

TEST_P(thread_options, are_called_on_a_thread_that_goes_with_its_goroutine) {
    life threads;
    {
        runtime rt(threads.watch({.procs = GetParam()}));
        const pid_t tid = rt.run([&] {
            handoff::lock_os_thread();
            EXPECT_FALSE(threads.has_ended(this_tid()));
            return this_tid();
        });
        EXPECT_EVENTUALLY(threads.has_ended(tid));
        EXPECT_EQ(threads.ends(), 1u);
    }
    EXPECT_TRUE(threads.is_even());
    EXPECT_EQ(threads.wrong(), 0);
}

TEST_P(thread_options, are_called_on_threads_that_retire) {
    life threads;
    {
        runtime rt(threads.watch({.procs = GetParam(), .idle_thread_timeout = 1ms}));
        use_threads(rt, 12);
        EXPECT_EVENTUALLY(rt.stats().threads <= GetParam() + 2 && threads.ends() == rt.stats().threads_retired);
        EXPECT_GT(threads.ends(), 0u);
        use_threads(rt, 12);   // new ones
    }
    EXPECT_TRUE(threads.is_even());
    EXPECT_EQ(threads.wrong(), 0);
}

// A thread in on_thread_exit counts no longer, so another takes its place.
TEST(thread_exit, keeps_no_place_of_max_threads) {
    std::atomic<bool> may_go{false}, inside{false};
    std::atomic<int> ends{0};
    runtime rt({.procs = 1, .max_threads = 2, .on_thread_exit = [&] {
                    if (ends++ != 0) return;
                    inside = true;
                    EXPECT_TRUE(block_until([&] { return may_go.load(); }));
                }});
    rt.run([] { handoff::lock_os_thread(); });
    EXPECT_EVENTUALLY(inside.load());
    EXPECT_EQ(rt.run([] { return 5; }), 5);
    may_go = true;
}

void run_with(handoff::options o) {
    runtime rt(std::move(o));
    rt.run([] {});
}

TEST(throwing_thread_options, end_the_process_by_name) {
    EXPECT_EXIT(run_with({.on_thread_start = [] { throw std::runtime_error("no licence"); }}), testing::KilledBySignal(SIGABRT),
                "handoff: options.on_thread_start has thrown an exception: no licence");
    EXPECT_EXIT(run_with({.on_thread_exit = [] { throw std::runtime_error("not found"); }}), testing::KilledBySignal(SIGABRT),
                "handoff: options.on_thread_exit has thrown an exception: not found");
    EXPECT_EXIT(run_with({.on_thread_start = [] { throw 7; }}), testing::KilledBySignal(SIGABRT),
                "handoff: options.on_thread_start has thrown an exception that is no std::exception");
}

}  // namespace
