// Signals that goroutines wait for.
#include "locks.hpp"
#include "networks.hpp"

#include <handoff/net/select.hpp>
#include <handoff/net/signal_set.hpp>

#include <csignal>
#include <fcntl.h>
#include <pthread.h>
#include <set>
#include <unistd.h>

using namespace handoff_test;
using handoff::go;
using handoff::task_group;
using handoff::net::net_errc;
using handoff::net::signal_info;
using handoff::net::signal_set;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// What the tests use. All threads of the program have to block them, so this is done before main. SIGURG is sent by nobody else.
const int counted_one = SIGRTMIN + 5, counted_two = SIGRTMIN + 6, not_blocked = SIGRTMIN + 9;
constexpr int merged = SIGURG;
[[maybe_unused]] const bool blocked_before_main = (signal_set::block({counted_one, counted_two, merged}), true);

// To the process, as another one would. Not raise: that is for the calling thread.
void send(int number) { EXPECT_EQ(::kill(::getpid(), number), 0); }
void send(int number, int value) {
    sigval v{};
    v.sival_int = value;
    EXPECT_EQ(::sigqueue(::getpid(), number, v), 0);
}

void unblock_here(int number) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, number);
    ASSERT_EQ(::pthread_sigmask(SIG_UNBLOCK, &s, nullptr), 0);
}

class signal_sets : public with_procs {
protected:
    ~signal_sets() override {   // what a failed test has left
        signal_set all = signal_set::open({counted_one, counted_two, merged});
        while (all.try_wait()) {}
    }
};
INSTANTIATE_WITH_PROCS(signal_sets);

TEST_P(signal_sets, tell_who_has_sent_what) {
    on_both(rt_, [] {
        signal_set s = signal_set::open({counted_one, merged});
        EXPECT_EQ(::fcntl(s.native_handle(), F_GETFD), FD_CLOEXEC);
        send(counted_one, 17);
        const signal_info one = s.wait();
        EXPECT_EQ(one.number, counted_one);
        EXPECT_EQ(one.code, SI_QUEUE);
        EXPECT_EQ(one.pid, ::getpid());
        EXPECT_EQ(one.uid, ::getuid());
        EXPECT_EQ(one.value, 17);
        EXPECT_FALSE(s.try_wait());
        send(merged);
        std::error_code ec = net_errc::closed;
        const std::optional<signal_info> two = s.try_wait(ec);
        EXPECT_FALSE(ec);
        ASSERT_TRUE(two);
        EXPECT_EQ(two->number, merged);
        EXPECT_EQ(two->code, SI_USER);
        EXPECT_FALSE(s.try_wait(ec));
        EXPECT_FALSE(ec) << "nothing there is no error";
    });
}

TEST_P(signal_sets, wake_who_waits) {
    rt_.run([this] {
        signal_set s = signal_set::open({counted_one});
        for (int i = 0; i < 50; ++i) {
            auto waits = go([&] { return s.wait().value; });
            if (i % 2 == 0) {
                ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
            }
            send(counted_one, i);
            EXPECT_EQ(waits.join(), i);
        }
    });
}

TEST_P(signal_sets, wake_threads) {
    handoff::default_runtime();
    signal_set s = signal_set::open({counted_one});
    crowd c;
    std::atomic<int> got{0};
    for (int i = 0; i < 2; ++i) c.thread([&] { got += s.wait().value; });
    ASSERT_EVENTUALLY(c.threads_sleep());
    send(counted_one, 1);
    ASSERT_EVENTUALLY(got == 1);
    send(counted_one, 2);
    c.join();
    EXPECT_EQ(got, 3);
}

TEST_P(signal_sets, merge_equal_ones_unless_they_are_counted) {
    rt_.run([] {
        for (int i = 0; i < 3; ++i) send(merged);
        for (int i = 0; i < 3; ++i) send(counted_one, i);
        send(counted_two);
        signal_set s = signal_set::open({counted_two, counted_one, merged});   // also what was sent before
        EXPECT_EQ(s.wait().number, merged);
        for (int i = 0; i < 3; ++i) {
            const signal_info next = s.wait();
            EXPECT_EQ(next.number, counted_one);
            EXPECT_EQ(next.value, i);
        }
        EXPECT_EQ(s.wait().number, counted_two);
        EXPECT_FALSE(s.try_wait());
    });
}

// One event of the kernel may stand for several signals, and each of those that wait gets one.
TEST_P(signal_sets, give_each_to_one_of_several) {
    rt_.run([this] {
        signal_set first = signal_set::open({counted_one}), second = signal_set::open({counted_one, counted_two});
        constexpr int count = 30;
        std::set<int> got;
        handoff::mutex lock;
        task_group g;
        for (int i = 0; i < count; ++i)
            g.go([&, from = i % 3 == 0 ? &second : &first] {
                const int value = from->wait().value;
                const std::lock_guard hold(lock);
                EXPECT_TRUE(got.insert(value).second) << value << " came twice";
            });
        ASSERT_EVENTUALLY(waiting(rt_, network) == count);
        for (int i = 0; i < count; ++i) send(counted_one, i);
        g.wait();
        EXPECT_EQ(got.size(), std::size_t{count});
        EXPECT_FALSE(first.try_wait());
    });
}

