// Exceptions in flight belong to the goroutine, not to the thread: it may park inside a catch block, or in a
// destructor during unwinding, and wake on another thread.
#include "testing.hpp"

#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>

using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

std::string text_of(const std::exception_ptr& e) {
    try {
        if (e) std::rethrow_exception(e);
    } catch (const std::exception& x) {
        return x.what();
    } catch (int n) {
        return std::to_string(n);
    }
    return "";
}

// Calls f when it is destroyed.
template <class F>
class at_end {
public:
    explicit at_end(F f) : f_(std::move(f)) {}
    ~at_end() { f_(); }

private:
    F f_;
};

TEST(exceptions, survive_a_change_of_thread_in_a_catch_block) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        try {
            throw std::runtime_error("mine");
        } catch (const std::runtime_error& e) {
            EXPECT_EQ(text_of(std::current_exception()), "mine");
            EXPECT_TRUE(migrate(rt));
            EXPECT_STREQ(e.what(), "mine");
            EXPECT_EQ(text_of(std::current_exception()), "mine");
            EXPECT_EQ(std::uncaught_exceptions(), 0);
            try {
                EXPECT_TRUE(migrate(rt));
                throw;
            } catch (const std::exception& again) {
                EXPECT_EQ(&again, &e);
                EXPECT_TRUE(migrate(rt));
            }
            EXPECT_EQ(text_of(std::current_exception()), "mine");
        }
        EXPECT_EQ(std::current_exception(), nullptr);
    });
}

TEST(exceptions, survive_a_change_of_thread_while_they_unwind) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        int checked = 0;
        try {
            const at_end outer([&] {
                EXPECT_EQ(std::uncaught_exceptions(), 1);
                EXPECT_TRUE(migrate(rt));
                EXPECT_EQ(std::uncaught_exceptions(), 1);
                ++checked;
            });
            const at_end inner([&] {
                EXPECT_EQ(std::uncaught_exceptions(), 1);
                EXPECT_EQ(std::current_exception(), nullptr);   // not caught yet
                try {
                    const at_end nested([&] {
                        EXPECT_EQ(std::uncaught_exceptions(), 2);
                        EXPECT_TRUE(migrate(rt));
                        EXPECT_EQ(std::uncaught_exceptions(), 2);
                        ++checked;
                    });
                    throw std::logic_error("second");
                } catch (const std::logic_error&) {
                    EXPECT_TRUE(migrate(rt));
                    EXPECT_EQ(std::uncaught_exceptions(), 1);
                    EXPECT_EQ(text_of(std::current_exception()), "second");
                }
                ++checked;
            });
            throw std::runtime_error("first");
        } catch (const std::runtime_error& e) {
            EXPECT_STREQ(e.what(), "first");
        }
        EXPECT_EQ(checked, 3);
        EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
}

// What one goroutine has in flight is not seen by the others of the same thread.
TEST(exceptions, are_not_seen_by_other_goroutines) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        const auto expect_none = [] {
            EXPECT_EQ(std::uncaught_exceptions(), 0);
            EXPECT_EQ(std::current_exception(), nullptr);
        };
        auto waiting = handoff::go([&] {
            for (int i = 0; i < 20; ++i) {
                expect_none();
                this_goroutine::yield();
            }
        });
        try {
            const at_end unwinding([&] {
                this_goroutine::yield();
                handoff::go(expect_none).join();
            });
            throw std::runtime_error("mine");
        } catch (const std::runtime_error&) {
            this_goroutine::yield();
            handoff::go(expect_none).join();
            waiting.join();
            EXPECT_EQ(text_of(std::current_exception()), "mine");
        }
    });
}

TEST(exceptions, of_a_joined_goroutine_arrive_inside_a_catch_block) {
    runtime rt(no_retakes(1));
    rt.run([&] {
        try {
            throw 1;
        } catch (int) {
            auto h = handoff::go([&] {
                EXPECT_TRUE(migrate(rt));
                throw 2;
            });
            try {
                h.join();
            } catch (int two) {
                EXPECT_EQ(two, 2);
                EXPECT_TRUE(migrate(rt));
                EXPECT_EQ(text_of(std::current_exception()), "2");
            }
            EXPECT_EQ(text_of(std::current_exception()), "1");
        }
    });
}

// Many at once, each with exceptions of its own, in random depths of catching and unwinding.
class storm {
public:
    explicit storm(std::uint64_t seed, std::atomic<std::uint64_t>& moves) : rng_(seed), moves_(moves) {}

    void operator()() {
        for (int i = 0; i < 20; ++i) {
            levels_.clear();
            level(0);
            EXPECT_EQ(std::uncaught_exceptions(), 0);
            EXPECT_EQ(std::current_exception(), nullptr);
        }
    }

private:
    void park() {
        const pid_t before = this_tid();
        switch (rng_() % 4) {
            case 0: this_goroutine::yield(); break;
            case 1: this_goroutine::sleep_for(std::chrono::microseconds(rng_() % 200)); break;
            case 2: handoff::go([] {}).join(); break;
            case 3: handoff::blocking_call(handoff::handoff_policy::immediate, [] {}); break;
        }
        moves_ += this_tid() != before;
    }

    void level(int uncaught) {
        const auto mine = static_cast<int>(rng_() % 1'000'000);
        levels_.push_back(mine);
        try {
            const at_end parks([&, before = uncaught] {
                EXPECT_EQ(std::uncaught_exceptions(), before + 1);
                park();
                EXPECT_EQ(std::uncaught_exceptions(), before + 1);
                if (levels_.size() < 3 && rng_() % 2) level(before + 1);
                EXPECT_EQ(std::uncaught_exceptions(), before + 1);
            });
            throw mine;
        } catch (int caught) {
            EXPECT_EQ(caught, mine);
            EXPECT_EQ(std::uncaught_exceptions(), uncaught);
            park();
            EXPECT_EQ(text_of(std::current_exception()), std::to_string(mine));
            if (levels_.size() < 3 && rng_() % 2) level(uncaught);
            EXPECT_EQ(text_of(std::current_exception()), std::to_string(mine));
            try {
                park();
                throw;
            } catch (int again) {
                EXPECT_EQ(again, mine);
            }
        }
        levels_.pop_back();
    }

    std::mt19937_64 rng_;
    std::atomic<std::uint64_t>& moves_;
    std::vector<int> levels_;
};

TEST(exceptions, of_many_goroutines_at_once) {
    auto rng = seeded_random("exceptions.of_many_goroutines_at_once");
    runtime rt({.procs = 4});
    std::atomic<std::uint64_t> moves{0};
    EXPECT_TRUE(eventually([&] {
        std::vector<handoff::join_handle<void>> all;
        for (std::size_t i = 0; i < scaled(500); ++i) all.push_back(rt.go(storm(rng(), moves)));
        for (auto& h : all) h.join();
        return moves.load() > 100;
    }));
}

}  // namespace
