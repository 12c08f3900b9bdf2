// barrier: phases, completion, arrival and dropping, misuse, stop tokens, and its end.
#include "locks.hpp"

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <stop_token>

using handoff::barrier;
using handoff::runtime;
using handoff::usage_error;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

static_assert(!std::is_copy_constructible_v<barrier<>> && !std::is_copy_assignable_v<barrier<>>);
static_assert(!std::is_convertible_v<std::ptrdiff_t, barrier<>>);
static_assert(std::is_move_constructible_v<barrier<>::arrival_token>);
static_assert(barrier<>::max() >= std::ptrdiff_t{1} << 60);

constexpr auto reason = "barrier";
constexpr auto too_many = "handoff: more arrive at a barrier than it expects";

constinit barrier<> global(1);

class barriers : public with_procs {};
INSTANTIATE_WITH_PROCS(barriers);

TEST_P(barriers, of_one_never_wait) {
    on_both(rt_, [] {
        global.arrive_and_wait();
        int completed = 0;
        barrier b(1, [&completed] { ++completed; });
        for (int i = 1; i <= 5; ++i) {
            b.arrive_and_wait();
            EXPECT_EQ(completed, i);
        }
        b.wait(b.arrive());
        b.wait(b.arrive(), std::stop_token());
        EXPECT_EQ(completed, 7);
    });
}

// Phase after phase nobody is ahead of the others, and everybody sees what they did.
TEST_P(barriers, keep_phases_together) {
    constexpr int n = 9;
    const std::size_t phases = scaled(500, 60);
    std::size_t at[n] = {}, completed = 0;   // plain: the barriers order them
    std::atomic<int> wrong{0};
    const auto check = [&] {
        if (std::count(at, at + n, completed) != n) ++wrong;
    };
    barrier b(n, [&] {
        ++completed;
        check();
    });
    barrier<> looked(n);
    crowd all;
    for (int who = 0; who < n; ++who)
        all.start(who % 2 == 0 ? rt_ : other_, who >= 7, [&, who] {
            for (std::size_t phase = 1; phase <= phases; ++phase) {
                at[who] = phase;
                if (who % 3 == 0) b.arrive_and_wait();
                else b.wait(b.arrive());
                if (completed != phase) ++wrong;
                check();
                looked.arrive_and_wait();   // before anybody changes his own again
            }
        });
    all.join();
    EXPECT_EQ(completed, phases);
    EXPECT_EQ(wrong, 0);
}

TEST(barrier, makes_its_completion_by_a_constructor_that_may_be_explicit) {
    static int runs = 0;
    struct counts {
        explicit counts() = default;
        void operator()() noexcept { ++runs; }
    };
    barrier<counts> b(1);
    b.arrive_and_wait();
    EXPECT_EQ(runs, 1);
}

// The completion function runs before anybody goes on, once a phase, on the last that arrives.
TEST_P(barriers, complete_before_anybody_goes_on) {
    std::atomic<bool> let_complete{false}, completing{false};
    handoff::goroutine_id completed_by = 0;
    int runs = 0;
    barrier b(3, [&] {
        ++runs;
        completed_by = this_goroutine::id();
        completing = true;
        EXPECT_EVENTUALLY(let_complete.load());   // it may park
    });
    std::atomic<int> gone_on{0};
    crowd all;
    for (int i = 0; i < 2; ++i)
        all.go(rt_, [&] {
            b.arrive_and_wait();
            ++gone_on;
        });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 2);
    EXPECT_EQ(runs, 0);
    auto last = other_.go([&] {
        b.arrive_and_wait();
        ++gone_on;
    });
    EXPECT_EVENTUALLY(completing.load());
    EXPECT_EQ(gone_on, 0);
    EXPECT_EQ(waiting(rt_, reason), 2u);
    const auto id = last.id();
    let_complete = true;
    last.join();
    all.join();
    EXPECT_EQ(gone_on, 3);
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(completed_by, id);
}

