// Time slices: head of src/sched/slice.cpp. Times are counted in turns of the others, not by the clock: the machine may be
// loaded. On one processor who waits is served when the others have had their turns, whatever these take.
#include "sched/schedule.hpp"
#include "sched/slice.hpp"
#include "testing.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <thread>
#include <unistd.h>

using handoff::channel;
using handoff::join_handle;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

void compute_for(std::chrono::nanoseconds d) {
    const auto until = steady::now() + d;
    compute_until([&] { return steady::now() > until; });
}

// Two that wake each other, in turns; each way goes through `next`.
struct pair_kind {
    const char* name;
    void (*play)(const std::function<bool()>& turn);   // until it is false
};

void through_channels(std::size_t capacity, const std::function<bool()>& turn) {
    channel<int> there(capacity), back(capacity);
    auto other = handoff::go([&] {
        while (there.recv()) {
            turn();
            back.send(1);
        }
    });
    while (turn()) {
        there.send(1);
        back.recv();
    }
    there.close();
    other.join();
}

void over_a_channel(const std::function<bool()>& turn) { through_channels(0, turn); }

void by_joins(const std::function<bool()>& turn) {
    while (handoff::go([&] { return turn(); }).join()) {
    }
}

void with_semaphores(const std::function<bool()>& turn) {
    handoff::counting_semaphore<> there(0), back(0);
    bool on = true;
    auto other = handoff::go([&] {
        for (;;) {
            there.acquire();
            if (!on) return;
            turn();
            back.release();
        }
    });
    while (turn()) {
        there.release();
        back.acquire();
    }
    on = false;
    there.release();
    other.join();
}

void through_a_buffer(const std::function<bool()>& turn) { through_channels(1, turn); }

constexpr pair_kind pair_kinds[] = {
    {"channel", over_a_channel},
    {"joins", by_joins},
    {"semaphores", with_semaphores},
    {"buffer", through_a_buffer},
};

// passed_during is by how much `count` grows while a goroutine of rt waits once: the median of 21 times.
template <class Count, class F>
std::uint64_t passed_during(runtime& rt, const std::atomic<Count>& count, F wait) {
    return rt.run([&] {
        std::vector<std::uint64_t> passed;
        for (int i = 0; i < 21; ++i) {
            const auto before = count.load();
            wait();
            passed.push_back(count.load() - before);
        }
        std::nth_element(passed.begin(), passed.begin() + 10, passed.end());
        return passed[10];
    });
}

class slices : public testing::TestWithParam<pair_kind> {
protected:
    // A turn of the pair is longer than half a slice, so after some two or three others are let on; by count it would be 61.
    template <class F>
    static void end_for(F wait) {
        runtime rt({.procs = 1, .retake_running_after = 1ms});
        std::atomic<std::uint64_t> turns{0};
        std::atomic<bool> over{false};
        auto pair = rt.go([&] {
            GetParam().play([&] {
                compute_for(600us);
                turns.fetch_add(1, std::memory_order_relaxed);
                return !over;
            });
        });
        const auto waited = passed_during(rt, turns, wait);
        over = true;
        pair.join();
        EXPECT_LT(waited, 25u);
    }
};

TEST_P(slices, are_inherited_by_the_woken) {
    end_for([] { this_goroutine::sleep_for(10us); });   // due at the first turn's end
}

// And without a timer: one that yields beside such a pair.
TEST_P(slices, of_pairs_end_for_those_in_the_ring) {
    end_for([] { this_goroutine::yield(); });
}

// turns_within is how many turns two pairs of `kind`, one with short turns and one with long ones, get done on one processor
// within 50 ms, side by side or one alone.
std::array<double, 2> turns_within(const pair_kind& kind, bool with_short, bool with_long) {
    runtime rt({.procs = 1, .retake_running_after = 4ms});
    std::array<std::atomic<std::uint64_t>, 2> turns{};
    std::atomic<bool> over{false};
    std::vector<join_handle<void>> all;
    const auto start = [&](std::size_t which, unsigned work) {
        all.push_back(rt.go([&, which, work] {
            kind.play([&, which, work] {
                for (unsigned i = 0; i < work; ++i) asm volatile("");
                turns[which].fetch_add(1, std::memory_order_relaxed);
                return !over;
            });
        }));
    };
    if (with_short) start(0, 100);
    if (with_long) start(1, 1'000'000);
    std::this_thread::sleep_for(10ms);
    const std::uint64_t before[] = {turns[0], turns[1]};
    std::this_thread::sleep_for(50ms);
    const std::array<double, 2> done = {static_cast<double>(turns[0] - before[0]), static_cast<double>(turns[1] - before[1])};
    over = true;
    for (auto& h : all) h.join();
    return done;
}

