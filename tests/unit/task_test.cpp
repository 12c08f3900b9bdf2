// Closures and results: where they live, and that each is destroyed once and in time.
#include "testing.hpp"

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>

using handoff::detail::task;
using handoff::detail::task_inline_size;
using namespace handoff_test;

namespace {

template <class F>
using task_of = task<F, std::invoke_result_t<F>>;

class task_test : public testing::Test {
protected:
    handoff::runtime rt_{{.procs = 2}};
};

struct move_may_throw {
    move_may_throw() = default;
    move_may_throw(move_may_throw&&) noexcept(false) {}
    void operator()() const {}
};

struct alignas(64) over_aligned {
    char bytes[64] = {};
};

struct immovable {
    explicit immovable(int n) : value(n) {}
    immovable(immovable&&) = delete;
    int value;
};

// A task fits if closure and result do, side by side.
TEST(task_layout, small_closures_live_in_the_goroutine) {
    const auto nothing = [] {};
    EXPECT_TRUE(task_of<decltype(nothing)>::fits_inline);
    std::array<char, task_inline_size - 1> most{};
    const auto large = [most] { (void)most; };
    EXPECT_TRUE(task_of<decltype(large)>::fits_inline);
    std::array<char, task_inline_size> more{};
    const auto too_large = [more] { (void)more; };
    EXPECT_FALSE(task_of<decltype(too_large)>::fits_inline);
    const auto with_result = [most] { return static_cast<double>(most[0]); };
    EXPECT_FALSE(task_of<decltype(with_result)>::fits_inline);
    EXPECT_FALSE(task_of<move_may_throw>::fits_inline);
    const auto aligned = [a = over_aligned{}] { (void)a; };
    EXPECT_FALSE(task_of<decltype(aligned)>::fits_inline);
}

TEST(task_layout, size_is_that_of_the_object) {
    const auto a = [x = 'a'] { return x; };
    const auto b = [x = 1.0, y = 'b'] { return std::string(1, static_cast<char>(x + y)); };
    const auto c = [x = std::array<short, 3>{}] { return x[0] == 0; };
    EXPECT_EQ(task_of<decltype(a)>::layout_size, sizeof(task_of<decltype(a)>));
    EXPECT_EQ(task_of<decltype(b)>::layout_size, sizeof(task_of<decltype(b)>));
    EXPECT_EQ(task_of<decltype(c)>::layout_size, sizeof(task_of<decltype(c)>));
    EXPECT_EQ(task_of<decltype(b)>::layout_align, alignof(task_of<decltype(b)>));
}

// Every kind of closure: it is called once, destroyed before join() returns, and all of its copies are gone then.
template <class Tag, class F>
void expect_destroyed_once(handoff::runtime& rt, F make) {
    using tracked = counted<Tag>;
    for (int i = 0; i < 100; ++i) {
        auto h = rt.go(make());
        h.join();
        ASSERT_EQ(tracked::alive.load(), 0) << "after join";
    }
    rt.go(make()).detach();
    EXPECT_EVENTUALLY(tracked::alive.load() == 0);
    EXPECT_GE(tracked::made.load(), 101);
}

TEST_F(task_test, inline_closure_is_destroyed_before_join_returns) {
    using tracked = counted<struct inline_tag>;
    const auto make = [] { return [t = tracked{}] { EXPECT_GT(tracked::alive.load(), 0); }; };
    static_assert(task_of<decltype(make())>::fits_inline);
    expect_destroyed_once<inline_tag>(rt_, make);
}

TEST_F(task_test, heap_closure_is_destroyed_before_join_returns) {
    using tracked = counted<struct heap_tag>;
    const auto make = [] {
        return [t = tracked{}, ballast = std::array<char, 1000>{}] { EXPECT_EQ(ballast[999], 0); };
    };
    static_assert(!task_of<decltype(make())>::fits_inline);
    expect_destroyed_once<heap_tag>(rt_, make);
}

TEST_F(task_test, over_aligned_closure) {
    using tracked = counted<struct aligned_tag>;
    const auto make = [] {
        return [t = tracked{}, a = over_aligned{}] {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&a) % alignof(over_aligned), 0u);
        };
    };
    expect_destroyed_once<aligned_tag>(rt_, make);
}