TEST_P(barriers, count_arrivals_without_waiting) {
    on_both(rt_, [] {
        int phases = 0;
        barrier b(5, [&phases] { ++phases; });
        (void)b.arrive(2);
        auto token = b.arrive(2);
        EXPECT_EQ(phases, 0);
        auto last = b.arrive();
        EXPECT_EQ(phases, 1);
        b.wait(std::move(token));
        b.wait(std::move(last));
        b.wait(b.arrive(5));
        EXPECT_EQ(phases, 2);
    });
}

TEST_P(barriers, expect_fewer_once_some_have_dropped) {
    int phases = 0;
    barrier b(4, [&phases] { ++phases; });
    b.arrive_and_drop();
    b.arrive_and_drop();
    EXPECT_EQ(phases, 0);
    crowd all;
    all.go(rt_, [&] {
        b.arrive_and_wait();
        b.arrive_and_wait();
    });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    b.arrive_and_wait();   // the fourth
    EXPECT_EQ(phases, 1);
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    b.arrive_and_wait();   // the second of two
    all.join();
    EXPECT_EQ(phases, 2);
    b.arrive_and_drop();
    b.arrive_and_wait();
    EXPECT_EQ(phases, 3);
    b.arrive_and_wait();
    EXPECT_EQ(phases, 4);
    b.arrive_and_drop();
    EXPECT_EQ(phases, 5);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(); }), too_many);   // nobody is expected any more
}

// Many drop out at random, while the others go on.
TEST_P(barriers, let_participants_drop_out) {
    auto random = seeded_random("barriers.let_participants_drop_out");
    for (std::size_t round = 0; round < scaled(50, 10); ++round) {
        constexpr int n = 10;
        std::size_t phases = 0, longest = 0;
        barrier b(n, [&phases] { ++phases; });
        crowd all;
        for (int who = 0; who < n; ++who) {
            const std::size_t stays = random() % 30;
            longest = std::max(longest, stays);
            all.start(who % 2 == 0 ? rt_ : other_, who >= 8, [&b, stays] {
                for (std::size_t i = 0; i < stays; ++i) b.arrive_and_wait();
                b.arrive_and_drop();
            });
        }
        all.join();
        EXPECT_EQ(phases, longest + 1);
    }
}

TEST(barrier, expects_no_less_than_nobody) {
    EXPECT_EQ(thrown_by<usage_error>([] { barrier<> b(-1); }),
              "handoff: the count of a barrier is -1, not between 0 and " + std::to_string(barrier<>::max()));
    EXPECT_THROW(barrier<>(PTRDIFF_MIN), usage_error);
    EXPECT_THROW(barrier<>(barrier<>::max() + 1), usage_error);
}

TEST(barrier_death, a_completion_that_throws_ends_the_process) {
    auto complete = [] { throw std::runtime_error("not complete"); };
    EXPECT_DEATH({
        try {
            barrier<decltype(complete)> b(1, complete);
            b.arrive_and_wait();
        } catch (...) {
            std::_Exit(0);
        }
    }, "not complete");
}

TEST_P(barriers, are_waited_for_though_const) {
    barrier<> b(2);
    const barrier<>& seen = b;
    crowd all;
    all.go(rt_, [&] { seen.wait(b.arrive()); });
    EXPECT_EVENTUALLY(waiting(rt_, "barrier") == 1);
    b.arrive_and_wait();
    all.join();
}

TEST_P(barriers, refuse_more_than_they_expect) {
    int phases = 0;
    barrier b(3, [&phases] { ++phases; });
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(4); }), too_many);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(0); }), too_many);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(-1); }), too_many);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(PTRDIFF_MAX); }), too_many);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(PTRDIFF_MIN); }), too_many);
    auto token = b.arrive(2);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(2); }), too_many);
    crowd all;
    all.go(rt_, [&] { b.wait(std::move(token)); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 1);
    EXPECT_EQ(thrown_by<usage_error>([&] { (void)b.arrive(2); }), too_many);
    EXPECT_EQ(phases, 0);
    EXPECT_EQ(waiting(rt_, reason), 1u);
    (void)b.arrive();
    EXPECT_EQ(phases, 1);
    all.join();
    (void)b.arrive(3);   // and the next phase expects as many
    EXPECT_EQ(phases, 2);
    barrier<> none(0);
    EXPECT_EQ(thrown_by<usage_error>([&] { none.arrive_and_wait(); }), too_many);
    EXPECT_EQ(thrown_by<usage_error>([&] { none.arrive_and_drop(); }), too_many);
}