// They share the processor by time, and not by turns: each has a good part of what it has alone. By turns the pair with short ones
// would have a thirtieth of what the other has, and less. (After Go's TestPingPongHog.)
TEST_P(slices, are_as_long_for_pairs_with_short_turns) {
    std::array<double, 7> shares;   // of the pair with short turns, for one of the other's
    for (double& share : shares) {
        const double few = turns_within(GetParam(), true, false)[0], many = turns_within(GetParam(), false, true)[1];
        const auto both = turns_within(GetParam(), true, true);
        share = both[0] / few / (both[1] / many);
    }
    std::sort(shares.begin(), shares.end());   // the median: another process may have had the core for some of them
    EXPECT_GT(shares[3], 1.0 / 12);
}

// Others that wait are let on one by one, and all of them when such a pair has had a slice.
TEST_P(slices, of_pairs_with_short_turns_end_for_many) {
    runtime rt({.procs = 1, .retake_running_after = 10ms});   // longer than 61 turns
    std::atomic<std::uint64_t> turns{0};
    std::atomic<bool> over{false};
    std::vector<join_handle<void>> all;
    all.push_back(rt.go([&] {
        GetParam().play([&] {
            compute_for(10us);
            turns.fetch_add(1, std::memory_order_relaxed);
            return !over;
        });
    }));
    for (int i = 0; i < 30; ++i)
        all.push_back(rt.go([&] {
            while (!over) this_goroutine::yield();
        }));
    EXPECT_EVENTUALLY(turns > 10);
    const auto waited = passed_during(rt, turns, [] { this_goroutine::yield(); });
    over = true;
    for (auto& h : all) h.join();
    EXPECT_LT(waited, 1500u) << "they are let on one by one, and that is all";
}

INSTANTIATE_TEST_SUITE_P(pairs, slices, testing::ValuesIn(pair_kinds), [](const auto& p) { return p.param.name; });

// What has the processor for its whole slice, and comes by the library in between, or not.
struct hog_kind {
    const char* name;
    bool keeps_its_processor;   // until it is asked for it
    void (*round)();
};

channel<int>& never_sent() {
    static channel<int> none(0);
    return none;
}

constexpr hog_kind hog_kinds[] = {
    {"try_recv", true, [] { never_sent().try_recv(); }},
    {"select", true, [] { handoff::select(handoff::on_recv(never_sent(), [](auto) {}), handoff::otherwise([] {})); }},
    {"spawning", false, [] {
         compute_for(1us);
         handoff::go([] {}).detach();
     }},
    {"long_computation", false, [] {
         compute_for(3ms);
         never_sent().try_recv();
         handoff::go([] {}).join();
     }},
    {"calls", false, [] {
         handoff::blocking_call([] { ::getppid(); });
         never_sent().try_recv();
     }},
};

class polling : public testing::TestWithParam<hog_kind> {};

// Each has the processor for a slice, and in between the pairs for as long, which is some thousand rounds, whatever the number
// of either and however busy the machine is. (By count it would be 61 turns.) Some that compute or call run beside the pairs
// without a processor, and come by between them: for these the pairs have to get on at all.
TEST_P(polling, leaves_pairs_their_part) {
    constexpr unsigned pairs = 2, hogs = 4, a_pair = hogs;
    constexpr std::uint64_t a_slice = with_tsan ? 1 : scaled(100);   // of a pair's rounds; there they take up to a millisecond
    runtime rt({.procs = 1, .retake_running_after = 2ms});
    std::array<std::atomic<std::uint64_t>, pairs> rounds{};
    std::array<std::atomic<std::uint64_t>, hogs> slices{};
    std::atomic<unsigned> last{a_pair};
    std::atomic<bool> over{false};
    std::vector<join_handle<void>> all;
    for (auto& n : rounds)
        all.push_back(rt.go([&] {
            over_a_channel([&] {
                n.fetch_add(1, std::memory_order_relaxed);
                last.store(a_pair, std::memory_order_relaxed);
                return !over;
            });
        }));
    for (unsigned i = 0; i < hogs; ++i)
        all.push_back(rt.go([&, i] {
            while (!over) {
                GetParam().round();
                if (last.load(std::memory_order_relaxed) == i) continue;
                last.store(i, std::memory_order_relaxed);
                slices[i].fetch_add(1, std::memory_order_relaxed);
            }
        }));
    const auto had = [](const auto& counts, std::uint64_t least) {
        return std::all_of(counts.begin(), counts.end(), [&](const auto& n) { return n >= least; });
    };
    EXPECT_EVENTUALLY(had(slices, 3));   // from then on all are known
    const std::uint64_t before[] = {rounds[0], rounds[1]};
    const auto in_all = [&] { return std::accumulate(slices.begin(), slices.end(), std::uint64_t{0}); };
    const std::uint64_t slices_before = in_all();
    if (GetParam().keeps_its_processor) {
        EXPECT_EVENTUALLY(had(slices, 10));
        // At last, on average: while another process has the core it is a turn as well.
        for (unsigned i = 0; i < pairs; ++i)
            EXPECT_EVENTUALLY(rounds[i] - before[i] > a_slice * (in_all() - slices_before)) << i;
    } else {
        EXPECT_EVENTUALLY(rounds[0] > before[0] + scaled(100'000) && rounds[1] > before[1] + scaled(100'000));
        EXPECT_EVENTUALLY(had(slices, 10));
    }
    over = true;
    for (auto& h : all) h.join();
}

