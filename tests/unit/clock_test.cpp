// Points in time of any clock: no wait until one is early by the clock that it was given, or ends late for want of range.
#include "locks.hpp"

#include <cmath>
#include <limits>

using handoff::channel;
using handoff::runtime;
using handoff::simulation;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

using std::chrono::duration;
using std::chrono::nanoseconds;

// A clock of the standard's form: `epoch` is added to the time since the first look, of which one part in `slower` passes.
template <class Duration, std::int64_t epoch, int slower = 1>
struct other_clock {
    using duration = Duration;
    using rep = typename Duration::rep;
    using period = typename Duration::period;
    using time_point = std::chrono::time_point<other_clock>;
    static constexpr bool is_steady = true;
    static time_point now() {
        static const steady::time_point first = steady::now();
        const auto passed = (steady::now() - first) / slower;
        return time_point(Duration(static_cast<rep>(epoch)) + std::chrono::duration_cast<Duration>(passed));
    }
};

using micros = std::chrono::duration<std::int64_t, std::micro>;
using millis = std::chrono::duration<std::int64_t, std::milli>;
constexpr std::int64_t years = 31'556'952;   // in seconds

using since_year_1 = other_clock<micros, 2026 * years * 1'000'000>;
using until_year_5000 = other_clock<millis, -3000 * years * 1'000>;
using far_behind = other_clock<nanoseconds, INT64_MIN + 3'600'000'000'000>;   // an hour after the first that it can tell
using far_ahead = other_clock<nanoseconds, INT64_MAX - 3'600'000'000'000>;
using without_sign = other_clock<duration<std::uint64_t, std::milli>, 7>;
using large_without_sign = other_clock<duration<std::uint64_t, std::nano>, INT64_MIN>;
using small_counts = other_clock<duration<std::int16_t, std::ratio<1, 200>>, -30'000>;
using thirds = other_clock<duration<std::int64_t, std::ratio<1, 3'000>>, 0>;
using fine = other_clock<duration<std::int64_t, std::pico>, 0>;
using floating = other_clock<duration<double>, 56 * years>;
using half_floating = other_clock<duration<float, std::milli>, 0>;
using wide_floating = other_clock<duration<long double, std::micro>, -4000>;
using third_speed = other_clock<nanoseconds, 0, 3>;
using slow_and_floating = other_clock<duration<double, std::milli>, 1'000, 4>;

// One that is set back after each of the first looks.
struct set_back_clock {
    using duration = nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<set_back_clock>;
    static constexpr bool is_steady = false;
    static inline std::atomic<int> looks{0};
    static inline std::atomic<time_point> last{time_point()};   // that it told
    static time_point now() {
        last = time_point(steady::now().time_since_epoch() - 2ms * std::min(++looks, 4));
        return last;
    }
};

template <class Clock>
struct clocks : testing::Test {
    // The first point in time of this clock that is d away, or further.
    static auto in(nanoseconds d) {
        return Clock::now() + std::chrono::ceil<typename Clock::duration>(d);
    }

    runtime rt_{{.procs = 2}};
};
using all_clocks = testing::Types<std::chrono::file_clock, std::chrono::system_clock, steady, handoff::clock, since_year_1, until_year_5000,
                                  far_behind, far_ahead, without_sign, large_without_sign, small_counts, thirds, fine, floating,
                                  half_floating, wide_floating, third_speed, slow_and_floating, set_back_clock>;
TYPED_TEST_SUITE(clocks, all_clocks);

// What all timed waits wait for in vain.
struct nothing {
    handoff::mutex held;
    handoff::shared_mutex held_too;
    handoff::mutex m;
    handoff::condition_variable cv;
    handoff::counting_semaphore<> none{0};
    handoff::latch one{1};
    handoff::wait_group busy;
    channel<int> empty{0};
    handoff::join_handle<void> running;

    explicit nothing(runtime& rt) {
        held.lock();
        held_too.lock();
        busy.add();
        running = rt.go([ch = empty] { ch.recv(); });
    }
    ~nothing() {
        empty.close();
        running.join();
        held_too.unlock();
        held.unlock();
    }
};