TEST_P(signal_sets, lose_nothing_at_the_end_of_a_wait) {
    rt_.run([this] {
        signal_set s = signal_set::open({counted_one});
        EXPECT_TRUE(never_earlier_than(5ms, [&] { return error_of([&] { s.wait(5ms); }) == std::errc::timed_out; }));
        task_group g;
        g.go([&] { EXPECT_THROW(s.wait(), handoff::cancelled); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        g.cancel();
        g.wait();
        auto waits = go([&] { return error_of([&] { s.wait(); }); });
        ASSERT_EVENTUALLY(waiting(rt_, network) == 1);
        s.close();
        EXPECT_EQ(waits.join(), net_errc::closed);
        EXPECT_EQ(error_of([&] { (void)s.try_wait(); }), net_errc::closed);
        EXPECT_EQ(error_of([] { signal_set().wait(); }), net_errc::closed);
        send(counted_one, 5);
        EXPECT_EQ(signal_set::open({counted_one}).wait(0s).value, 5) << "it is still blocked";
    });
}

TEST_P(signal_sets, are_cases_of_a_select) {
    rt_.run([this] {
        signal_set s = signal_set::open({counted_one, merged});
        handoff::channel<int> commands(1), got(4);
        const auto once = [&] {
            handoff::select(handoff::on_recv(commands, [&](std::optional<int> i) { got.send(*i); }),
                            handoff::on_readable(s, [&] { got.send(s.try_wait()->number); }));
        };
        auto both = go([&] {
            for (int i = 0; i < 4; ++i) once();
        });
        ASSERT_EVENTUALLY(waiting(rt_, "select") == 1);
        send(counted_one);
        EXPECT_EQ(got.recv(), counted_one);
        commands.send(1);
        EXPECT_EQ(got.recv(), 1);
        send(merged);
        send(counted_one);
        both.join();
        EXPECT_EQ(std::set<int>({*got.recv(), *got.recv()}), (std::set<int>{counted_one, merged}));
        handoff::select(handoff::on_readable(s, [] { ADD_FAILURE() << "nothing is there"; }), handoff::otherwise([] {}));
        auto closed = go([&] {
            bool fired = false;
            handoff::select(handoff::on_readable(s, [&] { fired = true; }));
            return fired;
        });
        ASSERT_EVENTUALLY(waiting(rt_, "select") == 1);
        s.close();
        EXPECT_TRUE(closed.join());
    });
}

// ---- What is refused ----

std::string said_of(std::initializer_list<int> signals) {
    return thrown_by<std::system_error>([&] { (void)signal_set::open(signals); });
}

TEST_P(signal_sets, refuse_by_name_what_cannot_be_waited_for) {
    on_both(rt_, [] {
        const std::size_t before = settled_descriptor_count();
        EXPECT_NE(said_of({merged, SIGKILL}).find("signal_set: SIGKILL can't be waited for"), std::string::npos);
        EXPECT_NE(said_of({SIGSEGV}).find("SIGSEGV can't"), std::string::npos);
        EXPECT_NE(said_of({-1}).find("signal -1 can't"), std::string::npos);
        for (const int number : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, 0, -1, 1000})
            EXPECT_EQ(error_of([&] { (void)signal_set::open({merged, number}); }), std::errc::invalid_argument) << number;
        EXPECT_EQ(settled_descriptor_count(), before);
    });
    EXPECT_NE(thrown_by<std::system_error>([] { signal_set::block({SIGSTOP}); }).find("SIGSTOP can't"), std::string::npos);
    EXPECT_EQ(error_of([] { signal_set::block({not_blocked, SIGSTOP}); }), std::errc::invalid_argument);
    EXPECT_EQ(error_of([] { (void)signal_set::open({not_blocked}); }), std::errc::operation_not_permitted) << "none was blocked";
}

TEST_P(signal_sets, refuse_by_name_what_is_not_blocked) {
    rt_.run([] {
        const std::string name = "SIGRTMIN+9 is not blocked on the calling thread";
        EXPECT_NE(said_of({counted_one, not_blocked}).find(name), std::string::npos) << said_of({not_blocked});
        EXPECT_EQ(error_of([] { (void)signal_set::open({not_blocked}); }), std::errc::operation_not_permitted);
        EXPECT_THROW(signal_set::block({not_blocked}), handoff::usage_error) << "only this thread would block it";
    });
    handoff::default_runtime();
    std::thread([] {
        signal_set::block({not_blocked});
        EXPECT_NE(said_of({not_blocked}).find("SIGRTMIN+9 was not blocked when the runtime was made"), std::string::npos);
        handoff::runtime made_after({.procs = 2});
        made_after.run([] {
            signal_set s = signal_set::open({counted_one, not_blocked});
            this_goroutine::yield();
            handoff::lock_os_thread();   // it may be undone on this thread alone
            unblock_here(not_blocked);
            EXPECT_NE(said_of({not_blocked}).find("on the calling thread"), std::string::npos);
            signal_set::open({counted_one});
        });
    }).join();
}

TEST(signal_set, is_refused_in_a_simulation) {
    handoff::simulation sim(1);
    sim.run([] {
        const std::string said = thrown_by<handoff::usage_error>([] { (void)signal_set::open({merged}); });
        EXPECT_NE(said.find("not possible in a simulation: a signal_set"), std::string::npos) << said;
    });
}

}  // namespace