INSTANTIATE_TEST_SUITE_P(kinds, polling, testing::ValuesIn(hog_kinds), [](const auto& p) { return p.param.name; });

// first_after_a_slice ends the slice of the calling goroutine's processor, and says who would come then.
handoff::goroutine_id first_after_a_slice() {
    using namespace handoff::detail;
    M* m = enter(current_m());
    end_slice(*m->s, own_p(m));
    G* first = pick(m);
    const handoff::goroutine_id chosen = first ? first->id.load() : 0;
    if (first) put_local(m, first);
    leave(m);
    return chosen;
}

// At its end come those whose timers are due, before the ones that wait in the ring.
TEST(slice_end, lets_those_go_first_whose_timers_are_due) {
    runtime rt({.procs = 1, .retake_running_after = 10s});
    rt.run([] {
        auto sleeper = handoff::go([] { this_goroutine::sleep_for(1ms); });
        this_goroutine::yield();   // it sleeps by then
        auto one = handoff::go([] {}), another = handoff::go([] {});
        compute_for(2ms);
        EXPECT_EQ(first_after_a_slice(), sleeper.id());
        sleeper.join();
        one.join();
        another.join();
    });
}

// And what was in `next` comes after those that wait in the ring.
TEST(slice_end, puts_what_was_next_behind_the_others) {
    runtime rt({.procs = 1, .retake_running_after = 10s});
    rt.run([] {
        auto was_next = handoff::go([] {}), waits = handoff::go([] {});   // the second goes to the ring, since `next` is taken
        EXPECT_EQ(first_after_a_slice(), waits.id());
        waits.join();
        was_next.join();
    });
}

// Loops that poll share what they have among themselves, and let one that gives way on as if it were alone with one of them.
TEST(spent, take_turns) {
    runtime rt({.procs = 1, .retake_running_after = 1ms});
    constexpr unsigned n = 8;
    std::array<std::atomic<std::uint64_t>, n> rounds{};
    std::atomic<bool> over{false};
    std::atomic<unsigned> last{n}, changes{0};
    std::vector<join_handle<void>> all;
    for (unsigned i = 0; i < n; ++i)
        all.push_back(rt.go([&, i] {
            while (!over) {
                never_sent().try_recv();
                if (last.load(std::memory_order_relaxed) != i) {
                    last.store(i, std::memory_order_relaxed);
                    changes.fetch_add(1, std::memory_order_relaxed);
                }
                rounds[i].fetch_add(1, std::memory_order_relaxed);
            }
        }));
    EXPECT_EVENTUALLY(changes > 3 * n);
    const auto waited = passed_during(rt, changes, [] { this_goroutine::sleep_for(10us); });
    over = true;
    for (auto& h : all) h.join();
    EXPECT_LE(waited, 3u) << "a sleeper waits for all of them";
    for (const auto& r : rounds) EXPECT_GT(r.load(), 0u);
}