template <class Point>
struct timed_wait {
    const char* name;
    void (*wait)(nothing&, Point);
};

template <class Point>
constexpr timed_wait<Point> timed_waits[] = {
    {"mutex", [](nothing& n, Point t) { EXPECT_FALSE(n.held.try_lock_until(t)); }},
    {"shared_mutex", [](nothing& n, Point t) { EXPECT_FALSE(n.held_too.try_lock_until(t)); }},
    {"shared_mutex, shared", [](nothing& n, Point t) { EXPECT_FALSE(n.held_too.try_lock_shared_until(t)); }},
    {"condition_variable",
     [](nothing& n, Point t) {
         std::unique_lock lock(n.m);
         while (n.cv.wait_until(lock, t) == std::cv_status::no_timeout) {
         }
         EXPECT_TRUE(lock.owns_lock());
     }},
    {"condition_variable, predicate",
     [](nothing& n, Point t) {
         std::unique_lock lock(n.m);
         EXPECT_FALSE(n.cv.wait_until(lock, t, [] { return false; }));
     }},
    {"condition_variable, stop token",
     [](nothing& n, Point t) {
         std::unique_lock lock(n.m);
         EXPECT_FALSE(n.cv.wait_until(lock, std::stop_token(), t, [] { return false; }));
     }},
    {"semaphore", [](nothing& n, Point t) { EXPECT_FALSE(n.none.try_acquire_until(t)); }},
    {"latch", [](nothing& n, Point t) { EXPECT_FALSE(n.one.wait_until(t)); }},
    {"wait_group", [](nothing& n, Point t) { EXPECT_FALSE(n.busy.wait_until(t)); }},
    {"receive", [](nothing&, Point t) { EXPECT_FALSE(channel<int>(0).recv_until(t)); }},
    {"send", [](nothing&, Point t) { EXPECT_FALSE(channel<int>(0).send_until(1, t)); }},
    {"select", [](nothing&, Point t) { EXPECT_EQ(handoff::select(handoff::on_recv(channel<int>(0)), handoff::on_deadline(t)), 1u); }},
    {"join", [](nothing& n, Point t) { EXPECT_FALSE(n.running.wait_until(t)); }},
    {"task_group",
     [](nothing&, Point t) {
         handoff::task_group g(t);
         g.go([] { channel<int>::nil().recv(); });
         EXPECT_THROW(g.wait(), handoff::deadline_exceeded);
     }},
    {"sleep_until", [](nothing&, Point t) { this_goroutine::sleep_until(t); }},
};