// One that is refused has not dropped out: the next phase expects as many as before. (While a phase completes, all that
// were expected have arrived.)
TEST_P(barriers, refuse_to_drop_one_too_many) {
    struct dropper {
        barrier<dropper>** b;
        int* phases;
        void operator()() const {
            ++*phases;
            EXPECT_EQ(thrown_by<usage_error>([this] { (*b)->arrive_and_drop(); }), too_many);
        }
    };
    int phases = 0;
    barrier<dropper>* self = nullptr;
    barrier b(2, dropper{&self, &phases});
    self = &b;
    for (int i = 1; i <= 3; ++i) {
        (void)b.arrive();
        EXPECT_EQ(phases, i - 1);
        b.wait(b.arrive());
        EXPECT_EQ(phases, i);
    }
}

// The stopped one has arrived all the same; the others need nobody in its place.
TEST_P(barriers, a_stop_ends_the_wait) {
    for (const bool on_thread : {false, true})
        for (const bool by_goroutine : {false, true}) {
            barrier<> b(2);
            std::stop_source source;
            crowd all;
            all.start(rt_, on_thread, [&, token = source.get_token()] {
                EXPECT_THROW(b.wait(b.arrive(), token), handoff::cancelled);
            });
            EXPECT_EVENTUALLY(on_thread ? all.threads_sleep() : waiting(rt_, reason) == 1);
            if (by_goroutine) rt_.run([&] { source.request_stop(); });
            else source.request_stop();
            all.join();
            b.wait(b.arrive(), source.get_token());   // the last: no wait to end
            EXPECT_THROW(b.wait(b.arrive(), source.get_token()), handoff::cancelled);
            b.arrive_and_wait();
        }
}

TEST_P(barriers, survive_waiters_that_are_stopped) {
    auto random = seeded_random("barriers.survive_waiters_that_are_stopped");
    constexpr int n = 8;
    const std::size_t phases = scaled(200, 30);
    std::size_t completed = 0;
    barrier b(n, [&completed] { ++completed; });
    barrier<> after(n);
    crowd all;
    for (int who = 0; who < n; ++who)
        all.start(rt_, who >= 6, [&, who, seed = random()] {
            std::mt19937_64 r(seed);
            for (std::size_t i = 0; i < phases; ++i) {
                std::stop_source source;
                crowd stopper;
                if (who % 2 == 0) stopper.go(other_, [&source, k = r()] { busy(k), source.request_stop(); });
                try {
                    b.wait(b.arrive(), source.get_token());
                } catch (const handoff::cancelled&) {
                }
                after.arrive_and_wait();   // those that were stopped do not overtake the others
            }
        });
    all.join();
    EXPECT_EQ(completed, phases);
}

TEST_P(barriers, show_who_waits) {
    barrier<> b(4);
    crowd all;
    for (int i = 0; i < 3; ++i) all.go(rt_, [&] { b.arrive_and_wait(); });
    EXPECT_EVENTUALLY(waiting(rt_, reason) == 3);
    b.arrive_and_wait();
    all.join();
}

// Whoever has waited destroys it; the others have only arrived, and arrive() may not have returned.
TEST_P(barriers, are_destroyed_by_who_waited) {
    for (std::size_t round = 0; round < scaled(2'000, 200); ++round) {
        auto* b = new barrier<>(3);
        crowd all;
        std::atomic<bool> destroyed{false};
        all.start(rt_, round % 3 == 0, [b, &destroyed] {
            b->arrive_and_wait();
            delete b;
            destroyed = true;
        });
        all.start(other_, round % 3 == 1, [b] { (void)b->arrive(); });
        all.start(rt_, round % 3 == 2, [b] { b->arrive_and_drop(); });
        all.join();
        EXPECT_TRUE(destroyed);
    }
}

}  // namespace
