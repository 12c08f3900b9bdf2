// What the tests of channels and of select share: who waits for what, and values that count themselves.
#pragma once

#include "testing.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace handoff_test {

// parked_for counts the goroutines of rt that wait for `why` ("send", "receive", "select", ...). Who is counted stands
// in the queues of the channels already.
inline std::size_t parked_for(const handoff::runtime& rt, std::string_view why) {
    const auto all = rt.snapshot().goroutines;
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const handoff::goroutine_info& g) {
        return g.state == handoff::goroutine_state::waiting && g.waits_for == why;
    }));
}

// Options of a runtime that is left alone when the process ends. No thread of it ends before, which ThreadSanitizer
// would take for a leak.
inline handoff::options never_ends() {
    handoff::options o;
    o.procs = 1;
    o.idle_thread_timeout = 24h;
    return o;
}

// A value that can only be moved. `objects` of it live, `values` of them have not been moved from; `faults` are
// objects that were destroyed twice, or used after their end.
class single {
public:
    static inline std::atomic<int> objects{0}, values{0}, faults{0};

    explicit single(int n) noexcept : n_(n) {
        ++objects;
        ++values;
    }
    single(single&& other) noexcept : n_(std::exchange(other.n_, empty)) {
        other.check();
        ++objects;
    }
    single& operator=(single&& other) noexcept {
        check();
        other.check();
        if (this == &other) return *this;
        drop();
        n_ = std::exchange(other.n_, empty);
        return *this;
    }
    ~single() {
        check();
        drop();
        --objects;
        self_ = nullptr;
    }
    int get() const noexcept { return n_; }

    static constexpr int empty = -1;

private:
    void check() const noexcept {
        if (self_ != this) ++faults;
    }
    void drop() noexcept {
        if (n_ != empty) --values;
    }
    int n_;
    const single* volatile self_ = this;   // volatile: the destructor's store is not dead for us
};

// A value whose moves and copies throw on demand, and then leave their source alone.
class fragile {
public:
    struct broken : std::runtime_error {
        broken() : std::runtime_error("a fragile value broke") {}
    };
    static inline std::atomic<int> objects{0};
    // The n-th construction or assignment from another one throws, once; 0: none does.
    static inline std::atomic<int> break_at{0};

    explicit fragile(int n) : n_(n) { ++objects; }
    fragile(const fragile& other) : n_((may_break(), other.n_)) { ++objects; }
    fragile(fragile&& other) : n_((may_break(), std::exchange(other.n_, -1))) { ++objects; }
    fragile& operator=(fragile other) {
        may_break();
        n_ = other.n_;
        return *this;
    }
    ~fragile() { --objects; }
    int get() const noexcept { return n_; }

private:
    static void may_break() {
        if (break_at != 0 && --break_at == 0) throw broken();
    }
    int n_;
};

// A fixture with a runtime of as many processors as its parameter says. No value may outlive the test.
class channel_suite : public testing::TestWithParam<unsigned> {
protected:
    channel_suite() {
        single::faults = 0;
        fragile::break_at = 0;
    }
    ~channel_suite() override {
        EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
        EXPECT_EQ(single::objects.load(), 0);
        EXPECT_EQ(single::values.load(), 0);
        EXPECT_EQ(single::faults.load(), 0);
        EXPECT_EQ(fragile::objects.load(), 0);
    }

    // everywhere calls f on this thread, which is no goroutine, and then on a goroutine.
    template <class F>
    void everywhere(F f) {
        f();
        rt_.run(f);
    }

    handoff::runtime rt_{{.procs = GetParam()}};
};

template <class H>
void join_all(H& handles) {
    for (auto& h : handles) h.join();
}

}  // namespace handoff_test