TEST_F(task_test, closure_that_throws_is_destroyed_once) {
    using tracked = counted<struct throws_tag>;
    for (int i = 0; i < 100; ++i) {
        auto h = rt_.go([t = tracked{}]() -> tracked { throw std::runtime_error("no"); });
        EXPECT_THROW(h.join(), std::runtime_error);
        ASSERT_EQ(tracked::alive.load(), 0);
    }
}

TEST_F(task_test, move_only_closure_and_result) {
    for (int i = 0; i < 100; ++i) {
        auto h = rt_.go([p = std::make_unique<int>(i)]() mutable { return std::move(p); });
        const std::unique_ptr<int> result = h.join();
        ASSERT_TRUE(result);
        EXPECT_EQ(*result, i);
    }
}

TEST_F(task_test, closure_is_called_as_an_rvalue) {
    struct once {
        std::string operator()() && { return "rvalue"; }
        std::string operator()() & { return "lvalue"; }
    };
    EXPECT_EQ(rt_.go(once{}).join(), "rvalue");
    const once kept;
    (void)kept;
    once copied;
    EXPECT_EQ(rt_.go(copied).join(), "rvalue");
}

TEST_F(task_test, closure_that_can_be_copied_but_not_moved) {
    struct copied {
        int value = 7;
        copied() = default;
        copied(const copied&) = default;
        copied(copied&&) = delete;
        int operator()() const { return value; }
    };
    const copied f;
    EXPECT_EQ(rt_.go(f).join(), 7);
}

TEST_F(task_test, closure_whose_move_throws) {
    struct throws_on_second_move {
        std::shared_ptr<int> moves = std::make_shared<int>(0);
        throws_on_second_move() = default;
        throws_on_second_move(throws_on_second_move&& other) noexcept(false) : moves(other.moves) {
            if (++*moves > 1) throw std::runtime_error("moved twice");
        }
        int operator()() const { return *moves; }
    };
    EXPECT_EQ(rt_.go(throws_on_second_move{}).join(), 1);   // into the heap, and not again
    throws_on_second_move used;
    *used.moves = 1;
    EXPECT_THROW(rt_.go(std::move(used)), std::runtime_error);
    rt_.run([] {});   // nothing was spawned, nothing is broken
    EXPECT_EQ(rt_.stats().spawned, 2u);
}

TEST_F(task_test, result_that_is_a_reference) {
    int value = 1;
    auto h = rt_.go([&]() -> int& { return value; });
    int& result = h.join();
    EXPECT_EQ(&result, &value);
    const std::string text = "text";
    auto constant = rt_.go([&]() -> const std::string& { return text; });
    EXPECT_EQ(&constant.join(), &text);
    auto p = std::make_unique<int>(5);
    auto rvalue = rt_.go([&]() -> std::unique_ptr<int>&& { return std::move(p); });
    const std::unique_ptr<int> moved = rvalue.join();
    EXPECT_EQ(*moved, 5);
    EXPECT_EQ(p, nullptr);
}

TEST_F(task_test, result_that_is_void) {
    bool ran = false;
    static_assert(std::is_void_v<decltype(rt_.go([&] { ran = true; }).join())>);
    rt_.go([&] { ran = true; }).join();
    EXPECT_TRUE(ran);
}

TEST_F(task_test, result_that_can_be_neither_moved_nor_copied) {
    // Nobody can take it out; it is built in place and destroyed with the handle.
    struct counted_immovable : immovable {
        using immovable::immovable;
        counted<struct immovable_tag> t{};
    };
    {
        auto h = rt_.go([] { return counted_immovable(3); });
        EXPECT_EVENTUALLY(h.done());
        EXPECT_EQ(counted<immovable_tag>::alive.load(), 1);
    }
    EXPECT_EQ(counted<immovable_tag>::alive.load(), 0);
    rt_.go([] { return counted_immovable(3); }).detach();
    rt_.run([] {});
    EXPECT_EVENTUALLY(counted<immovable_tag>::made.load() == 2 && counted<immovable_tag>::alive.load() == 0);
}

