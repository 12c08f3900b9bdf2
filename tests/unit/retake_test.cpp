// The runtime section and the retaker, hammered: head of src/sched/section.hpp. README, promise 2: a processor never
// has two owners, so no goroutine is lost, run twice, or run by two threads at once.
//
// What would be seen if it had: the owner's plain counters (spawned, finished) lose counts, its stock of ids gives one
// out twice, its free stacks one stack to two goroutines, a state is not the one expected and aborts; and with one
// processor two goroutines are in user code at once. ThreadSanitizer sees more.
#include "sched/handover.hpp"
#include "sched/retake.hpp"
#include "testing.hpp"

#include <algorithm>
#include <ctime>
#include <thread>
#include <unistd.h>

using handoff::handoff_policy;
using handoff::runtime;
using handoff::syscall_guard;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// Takes whatever may be taken, as soon as it may.
handoff::options aggressive(unsigned procs) {
    handoff::options o;
    o.procs = procs;
    o.syscall_grace = 1us;
    o.syscall_retake_after = 1us;
    o.retake_running_after = 1us;
    o.spin_before_sleep = 0ns;
    return o;
}

void spin(std::uint64_t rounds) noexcept {
    for (; rounds > 0; --rounds) std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Cache lines that a retaker and the goroutines write in turn: stores wait for them, so that what the owner stores as it
// comes back is seen late, and only the barrier (or fence) of the protocol makes up for it.
struct alignas(64) line {
    std::atomic<int> word{0};
};
line contended[16];

void fill_store_buffer() noexcept {
    for (line& l : contended) l.word.store(1, std::memory_order_relaxed);
}

// What happens inside a call, or away from the library: mostly about as long as the retaker needs to look.
void stay_away(std::mt19937_64& rng) {
    switch (const auto what = rng() % 64; what) {
        case 0: ::usleep(1); break;
        case 1: (void)::getppid(); break;
        case 2: ::sched_yield(); break;
        default:
            if (what < 16) spin(rng() % 4'000);
            else if (what < 40) spin(rng() % 100);
            if (what % 2) fill_store_buffer();
    }
}

void use_library(std::mt19937_64& rng, std::vector<handoff::goroutine_id>& ids) {
    switch (rng() % 8) {
        case 0:
        case 1: this_goroutine::yield(); break;
        case 2: this_goroutine::sleep_for(std::chrono::microseconds(rng() % 20)); break;
        case 3: ids.push_back(handoff::go([] { this_goroutine::yield(); }).id()); break;
        default: {
            auto h = handoff::go([] {});
            ids.push_back(h.id());
            h.join();
        }
    }
}

// Fills part of the goroutine's stack with what only it knows.
class stack_mark {
public:
    stack_mark() noexcept : id_(this_goroutine::id()) { std::fill(std::begin(words_), std::end(words_), id_); }
    void check() const {
        EXPECT_EQ(this_goroutine::id(), id_);
        EXPECT_TRUE(std::all_of(std::begin(words_), std::end(words_), [&](auto w) { return w == id_; }));
    }

private:
    const handoff::goroutine_id id_;
    volatile handoff::goroutine_id words_[64];
};

// Runs `workers` goroutines of work(rng, ids), checks that nothing is lost, and returns the stats.
template <class F>
struct handoff::stats hammer(runtime& rt, std::uint64_t seed, std::size_t workers, F work) {
    std::vector<std::vector<handoff::goroutine_id>> ids(workers);
    std::vector<handoff::join_handle<void>> all;
    const auto spawned_before = rt.stats().spawned;
    for (std::size_t w = 0; w < workers; ++w)
        all.push_back(rt.go([&, w, rng = std::mt19937_64(seed + w)]() mutable {
            const stack_mark mark;
            work(rng, ids[w], mark);
            mark.check();
        }));
    std::vector<handoff::goroutine_id> every;
    for (auto& h : all) every.push_back(h.id());
    for (auto& h : all) h.join();
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
    for (const auto& of_one : ids) every.insert(every.end(), of_one.begin(), of_one.end());
    EXPECT_EQ(rt.stats().spawned - spawned_before, every.size()) << "counts were lost";
    std::sort(every.begin(), every.end());
    EXPECT_EQ(std::adjacent_find(every.begin(), every.end()), every.end()) << "an id was given out twice";
    EXPECT_EVENTUALLY(rt.stats().computing_without_processor == 0);
    EXPECT_EVENTUALLY(idle_processors(rt) == rt.procs());
    return rt.stats();
}

TEST(retake, brackets_alone) {
    auto rng = seeded_random("retake.brackets_alone");
    for (const unsigned procs : {1u, 2u, 3u, 4u}) {
        runtime rt(aggressive(procs));
        EXPECT_TRUE(eventually([&] {
            const auto s = hammer(rt, rng(), 8, [](auto& random, auto&, const stack_mark& mark) {
                for (std::size_t i = 0; i < scaled(4'000); ++i) {
                    {
                        const syscall_guard g(policies[i % 3]);
                        stay_away(random);
                    }
                    if (i % 16 == 0) mark.check();
                }
            });
            return s.handoffs_sysmon != 0 && s.handoffs_immediate != 0;
        }));
    }
}

TEST(retake, brackets_and_the_library_between_and_inside) {
    auto rng = seeded_random("retake.brackets_and_the_library_between_and_inside");
    for (const unsigned procs : {1u, 2u, 3u, 4u}) {
        runtime rt(aggressive(procs));
        hammer(rt, rng(), 8, [](auto& random, auto& ids, const stack_mark& mark) {
            for (std::size_t i = 0; i < scaled(1'500); ++i) {
                {
                    const syscall_guard g(policies[random() % 3]);
                    stay_away(random);
                    if (random() % 4 == 0) {
                        use_library(random, ids);
                        stay_away(random);
                        const syscall_guard inner(policies[random() % 3]);
                        if (random() % 4 == 0) use_library(random, ids);
                    }
                }
                if (random() % 2) use_library(random, ids);
                mark.check();
            }
        });
    }
}

TEST(retake, library_calls_without_brackets) {
    auto rng = seeded_random("retake.library_calls_without_brackets");
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt(aggressive(procs));
        hammer(rt, rng(), 6, [](auto& random, auto& ids, const stack_mark& mark) {
            for (std::size_t i = 0; i < scaled(2'000); ++i) {
                stay_away(random);
                use_library(random, ids);
                mark.check();
            }
        });
    }
}

// Threads come and go: goroutines that are tied to theirs, and end there.
TEST(retake, tied_goroutines) {
    auto rng = seeded_random("retake.tied_goroutines");
    for (const unsigned procs : {1u, 2u, 4u}) {
        auto o = aggressive(procs);
        o.idle_thread_timeout = 100us;
        runtime rt(o);
        hammer(rt, rng(), 6, [](auto& random, auto& ids, const stack_mark& mark) {
            for (std::size_t i = 0; i < scaled(40, 10); ++i) {
                auto h = handoff::go([seed = random()]() {
                    std::mt19937_64 mine(seed);
                    std::vector<handoff::goroutine_id> inner;
                    handoff::lock_os_thread();
                    const pid_t tid = this_tid();
                    for (int k = 0; k < 10; ++k) {
                        {
                            const syscall_guard g(policies[mine() % 3]);
                            stay_away(mine);
                            EXPECT_EQ(this_tid(), tid);
                        }
                        EXPECT_EQ(this_tid(), tid);
                        use_library(mine, inner);
                        EXPECT_EQ(this_tid(), tid);
                    }
                    if (mine() % 2) handoff::unlock_os_thread();   // else it takes its thread with it
                    return inner;
                });
                ids.push_back(h.id());
                const auto inner = h.join();
                ids.insert(ids.end(), inner.begin(), inner.end());
                mark.check();
            }
        });
    }
}

// A retaker beside the monitor that does nothing else: it tries each processor some ten thousand times a second.
class eager_retaker {
public:
    enum class what { calls, everything };
    eager_retaker(runtime& rt, what of)
        : s_(*rt.run([] { return handoff::detail::current_m()->s; })), of_(of), thread_([this] { work(); }) {}
    ~eager_retaker() {
        over_ = true;
        thread_.join();
    }
    std::uint64_t taken() const noexcept { return taken_; }

private:
    void work() {
        std::minstd_rand random;
        while (!over_)
            s_.procs.for_each([&](handoff::detail::P& p) {
                handoff::detail::M* m = p.m.load(std::memory_order_acquire);
                if (!m || p.status.load(std::memory_order_relaxed) != handoff::detail::p_status::running) return;
                handoff::detail::retake_candidate c;
                c.m = m;
                c.p = &p;
                c.call = m->call.load(std::memory_order_relaxed);
                c.section = m->section.load(std::memory_order_relaxed);
                c.as = handoff::detail::retake::taken_call;
                if (c.section % 2 != 0 || (of_ == what::calls && c.call % 2 == 0)) return;
                // As the monitor, sometimes later: the owner may have gone on meanwhile.
                if (random() % 2) spin(random() % 3'000);
                else fill_store_buffer();
                handoff::detail::retake_ps(s_, &c, 1);
                if (!c.taken) return;
                ++taken_;
                handoff::detail::handoffp(s_, std::move(c.taken));
            });
    }

    handoff::detail::sched& s_;
    const what of_;
    std::atomic<bool> over_{false};
    std::atomic<std::uint64_t> taken_{0};
    std::thread thread_;
};

TEST(retake, by_an_eager_retaker) {
    auto rng = seeded_random("retake.by_an_eager_retaker");
    for (const unsigned procs : {1u, 2u, 4u}) {
        runtime rt(no_retakes(procs));
        const eager_retaker retaker(rt, eager_retaker::what::everything);
        EXPECT_TRUE(eventually([&] {
            hammer(rt, rng(), 8, [](auto& random, auto& ids, const stack_mark& mark) {
                for (std::size_t i = 0; i < scaled(2'000); ++i) {
                    if (random() % 4) {
                        const syscall_guard g(policies[random() % 2]);
                        if (random() % 2) stay_away(random);
                    }
                    if (random() % 4 == 0) stay_away(random);
                    if (random() % 4 == 0) use_library(random, ids);
                    if (i % 16 == 0) mark.check();
                }
            });
            return retaker.taken() > 100 && rt.stats().retakes_given_up > 10;
        })) << retaker.taken() << " taken, " << rt.stats().retakes_given_up << " given up";
    }
}

// With one processor, whose goroutines lose it in guarded calls only, user code between two calls of the library, neither of
// them the end of a guard, is never run by two threads at once: plain variables need no lock.
TEST(retake, one_processor_excludes) {
    auto rng = seeded_random("retake.one_processor_excludes");
    runtime rt(no_retakes(1));
    const eager_retaker retaker(rt, eager_retaker::what::calls);
    std::uint64_t counter = 0, inside = 0, intrusions = 0, expected = 0;   // plain
    EXPECT_TRUE(eventually([&] {
        constexpr std::size_t workers = 8;
        const std::size_t rounds = scaled(4'000);
        hammer(rt, rng(), workers, [&](auto& random, auto& ids, const stack_mark&) {
            for (std::size_t i = 0; i < rounds; ++i) {
                {
                    const syscall_guard g(policies[random() % 3]);
                    if (random() % 2) stay_away(random);
                }
                enter_library();   // after the guard it may go on without a processor, until it uses the library
                const auto mine = this_goroutine::id();
                intrusions += inside != 0;
                inside = mine;
                const auto before = counter;
                spin(random() % 50);
                counter = before + 1;
                intrusions += inside != mine;
                inside = 0;
                if (random() % 8 == 0) use_library(random, ids);
            }
        });
        expected += workers * rounds;
        EXPECT_EQ(counter, expected);
        EXPECT_EQ(intrusions, 0u);
        return retaker.taken() > 100 && rt.stats().retakes_given_up > 100;
    })) << retaker.taken() << " taken, " << rt.stats().retakes_given_up << " given up";
    RecordProperty("given_up", static_cast<int>(rt.stats().retakes_given_up));
    RecordProperty("taken", static_cast<int>(retaker.taken()));
}

// The same, with the number of processors changing underneath.
TEST(retake, while_processors_come_and_go) {
    auto rng = seeded_random("retake.while_processors_come_and_go");
    runtime rt(aggressive(2));
    std::atomic<bool> over{false};
    std::thread changes([&, random = std::mt19937_64(rng())]() mutable {
        while (!over) {
            rt.set_procs(1 + static_cast<unsigned>(random() % 4));
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        }
        rt.set_procs(2);
    });
    std::thread looks([&] {
        while (!over) {
            (void)rt.stats();
            (void)rt.snapshot();
        }
    });
    struct stop {
        std::atomic<bool>& flag;
        std::thread &a, &b;
        ~stop() {
            flag = true;
            a.join();
            b.join();
        }
    };
    std::vector<handoff::join_handle<void>> all;
    {
        const stop at_end{over, changes, looks};
        for (std::size_t w = 0; w < 8; ++w)
            all.push_back(rt.go([random = std::mt19937_64(rng())]() mutable {
                std::vector<handoff::goroutine_id> ids;
                const stack_mark mark;
                for (std::size_t i = 0; i < scaled(1'000); ++i) {
                    {
                        const syscall_guard g(policies[random() % 3]);
                        stay_away(random);
                    }
                    use_library(random, ids);
                    mark.check();
                }
            }));
        for (auto& h : all) h.join();
    }
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
    EXPECT_EVENTUALLY(rt.snapshot().processors.size() == 2);
    EXPECT_EVENTUALLY(idle_processors(rt) == 2);
}

// A time slice is over; the retaker has asked, and found its goroutine in the library. That gives way where it may change
// threads: as its next call begins, and not as one ends.
TEST(asked_to_yield, gives_way_as_a_call_begins) {
    using handoff::detail::retake;
    runtime rt(no_retakes(1));
    rt.run([&] {
        for (const handoff_policy policy : {handoff_policy::sysmon, handoff_policy::adaptive}) {
            std::atomic<bool> ran{false};
            auto other = handoff::go([&] { ran = true; });   // there is only our processor
            {
                const syscall_guard g(policy);
                retake found;
                ASSERT_TRUE(handoff::detail::current_m()->taken.ask(retake::asked_to_yield, found));
            }
            EXPECT_FALSE(ran.load());
            {
                const syscall_guard g(policy);
                EXPECT_TRUE(ran.load());
            }
            other.join();
        }
    });
}

}  // namespace