TYPED_TEST(clocks, are_never_behind_when_a_wait_ends) {
    using point = decltype(this->in(1ms));
    nothing n(this->rt_);
    on_both(this->rt_, [&] {
        for (const auto& each : timed_waits<point>)
            for (const nanoseconds d : {4'000'000ns, 100'000ns, 1ns}) {
                if constexpr (std::is_same_v<TypeParam, set_back_clock>) set_back_clock::looks = 0;
                const point t = this->in(d);
                each.wait(n, t);
                if constexpr (std::is_same_v<TypeParam, set_back_clock>) EXPECT_GE(set_back_clock::last.load(), t) << each.name;
                else EXPECT_GE(TypeParam::now(), t) << each.name;
            }
    });
}

// Nor do they wait for what is over, however long ago.
TYPED_TEST(clocks, do_not_hold_up_what_is_over) {
    using point = decltype(this->in(1ms));
    nothing n(this->rt_);
    on_both(this->rt_, [&] {
        for (const auto& each : timed_waits<point>) {
            for (const point t : {point(TypeParam::now()), point(TypeParam::now() - std::chrono::ceil<typename TypeParam::duration>(1ms)),
                                  point::min(), point(typename point::duration(0))}) {
                if (t > TypeParam::now()) continue;   // the epoch is yet to come
                const auto before = steady::now();
                each.wait(n, t);
                EXPECT_LT(steady::now() - before, patience) << each.name;
            }
        }
    });
}

// What is as far away as can be is waited for until it happens.
TYPED_TEST(clocks, wait_until_the_end_of_time) {
    using point = typename TypeParam::time_point;
    using in_hours = std::chrono::time_point<typename point::clock, std::chrono::hours>;
    std::atomic<int> ready{0};
    std::atomic<bool> over{false};
    handoff::counting_semaphore<> permits(0);
    const auto wait = [&](auto t) {
        return [&, t] {
            ++ready;
            EXPECT_TRUE(permits.try_acquire_until(t));
            EXPECT_TRUE(over);
        };
    };
    crowd all;
    all.go(this->rt_, wait(point::max()));
    all.go(this->rt_, wait(in_hours::max()));
    all.thread(wait(point::max()));
    ASSERT_EVENTUALLY(ready == 3 && waiting(this->rt_, "semaphore") == 2);
    this_goroutine::sleep_for(2ms);
    over = true;
    permits.release(3);
}

// ---- The subtraction -----------------------------------------------------------------------------------------------

TEST(time_between, is_exact_and_rounded_up) {
    const auto between = [](auto now, auto t) { return handoff::detail::time_between(now, t).count(); };
    using u64_ns = duration<std::uint64_t, std::nano>;
    using u64_ms = duration<std::uint64_t, std::milli>;
    using ps = duration<std::int64_t, std::pico>;
    using third = duration<std::int64_t, std::ratio<1, 3>>;

    EXPECT_EQ(between(nanoseconds::min(), nanoseconds::min() + 5ns), 5);
    EXPECT_EQ(between(nanoseconds::max(), nanoseconds::max() - 5ns), -5);
    EXPECT_EQ(between(u64_ns(7), u64_ns(3)), -4);
    EXPECT_EQ(between(u64_ms::max(), u64_ms::max() - u64_ms(2)), -2'000'000);
    EXPECT_EQ(between(std::chrono::hours(2), nanoseconds(7'200'000'000'001)), 1);
    EXPECT_EQ(between(duration<signed char>(-128), duration<signed char>(127)), 255'000'000'000);
    EXPECT_EQ(between(ps(1), ps(2)), 1);
    EXPECT_EQ(between(ps(2), ps(1)), 0);
    EXPECT_EQ(between(third(0), third(1)), 333'333'334);
    EXPECT_EQ(between(duration<std::int64_t, std::atto>(-1), std::chrono::seconds(300)), 300'000'000'001);   // no float of 64 bits holds it
    EXPECT_EQ(between(duration<double>(1.5), duration<double>(1.5)), 0);
    EXPECT_EQ(between(duration<float>(16'777'216), duration<float>(16'777'218)), 2'000'000'000);
    EXPECT_EQ(between(nanoseconds(5), duration<double, std::nano>(5.25)), 1);
}

TEST(time_between, ends_at_292_years) {
    const auto between = [](auto now, auto t) { return handoff::detail::time_between(now, t).count(); };
    using u64_ns = duration<std::uint64_t, std::nano>;
    EXPECT_EQ(between(nanoseconds::min(), nanoseconds::max()), INT64_MAX);
    EXPECT_EQ(between(nanoseconds::max(), nanoseconds::min()), -INT64_MAX);
    EXPECT_EQ(between(u64_ns(0), u64_ns::max()), INT64_MAX);
    EXPECT_EQ(between(u64_ns::max(), u64_ns(0)), -INT64_MAX);
    EXPECT_EQ(between(nanoseconds(1), std::chrono::hours::max()), INT64_MAX);
    EXPECT_EQ(between(nanoseconds(1), std::chrono::hours::min()), -INT64_MAX);
    EXPECT_EQ(between(duration<double>(0), duration<double>(1e300)), INT64_MAX);
    EXPECT_EQ(between(duration<double>(1e300), duration<double>(0)), -INT64_MAX);
    EXPECT_EQ(handoff::detail::in_range(duration<double>(std::numeric_limits<double>::infinity())), nanoseconds::max());
    EXPECT_EQ(handoff::detail::in_range(std::chrono::hours::min()), -nanoseconds::max());
    EXPECT_EQ(handoff::detail::in_range(nanoseconds::max()), nanoseconds::max());
}

TEST(durations, that_are_no_number_are_refused) {
    const duration<double> nan(std::nan(""));
    EXPECT_NE(thrown_by<handoff::usage_error>([&] { this_goroutine::sleep_for(nan); }).find("not a number"), std::string::npos);
    EXPECT_THROW((void)channel<int>(0).recv_for(nan), handoff::usage_error);
    EXPECT_THROW(handoff::timer t(nan), handoff::usage_error);
    handoff::counting_semaphore<> none(0);
    EXPECT_THROW(none.try_acquire_until(std::chrono::time_point<floating, duration<double>>(nan)), handoff::usage_error);
}

// ---- What is no clock ----------------------------------------------------------------------------------------------

template <class Point>
concept can_be_waited_for = requires(nothing& n, Point t, std::unique_lock<handoff::mutex>& lock) {
    requires requires { n.held.try_lock_until(t); } || requires { n.held_too.try_lock_until(t); } ||
                 requires { n.held_too.try_lock_shared_until(t); } || requires { n.cv.wait_until(lock, t); } ||
                 requires { n.cv.wait_until(lock, t, [] { return true; }); } ||
                 requires { n.cv.wait_until(lock, std::stop_token(), t, [] { return true; }); } ||
                 requires { n.none.try_acquire_until(t); } || requires { n.one.wait_until(t); } || requires { n.busy.wait_until(t); } ||
                 requires { n.empty.recv_until(t); } || requires { n.empty.send_until(1, t); } || requires { handoff::on_deadline(t); } ||
                 requires { n.running.wait_until(t); } || requires { handoff::task_group(t); } ||
                 requires { this_goroutine::sleep_until(t); };
};
struct no_clock {
    using duration = nanoseconds;
    static std::chrono::time_point<no_clock, nanoseconds> now();
};
static_assert(can_be_waited_for<steady::time_point> && can_be_waited_for<std::chrono::sys_days>);
static_assert(!can_be_waited_for<std::chrono::local_seconds>);
static_assert(!can_be_waited_for<std::chrono::time_point<int, nanoseconds>>);
static_assert(!can_be_waited_for<std::chrono::time_point<no_clock, nanoseconds>>);

// ---- The simulation's clock ----------------------------------------------------------------------------------------

constexpr std::chrono::hours century(24 * 36'525);

TEST(virtual_time, may_last_for_centuries) {
    simulation sim(1);
    sim.run([] {
        const auto begin = handoff::clock::now();
        this_goroutine::sleep_for(century);
        EXPECT_EQ(handoff::clock::now() - begin, century);
        EXPECT_FALSE(channel<int>(0).recv_until(begin + 2 * century));
        EXPECT_EQ(handoff::clock::now() - begin, 2 * century);
        handoff::ticker t(century / 3);
        for (int i = 1; i <= 2; ++i) {
            t.chan().recv();
            EXPECT_EQ(handoff::clock::now() - begin, 2 * century + i * (century / 3));
        }
    });
}

// What is later than 292 years never comes, and is not early.
TEST(virtual_time, has_an_end_that_never_comes) {
    simulation sim(1);
    EXPECT_THROW(sim.run([] {
        this_goroutine::sleep_for(2 * century);
        this_goroutine::sleep_for(century);
        ADD_FAILURE() << "early";
    }), handoff::deadlock);
    simulation other(1);
    EXPECT_THROW(other.run([] {
        handoff::ticker t(century);
        for (int i = 0; i < 3; ++i) t.chan().recv();
    }), handoff::deadlock);
    handoff::simulation_options o;
    o.time_per_step = 24h;
    simulation fast(1, o);
    fast.run([] {
        for (int i = 0; i < 120'000; ++i) this_goroutine::interleave();
        EXPECT_GT(handoff::clock::now().time_since_epoch(), 2 * century);
    });
}

}  // namespace
