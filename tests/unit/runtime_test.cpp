// A runtime's life: options, several at once, start and stop, the number of processors, misuse.
#include "testing.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

// ---- Options -------------------------------------------------------------------------------------------------------

// What the constructor says of bad options; empty if it takes them.
template <class F>
std::string complaint(F set) {
    handoff::options o;
    set(o);
    try {
        const runtime rt(o);
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "";
}

TEST(options, bad_ones_are_named_with_their_value) {
    const auto contains = [](const std::string& text, const std::string& part) {
        EXPECT_NE(text.find(part), text.npos) << text;
        EXPECT_EQ(text.find("handoff: "), 0u) << text;
    };
    contains(complaint([](auto& o) { o.procs = 1025; }), "options.procs=1025");
    contains(complaint([](auto& o) { o.stack_size = 1000; }), "options.stack_size=1000");
    contains(complaint([](auto& o) { o.stack_size = SIZE_MAX; }), "options.stack_size=" + std::to_string(SIZE_MAX));
    contains(complaint([](auto& o) { o.max_threads = 1; }), "options.max_threads=1");
    contains(complaint([](auto& o) { o.max_threads = 0; }), "options.max_threads=0");
    contains(complaint([](auto& o) { o.syscall_grace = 0ns; }), "options.syscall_grace=0");
    contains(complaint([](auto& o) { o.syscall_grace = -1s; }), "options.syscall_grace=-1000000000");
    contains(complaint([](auto& o) { o.syscall_retake_after = 10us; }), "options.syscall_retake_after=10000");
    contains(complaint([](auto& o) { o.retake_running_after = 999ns; }), "options.retake_running_after=999");
    contains(complaint([](auto& o) { o.idle_thread_timeout = -1ns; }), "options.idle_thread_timeout=-1");
    contains(complaint([](auto& o) { o.spin_before_sleep = -1ns; }), "options.spin_before_sleep=-1");
    contains(complaint([](auto& o) { o.idle_thread_timeout = std::chrono::nanoseconds::max(); }),
             "options.idle_thread_timeout=");
}

TEST(options, extreme_ones_work) {
    for (const handoff::options& o : {
             handoff::options{.procs = 1, .stack_size = 16 * 1024},
             handoff::options{.procs = 1, .max_threads = 2},
             handoff::options{.procs = 4, .max_threads = 2},
             handoff::options{
                 .procs = 3, .syscall_grace = 1us, .syscall_retake_after = 1us, .retake_running_after = 1us},
             handoff::options{.procs = 3, .idle_thread_timeout = 0ns, .spin_before_sleep = 0ns},
             handoff::options{.procs = 2, .spin_before_sleep = 1s},
             handoff::options{.procs = 1024},
         }) {
        try {
            runtime rt(o);
            EXPECT_EQ(rt.procs(), o.procs);
            EXPECT_EQ(rt.stats().procs, o.procs);
            std::vector<handoff::join_handle<int>> all;
            for (int i = 0; i < 100; ++i)
                all.push_back(rt.go([i] {
                    this_goroutine::yield();
                    return handoff::go([i] { return i; }).join();
                }));
            for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].join(), i);
        } catch (const std::exception& e) {
            ADD_FAILURE() << "procs " << o.procs << ", max_threads " << o.max_threads << ": " << e.what();
        }
    }
}

TEST(environment, sets_the_number_of_processors) {
    {
        const environment_variable procs("HANDOFF_PROCS", "3");
        EXPECT_EQ(runtime().procs(), 3u);
        EXPECT_EQ(runtime({.procs = 2}).procs(), 2u);   // the program knows better
    }
    const environment_variable none("HANDOFF_PROCS", "");
    EXPECT_GE(runtime().procs(), 1u);
}

TEST(environment, bad_values_are_named) {
    const auto bad = [](const char* name, const char* value) {
        const environment_variable set(name, value);
        const std::string said = complaint([](auto&) {});
        EXPECT_NE(said.find(name), said.npos) << value << ": " << said;
        return said;
    };
    for (const char* value : {"0", "1025", "-1", "two", "2x", " 2", "99999999999999999999"}) {
        const std::string said = bad("HANDOFF_PROCS", value);
        EXPECT_NE(said.find(value), said.npos) << said;
    }
    for (const char* value : {"schedtrace=x", "schedtrace=", "schedtrace=-1", "unguarded=2", "nonsense", "nonsense=1",
                              "unguarded=1,trace=1"})
        bad("HANDOFF_DEBUG", value);
    const environment_variable fine("HANDOFF_DEBUG", "unguarded=1,,schedtrace=0,scheddetail");
    EXPECT_EQ(complaint([](auto&) {}), "");
}