TEST_F(task_test, result_that_is_over_aligned_or_large) {
    const over_aligned aligned = rt_.go([] { return over_aligned{}; }).join();
    EXPECT_EQ(aligned.bytes[63], 0);
    auto large = rt_.go([] {
        std::array<int, 5000> a{};
        a[4999] = 7;
        return a;
    });
    EXPECT_EQ(large.join()[4999], 7);
}

// Results: made in place, destroyed once, whoever lets go last.
TEST_F(task_test, result_is_destroyed_once) {
    using tracked = counted<struct result_tag>;
    using big_tracked = std::pair<tracked, std::array<char, 200>>;
    std::vector<handoff::join_handle<void>> others;
    for (int i = 0; i < 200; ++i) {
        (void)rt_.go([] { return tracked{}; }).join();
        (void)rt_.go([] { return big_tracked{}; }).join();
        { auto dropped_early = rt_.go([] { return tracked{}; }); }
        {
            auto dropped_late = rt_.go([] { return tracked{}; });
            while (!dropped_late.done()) std::this_thread::yield();
        }
        rt_.go([] { return big_tracked{}; }).detach();
        auto inside = rt_.go([] { (void)handoff::go([] { return tracked{}; }).join(); });
        inside.join();
    }
    rt_.run([] {});
    EXPECT_EVENTUALLY(tracked::alive.load() == 0);
    EXPECT_GE(tracked::made.load(), 1200);
}

// The destructor of a result that nobody took runs on the goroutine, in user code: it may use the library.
TEST_F(task_test, destructors_of_unwanted_results_may_use_the_library) {
    struct busy {
        std::atomic<int>* n;
        explicit busy(std::atomic<int>* counter) : n(counter) {}
        busy(busy&& other) noexcept : n(std::exchange(other.n, nullptr)) {}
        ~busy() {
            if (!n) return;
            handoff::this_goroutine::yield();
            handoff::this_goroutine::sleep_for(100us);
            handoff::go([n = n] { ++*n; }).join();
        }
    };
    std::atomic<int> n{0};
    for (int i = 0; i < 50; ++i) {
        rt_.go([&] { return busy(&n); }).detach();
        rt_.run([&] { handoff::go([&] { return busy(&n); }).detach(); });
    }
    EXPECT_EVENTUALLY(n.load() == 100);
    rt_.run([&] {
        auto h = handoff::go([&] { return busy(&n); });
        while (!h.done()) handoff::this_goroutine::yield();
    });
    EXPECT_EQ(n.load(), 101);
}

// The handle is dropped after the goroutine has looked whether it must destroy its result itself, and before it said
// that it ended: here it waits for a processor in between.
TEST(task_end, result_whose_handle_is_dropped_at_the_last_moment) {
    struct busy {
        std::atomic<bool>* gone;
        explicit busy(std::atomic<bool>* flag) : gone(flag) {}
        busy(busy&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
        ~busy() {
            if (!gone) return;
            handoff::this_goroutine::sleep_for(100us);
            *gone = true;
        }
    };
    handoff::runtime rt(no_retakes(1));
    std::atomic<bool> away{false}, end{false}, hog_runs{false}, hog_ends{false}, gone{false};
    auto h = rt.go([&] {
        handoff::entersyscallblock();
        away = true;
        block_until([&] { return end.load(); });
        return busy(&gone);   // ends inside the bracket: it needs a processor, and the only one is busy
    });
    ASSERT_EVENTUALLY(away.load());
    auto hog = rt.go([&] {
        hog_runs = true;
        block_until([&] { return hog_ends.load(); });
    });
    ASSERT_EVENTUALLY(hog_runs.load());
    const auto before = rt.stats().regains;
    end = true;
    ASSERT_EVENTUALLY(rt.stats().regains == before + 1);   // it looks for a processor
    h.detach();
    hog_ends = true;
    hog.join();
    EXPECT_EVENTUALLY(gone.load());
}

}  // namespace