// As long as others want the processor they have it between any two that are spent, for as long: also a pair, each of whose
// slices has an end, but whom none of the two has used up.
void come_after_pairs(std::chrono::nanoseconds slice, std::chrono::nanoseconds turn) {
    runtime rt({.procs = 1, .retake_running_after = slice});
    constexpr unsigned hogs = 6, pair = hogs;
    std::atomic<unsigned> last{pair}, after_a_hog{0}, after_the_pair{0};
    std::atomic<bool> over{false};
    std::array<std::atomic<bool>, hogs> waits_with_them{};
    std::vector<join_handle<void>> all;
    all.push_back(rt.go([&] {
        over_a_channel([&] {
            if (turn != 0ns) compute_for(turn);
            last.store(pair, std::memory_order_relaxed);
            return !over;
        });
    }));
    for (unsigned i = 0; i < hogs; ++i)
        all.push_back(rt.go([&, i] {
            while (!over) {
                never_sent().try_recv();
                if (waits_with_them[i].exchange(false)) this_goroutine::yield();
                if (last.load(std::memory_order_relaxed) == i) continue;
                ++(last.exchange(i) == pair ? after_the_pair : after_a_hog);
            }
        }));
    const auto turns = [&] { return after_the_pair + after_a_hog; };
    ASSERT_EVENTUALLY(turns() >= 3 * hogs);   // until all are spent, some come in a row
    for (auto& w : waits_with_them) w = true;   // each is among the others once more, and has to be found out again
    ASSERT_EVENTUALLY(std::none_of(waits_with_them.begin(), waits_with_them.end(), [](const auto& w) { return w.load(); }));
    const auto take_turns_with_the_pair = [&] {
        const unsigned began = turns(), in_a_row = after_a_hog;
        return handoff_test::eventually([&] { return turns() >= began + 120; }) && after_a_hog - in_a_row < (with_sanitizer ? 60 : 20);
    };
    EXPECT_EVENTUALLY(take_turns_with_the_pair());   // at last: on a busy machine a pair may have a slice, and get no turn done
    over = true;
    for (auto& h : all) h.join();
}

TEST(spent, come_after_the_others) { come_after_pairs(with_tsan ? 5ms : 1ms, 0ns); }   // long enough for a round trip

// Also where the 61 turns that a pair has before one is let on are a good part of a slice.
TEST(spent, come_after_slow_ones) { come_after_pairs(5ms, 10us); }

// Who has lost the processor after a slice of computing waits among them: the others have a slice. By count it would be 7 turns.
TEST(spent, are_those_that_computed_for_a_slice) {
    runtime rt({.procs = 1, .retake_running_after = 10ms});
    std::atomic<std::uint64_t> turns{0};
    std::atomic<bool> over{false};
    auto pair = rt.go([&] {
        over_a_channel([&] {
            compute_for(10us);
            turns.fetch_add(1, std::memory_order_relaxed);
            return !over;
        });
    });
    const auto waited = rt.run([&] {
        std::vector<std::uint64_t> passed;
        for (int i = 0; i < 21; ++i) {
            const auto alone = turns.load();
            EXPECT_TRUE(compute_until([&] { return turns != alone; }));   // until the pair has the processor
            const auto before = turns.load();
            enter_library();
            passed.push_back(turns - before);
        }
        std::nth_element(passed.begin(), passed.begin() + 10, passed.end());
        return passed[10];
    });
    over = true;
    pair.join();
    EXPECT_GT(waited, with_tsan ? 20u : 62u);
}

// One that yields, as one should who polls, is let on in between, and not once a slice.
TEST(spent, are_not_those_that_yield) {
    runtime rt({.procs = 1});
    std::atomic<bool> over{false};
    std::uint64_t turns = 0, yields = 0;   // plain: one processor
    auto pair = rt.go([&] {
        over_a_channel([&] {
            ++turns;
            return !over.load(std::memory_order_relaxed);
        });
    });
    rt.run([&] {
        while (turns < scaled(200'000)) {
            this_goroutine::yield();
            ++yields;
        }
    });
    over = true;
    pair.join();
    EXPECT_GT(yields, turns / 400);
}

// chain_link starts the next through `next`, computes, and hands its processor off, until it is `over`.
void chain_link(std::atomic<std::uint64_t>& links, const std::atomic<bool>& over) {
    links.fetch_add(1, std::memory_order_relaxed);
    if (over) return;
    handoff::go([&] { chain_link(links, over); }).detach();
    compute_for(300us);
    handoff::blocking_call(handoff::handoff_policy::immediate, [] { ::getppid(); });
}

// Such goroutines go on in one slice, which ends: by count it would be after 60 of them. Also where threads wait for a core:
// the monitor then finds the processor on its way nearly each time, and with nobody who could be asked to yield.
void end_chains_beside(unsigned busy_threads) {
    runtime rt({.procs = 1, .retake_running_after = 1ms});
    std::atomic<std::uint64_t> links{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (unsigned i = 0; i < busy_threads; ++i)
        others.emplace_back([&] { compute_until([&] { return over.load(); }); });
    auto chain = rt.go([&] { chain_link(links, over); });
    const auto waited = passed_during(rt, links, [] { this_goroutine::yield(); });
    over = true;
    for (auto& t : others) t.join();
    chain.join();
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
    EXPECT_LT(waited, 40u);
}

TEST(slices_of_chains, end_where_the_processor_changes_hands) { end_chains_beside(0); }

TEST(slices_of_chains, end_where_threads_wait_for_a_core) { end_chains_beside(5 * std::thread::hardware_concurrency()); }

}  // namespace