// ---- Several, and their ends (design section 2, rule 7) ------------------------------------------------------------

TEST(runtime, lives_beside_others_and_ends_in_any_order) {
    auto rng = seeded_random("runtime.lives_beside_others_and_ends_in_any_order");
    for (int round = 0; round < 5; ++round) {
        std::vector<std::unique_ptr<runtime>> all;
        for (unsigned i = 0; i < 6; ++i) all.push_back(std::make_unique<runtime>(handoff::options{.procs = 1 + i % 3}));
        std::atomic<int> n{0};
        for (auto& a : all)
            for (auto& b : all)
                a->go([&n, b = b.get()] { n += b->run([] { return 1; }); }).join();
        EXPECT_EQ(n, 36);
        std::shuffle(all.begin(), all.end(), rng);
        while (!all.empty()) {
            all.pop_back();
            for (auto& rt : all) EXPECT_EQ(rt->run([] { return 5; }), 5);
        }
    }
}

TEST(runtime, destructor_waits_for_its_goroutines) {
    std::atomic<int> ended{0};
    {
        runtime rt({.procs = 2});
        for (int i = 0; i < 50; ++i)
            rt.go([&, i] {
                this_goroutine::sleep_for(std::chrono::milliseconds(i % 10));
                handoff::go([&, i] {
                    if (i % 2) this_goroutine::sleep_for(5ms);
                    else handoff::blocking_call([] { ::usleep(5'000); });
                    ++ended;
                });
                ++ended;
            });
    }
    EXPECT_EQ(ended, 100);
}

TEST(runtime, may_be_destroyed_by_a_goroutine_of_another) {
    runtime outer({.procs = 1});
    outer.run([&] {
        auto inner = std::make_unique<runtime>(handoff::options{.procs = 1});
        std::atomic<bool> go_on{false}, others_ran{false};
        inner->go([&] {
            while (!go_on) this_goroutine::sleep_for(1ms);
        });
        // The only processor of this runtime goes on meanwhile.
        handoff::go([&] {
            others_ran = true;
            go_on = true;
        });
        inner.reset();
        EXPECT_TRUE(others_ran);
    });
}

void destroy_from_within() {
    auto rt = std::make_unique<runtime>(handoff::options{.procs = 1});
    runtime& r = *rt;
    r.run([&] { rt.reset(); });
}

TEST(runtime, destroyed_by_its_own_goroutine_aborts_and_says_so) {
    EXPECT_EXIT(destroy_from_within(), testing::KilledBySignal(SIGABRT),
                "handoff: a runtime is destroyed by its own goroutine [0-9]+");
}

TEST(runtime, leaves_nothing_behind) {
    const auto use = [](unsigned i) {
        runtime rt({.procs = 1 + i % 3});
        if (i % 4 == 0) return;
        rt.run([] { handoff::go([] {}).join(); });
        rt.go(handoff::spawn_options{.name = "detached", .stack_size = 512 * 1024}, [] { this_goroutine::yield(); });
        if (i % 4 == 2) rt.go([] { handoff::lock_os_thread(); });
        if (i % 4 == 3) rt.run([] { handoff::blocking_call(handoff::handoff_policy::immediate, [] {}); });
    };
    handoff::go([] {}).join();   // the default runtime has started
    for (unsigned i = 0; i < 20; ++i) use(i);
    const std::size_t rounds = scaled(1'000, 100);
    const auto threads_before = threads().size();
    const auto mappings_before = mapping_count();
    const auto descriptors_before = descriptor_count();
    for (unsigned i = 0; i < rounds; ++i) use(i);
    // A joined thread may be in the list for a moment longer.
    EXPECT_EVENTUALLY(threads().size() <= threads_before);
    EXPECT_EQ(descriptor_count(), descriptors_before);
    // malloc and the sanitizers map some of their own, but not one for each runtime.
    EXPECT_LE(mapping_count(), mappings_before + rounds / 10);
}

TEST(runtime, starts_and_stops_in_many_threads_at_once) {
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t)
        all.emplace_back([] {
            for (std::size_t i = 0; i < scaled(100); ++i) EXPECT_EQ(runtime({.procs = 2}).run([] { return 1; }), 1);
        });
    for (auto& t : all) t.join();
}

// ---- The number of processors --------------------------------------------------------------------------------------

TEST(set_procs, bad_numbers_are_named) {
    runtime rt({.procs = 2});
    for (const unsigned n : {0u, 1025u}) {
        try {
            rt.set_procs(n);
            ADD_FAILURE();
        } catch (const std::invalid_argument& e) {
            EXPECT_NE(std::string(e.what()).find("set_procs(" + std::to_string(n) + ")"), std::string::npos);
        }
    }
    EXPECT_EQ(rt.procs(), 2u);
}

// Rule 1: all processors work when there is work for all of them.
TEST(set_procs, new_processors_run_goroutines_at_once) {
    runtime rt(no_retakes(1));
    for (const unsigned n : {3u, 1u, 6u}) {
        rt.set_procs(n);
        EXPECT_EQ(rt.procs(), n);
        EXPECT_EVENTUALLY(rt.snapshot().processors.size() == n);
        std::atomic<unsigned> here{0};
        std::vector<handoff::join_handle<bool>> all;
        for (unsigned i = 0; i < n; ++i)
            all.push_back(rt.go([&, n] {
                ++here;
                return block_until([&] { return here == n; });   // all of them at once
            }));
        for (auto& h : all) EXPECT_TRUE(h.join());
    }
}

// Rule 1: also what was queued before.
TEST(set_procs, new_processors_run_what_waits) {
    runtime rt(no_retakes(1));
    occupant first(rt);
    ASSERT_TRUE(first.await_start());
    occupant second(rt);
    rt.set_procs(2);
    EXPECT_EVENTUALLY(second.runs());
    EXPECT_TRUE(first.runs());
}

// Rule 1, after all threads slept, and spawned from a goroutine.
TEST(runtime, all_processors_run_after_a_rest) {
    runtime rt(no_retakes(4));
    for (int round = 0; round < 20; ++round) {
        ASSERT_EVENTUALLY(idle_processors(rt) == 4);
        std::atomic<unsigned> here{0};
        const auto meet = [&] {
            ++here;
            return block_until([&] { return here == 4; });
        };
        EXPECT_TRUE(rt.run([&] {
            std::vector<handoff::join_handle<bool>> others;
            for (int i = 0; i < 3; ++i) others.push_back(handoff::go(meet));
            bool all_met = meet();
            for (auto& h : others) all_met &= h.join();
            return all_met;
        }));
    }
}

TEST(set_procs, surplus_processor_goes_when_its_goroutine_is_away) {
    runtime rt(no_retakes(3));
    std::atomic<bool> over{false};
    std::atomic<int> here{0};
    std::vector<handoff::join_handle<void>> all;
    for (int i = 0; i < 3; ++i)
        all.push_back(rt.go([&, i] {
            ++here;
            if (i % 2) compute_until([&] { return over.load(); });
            else handoff::blocking_call([&] { block_until([&] { return over.load(); }); });
        }));
    ASSERT_EVENTUALLY(here == 3);
    rt.set_procs(1);
    EXPECT_EVENTUALLY(rt.snapshot().processors.size() == 1);
    over = true;
    for (auto& h : all) h.join();
    rt.run([] {});
}

TEST(set_procs, up_and_down_while_working) {
    auto rng = seeded_random("set_procs.up_and_down_while_working");
    runtime rt({.procs = 2});
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> done{0}, spawned{0};
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < 8; ++i)
        all.push_back(rt.go([&, i] {
            while (!over) {
                for (int k = 0; k < 20; ++k) {
                    ++spawned;
                    handoff::go([&] { ++done; });
                }
                switch (i % 4) {
                    case 0: this_goroutine::sleep_for(100us); break;
                    case 1: this_goroutine::yield(); break;
                    case 2: handoff::blocking_call([] { ::usleep(50); }); break;
                    case 3: handoff::go([] { this_goroutine::yield(); }).join(); break;
                }
            }
        }));
    for (std::size_t i = 0; i < scaled(1'000); ++i) {
        const unsigned n = 1 + static_cast<unsigned>(rng() % 6);
        rt.set_procs(n);
        EXPECT_EQ(rt.procs(), n);
        if (i % 8 == 0) std::this_thread::yield();
    }
    rt.run([&] { rt.set_procs(2); });   // from a goroutine as well
    over = true;
    for (auto& h : all) h.join();
    EXPECT_EVENTUALLY(done == spawned);
    EXPECT_EVENTUALLY(rt.snapshot().processors.size() == 2);
    EXPECT_EVENTUALLY(rt.stats().goroutines == 0);
}

}  // namespace
