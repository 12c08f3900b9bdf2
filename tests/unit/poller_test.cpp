// The poller by itself, with one shard and with several: who waits gets events and wake-ups, and sleeps when there are none.
#include "testing.hpp"

#include "os/clock.hpp"
#include "sched/poller.hpp"

#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

using namespace handoff_test;
using namespace handoff::detail;

namespace {

class readable_fd {
public:
    readable_fd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~readable_fd() { ::close(fd_); }
    readable_fd(const readable_fd&) = delete;
    readable_fd& operator=(const readable_fd&) = delete;
    int fd() const noexcept { return fd_; }
    void put() const {
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(fd_, &one, sizeof one), 8);
    }

private:
    int fd_;
};

// The data of the events in the batch that say "readable".
std::vector<std::uint64_t> readable(const event_batch& events) {
    std::vector<std::uint64_t> all;
    for (int i = 0; i < events.count; ++i)
        if ((events.events[i].events & EPOLLIN) != 0) all.push_back(events.events[i].data.u64);
    return all;
}

class pollers : public testing::TestWithParam<unsigned> {
protected:
    void SetUp() override {
        ASSERT_FALSE(p_.in_use());
        ASSERT_EQ(p_.open(GetParam()), 0);
        ASSERT_EQ(p_.open(GetParam()), 0) << "once is enough";
        ASSERT_TRUE(p_.in_use());
    }
    poller p_{1};
    handoff::os::note note_;
    event_batch events_;
};
INSTANTIATE_TEST_SUITE_P(procs, pollers, testing::Values(1u, 16u, 40u), testing::PrintToStringParamName());

TEST_P(pollers, tell_of_each_edge_once) {
    const readable_fd of[3];
    for (unsigned i = 0; i < 3; ++i) ASSERT_EQ(p_.add(i * 7, of[i].fd(), 100 + i), 0);
    while (!p_.wait(note_, handoff::os::nanotime(), 0, events_) && events_.count != 0) {}   // they can be written
    for (unsigned i = 0; i < 3; ++i) {
        of[i].put();
        EXPECT_FALSE(p_.wait(note_, handoff::os::nanotime() + 30'000'000'000, 0, events_));
        EXPECT_EQ(readable(events_), std::vector<std::uint64_t>{100 + i});
        EXPECT_FALSE(p_.wait(note_, handoff::os::nanotime() + 1'000'000, 0, events_));
        EXPECT_EQ(events_.count, 0);
    }
    of[2].put();
    p_.poll(2 * 7, event_batch::most, events_);
    EXPECT_EQ(readable(events_), std::vector<std::uint64_t>{102});
    of[1].put();
    for (unsigned from = 0, i = 0; i < 2; ++i) {
        p_.poll_all(from, events_);
        EXPECT_EQ(readable(events_).size(), i == 0 ? 1u : 0u);
    }
}

TEST_P(pollers, wake_who_waits) {
    for (unsigned round = 0; round < scaled(300, 50); ++round) {
        std::atomic<bool> waits{false};
        std::thread waiter([&] {
            waits = true;
            unsigned for_nothing = 0;
            while (!p_.wait(note_, handoff::os::never, round % 3 == 0 ? 50'000 : 0, events_)) ++for_nothing;
            EXPECT_LE(for_nothing, 1u) << "at most by the wake-up before, if that came late";
        });
        while (!waits) std::this_thread::yield();
        if (round % 2 == 0) std::this_thread::sleep_for(100us);
        note_.wake();
        waiter.join();
    }
    // And sleeps then: the wake-ups have left nothing behind.
    EXPECT_FALSE(p_.wait(note_, handoff::os::nanotime() + 1'000'000, 0, events_));
    const auto before = steady::now();
    EXPECT_FALSE(p_.wait(note_, handoff::os::nanotime() + 5'000'000, 0, events_));
    EXPECT_GE(steady::now() - before, 4ms);
}

}  // namespace
