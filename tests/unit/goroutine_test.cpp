// go, join and what a handle can do. README, promises 2 (each goroutine runs once) and 5 (threads that are no
// goroutines may wait as well).
#include "testing.hpp"

#include <functional>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

using handoff::join_handle;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class goroutine : public testing::Test {
protected:
    runtime rt_{{.procs = 2}};
};

int add(int a, int b) { return a + b; }

template <class F>
std::errc error_of(F f) {
    try {
        f();
    } catch (const std::system_error& e) {
        return static_cast<std::errc>(e.code().value());
    }
    return std::errc{};
}

TEST_F(goroutine, returns_its_result) {
    EXPECT_EQ(rt_.go([] { return 42; }).join(), 42);
    EXPECT_EQ(rt_.run([] { return std::string("text"); }), "text");
    EXPECT_EQ(rt_.run([] { return handoff::go([] { return 7; }).join(); }), 7);
}

TEST_F(goroutine, rethrows_its_exception) {
    auto h = rt_.go([]() -> int { throw std::out_of_range("far"); });
    try {
        h.join();
        FAIL();
    } catch (const std::out_of_range& e) {
        EXPECT_STREQ(e.what(), "far");
    }
    EXPECT_FALSE(h.joinable());
    EXPECT_THROW(rt_.run([] { throw 5; }), int);
    EXPECT_THROW(rt_.run([] { handoff::go([] { throw std::logic_error("inner"); }).join(); }), std::logic_error);
}

TEST_F(goroutine, takes_arguments_as_a_thread_does) {
    EXPECT_EQ(rt_.go(add, 1, 2).join(), 3);
    EXPECT_EQ(rt_.run(add, 3, 4), 7);
    const std::string lvalue = "abc";
    EXPECT_EQ(rt_.go([](const std::string& s) { return s.size(); }, lvalue).join(), 3u);
    char array[] = "array";
    auto copied = rt_.go([](const std::string& s) { return s; }, std::string(array));
    array[0] = 'A';
    EXPECT_EQ(copied.join(), "array");
    EXPECT_EQ(rt_.go([](const char* s) { return std::string(s); }, "literal").join(), "literal");
    EXPECT_EQ(rt_.go([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(9)).join(), 9);
    int n = 1;
    rt_.go([](int& x) { x = 2; }, std::ref(n)).join();
    EXPECT_EQ(n, 2);
    struct object {
        int factor;
        int times(int x) const { return factor * x; }
    } six{6};
    EXPECT_EQ(rt_.go(&object::times, six, 7).join(), 42);
    EXPECT_EQ(rt_.go(&object::times, &six, 7).join(), 42);
    EXPECT_EQ(rt_.go(handoff::spawn_options{.name = "adder"}, add, 20, 22).join(), 42);
    EXPECT_EQ(rt_.run([] {
        return handoff::go(add, 1, 1).join() + handoff::go(handoff::spawn_options{}, add, 2, 2).join();
    }), 6);
}

TEST_F(goroutine, may_have_a_big_closure) {
    std::array<int, 20'000> big{};
    big[19'999] = 5;
    EXPECT_EQ(rt_.go([big] { return big[19'999]; }).join(), 5);
    EXPECT_EQ(rt_.go([](const auto& a, int x) { return a[19'999] + x; }, big, 1).join(), 6);
}

TEST_F(goroutine, has_a_unique_id) {
    EXPECT_EQ(this_goroutine::id(), 0u);
    runtime other({.procs = 1});
    std::vector<join_handle<handoff::goroutine_id>> handles;
    std::set<handoff::goroutine_id> ids;
    for (int i = 0; i < 300; ++i) {
        handles.push_back(rt_.go([] { return this_goroutine::id(); }));
        handles.push_back(other.go([] { return this_goroutine::id(); }));
        auto inner = rt_.run([] { return handoff::go([] { return this_goroutine::id(); }); });
        handles.push_back(std::move(inner));
    }
    for (auto& h : handles) {
        const auto id = h.id();
        EXPECT_EQ(h.join(), id);
        EXPECT_NE(id, 0u);
        EXPECT_TRUE(ids.insert(id).second) << id;
        EXPECT_EQ(h.id(), 0u);
    }
}

TEST_F(goroutine, handle_is_empty_after_join) {
    join_handle<int> h;
    EXPECT_FALSE(h.joinable());
    EXPECT_FALSE(h.done());
    EXPECT_EQ(h.id(), 0u);
    h.detach();
    EXPECT_EQ(error_of([&] { h.join(); }), std::errc::invalid_argument);
    h = rt_.go([] { return 1; });
    EXPECT_TRUE(h.joinable());
    h.join();
    EXPECT_FALSE(h.joinable());
    EXPECT_EQ(error_of([&] { h.join(); }), std::errc::invalid_argument);
    rt_.run([] { EXPECT_EQ(error_of([] { join_handle<void>().join(); }), std::errc::invalid_argument); });
}

TEST_F(goroutine, handle_moves_and_detaches_what_it_held) {
    std::atomic<int> ended{0};
    std::atomic<bool> go_on{false};
    const auto body = [&] {
        while (!go_on) this_goroutine::yield();
        ++ended;
    };
    auto a = rt_.go(body);
    const auto id = a.id();
    auto b = std::move(a);
    EXPECT_FALSE(a.joinable());
    EXPECT_EQ(b.id(), id);
    auto c = rt_.go(body);
    c = std::move(b);   // the goroutine that c held goes on by itself
    EXPECT_EQ(c.id(), id);
    auto& self = c;
    c = std::move(self);
    EXPECT_EQ(c.id(), id);
    go_on = true;
    c.join();
    EXPECT_EVENTUALLY(ended == 2);
}

TEST_F(goroutine, done_says_whether_join_would_wait) {
    std::atomic<bool> go_on{false};
    auto h = rt_.go([&] {
        while (!go_on) this_goroutine::yield();
    });
    EXPECT_FALSE(h.done());
    go_on = true;
    EXPECT_EVENTUALLY(h.done());
    h.join();
    EXPECT_FALSE(h.done());
}

TEST_F(goroutine, joining_itself_is_an_error) {
    join_handle<void> h;
    std::atomic<bool> set{false};
    std::errc error{};
    h = rt_.go([&] {
        while (!set) this_goroutine::yield();
        error = error_of([&] { h.join(); });
        EXPECT_TRUE(h.joinable());
    });
    set = true;
    h.join();
    EXPECT_EQ(error, std::errc::resource_deadlock_would_occur);
}

TEST_F(goroutine, runs_on_after_its_handle_was_dropped) {
    std::atomic<int> ended{0};
    for (int i = 0; i < 100; ++i) {
        (void)rt_.go([&] { ++ended; });
        rt_.go([&] { ++ended; }).detach();
        rt_.run([&] { (void)handoff::go([&] { ++ended; }); });
    }
    EXPECT_EVENTUALLY(ended == 300);
}

TEST_F(goroutine, runs_once) {
    const std::size_t n = scaled(20'000);
    std::vector<std::atomic<int>> runs(n);
    std::vector<join_handle<void>> handles;
    for (std::size_t i = 0; i < n; ++i) handles.push_back(rt_.go([&runs, i] { ++runs[i]; }));
    for (auto& h : handles) h.join();
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(runs[i].load(), 1) << i;
    EXPECT_EQ(rt_.stats().spawned, n);
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
}

// The same from a goroutine: more than a processor's own queue holds.
TEST_F(goroutine, runs_once_if_its_queue_overflows) {
    const std::size_t n = scaled(5'000, 1'000);
    for (const unsigned procs : {1u, 2u}) {
        runtime rt(no_retakes(procs));
        std::vector<std::atomic<int>> runs(n);
        rt.run([&] {
            std::vector<join_handle<void>> handles;
            for (std::size_t i = 0; i < n; ++i) handles.push_back(handoff::go([&runs, i] { ++runs[i]; }));
            for (auto& h : handles) h.join();
        });
        for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(runs[i].load(), 1) << i;
    }
}

// Rule 5: whoever waits, for whomever.
TEST_F(goroutine, foreign_threads_join) {
    std::vector<std::thread> threads;
    std::atomic<std::size_t> sum{0};
    const std::size_t each = scaled(1'000);
    for (std::size_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < each; ++i) {
                auto h = rt_.go([t, i] {
                    if (i % 3 == 0) this_goroutine::yield();
                    if (i % 50 == 0) this_goroutine::sleep_for(100us);
                    return t + i;
                });
                sum += h.join();
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(sum.load(), 6 * each + 4 * each * (each - 1) / 2);
}

TEST_F(goroutine, foreign_thread_sleeps_until_the_end) {
    std::atomic<bool> go_on{false};
    std::atomic<pid_t> tid{0};
    auto h = rt_.go([&] {
        while (!go_on) this_goroutine::sleep_for(1ms);
        return 3;
    });
    std::thread joiner([&] {
        tid = this_tid();
        EXPECT_EQ(h.join(), 3);
    });
    ASSERT_EVENTUALLY(tid.load() != 0 && asleep(tid.load()));
    go_on = true;
    joiner.join();
}

TEST_F(goroutine, joins_across_runtimes) {
    runtime other({.procs = 1});
    EXPECT_EQ(rt_.run([&] { return other.run([&] { return rt_.run([] { return 5; }); }); }), 5);
    EXPECT_THROW(rt_.run([&] { other.run([] { throw std::domain_error("there"); }); }), std::domain_error);
    rt_.run([&] { EXPECT_EQ(other.go([] { return this_goroutine::id(); }).join() != this_goroutine::id(), true); });
}

// The last thing that a runtime's goroutine did was to wait for one of another runtime: that one's thread must be done
// with the first runtime by the time it may be destroyed.
TEST_F(goroutine, joins_across_runtimes_that_end) {
    for (std::size_t i = 0; i < scaled(1'500); ++i) {
        runtime brief({.procs = 2});
        std::atomic<bool> go_on{false};
        auto h = rt_.go([&] {
            while (!go_on) std::this_thread::yield();
        });
        brief.run([&] {
            handoff::go([&] { go_on = true; });
            h.join();
        });
    }
}

// Rule 5: run() waits from where it is called.
TEST_F(goroutine, run_waits_on_any_thread_and_goroutine) {
    EXPECT_EQ(rt_.run([&] { return rt_.run([&] { return rt_.run([] { return 1; }); }); }), 1);
    std::thread foreign([&] { EXPECT_EQ(rt_.run(add, 2, 3), 5); });
    foreign.join();
    runtime single({.procs = 1});
    EXPECT_EQ(single.run([&] { return single.run([] { return 2; }); }), 2);   // it parks: there is one processor
}

TEST_F(goroutine, go_without_a_runtime) {
    const auto before = rt_.stats().spawned;
    rt_.run([&] {
        handoff::go([] {}).join();   // in the runtime of the goroutine that calls it
        EXPECT_EQ(rt_.stats().spawned, before + 2);
    });
    const auto before_default = handoff::default_runtime().stats().spawned;
    EXPECT_EQ(handoff::go([] { return 1; }).join(), 1);
    EXPECT_EQ(handoff::go(add, 1, 1).join(), 2);
    EXPECT_EQ(rt_.stats().spawned, before + 2);
    EXPECT_EQ(handoff::default_runtime().stats().spawned, before_default + 2);
    EXPECT_EQ(&handoff::default_runtime(), &handoff::default_runtime());
}

TEST_F(goroutine, stack_size_is_as_asked) {
    const auto uses = [](std::size_t bytes) {
        auto* block = static_cast<volatile char*>(__builtin_alloca(bytes));
        for (std::size_t i = 0; i < bytes; i += 1024) block[i] = 1;
        return block[0];
    };
    for (const std::size_t size : {std::size_t{64} << 10, std::size_t{1} << 20, std::size_t{16} << 20}) {
        const handoff::spawn_options o{.stack_size = size};
        EXPECT_EQ(rt_.go(o, uses, size - 40 * 1024).join(), 1);
    }
    runtime large({.procs = 1, .stack_size = 2 << 20});
    EXPECT_EQ(large.run(uses, (2u << 20) - 40 * 1024), 1);
    large.go(handoff::spawn_options{.stack_size = 100'000}, [] {}).join();   // rounded up
}

TEST_F(goroutine, bad_stack_size_is_an_error_that_names_it) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{16 * 1024 - 1}, SIZE_MAX}) {
        const auto spawn = [&] {
            try {
                rt_.go(handoff::spawn_options{.name = "bad", .stack_size = size}, [] {});
                ADD_FAILURE() << size;
            } catch (const std::invalid_argument& e) {
                EXPECT_NE(std::string(e.what()).find("stack_size=" + std::to_string(size)), std::string::npos);
            }
        };
        spawn();
        rt_.run(spawn);
    }
    const auto s = rt_.stats();
    EXPECT_EQ(s.spawned, 3u);   // those that called spawn()
    rt_.run([] {});
}

// A handle may outlive its runtime.
TEST(join_handle_after_runtime, gives_result_exception_and_id) {
    using tracked = counted<struct orphan_tag>;
    join_handle<int> result, failed;
    join_handle<tracked> dropped;
    handoff::goroutine_id id;
    {
        runtime rt({.procs = 2});
        result = rt.go([] { return 1; });
        failed = rt.go([]() -> int { throw std::runtime_error("kept"); });
        dropped = rt.go([] { return tracked{}; });
        id = result.id();
    }
    EXPECT_TRUE(result.done());
    EXPECT_TRUE(failed.done());
    EXPECT_TRUE(result.joinable());
    EXPECT_EQ(result.id(), id);
    runtime other({.procs = 1});
    EXPECT_EQ(other.run([&] { return result.join(); }), 1);
    EXPECT_THROW(failed.join(), std::runtime_error);
    EXPECT_EQ(tracked::alive.load(), 1);
    dropped.detach();
    EXPECT_EQ(tracked::alive.load(), 0);
}

// Handles dropped by another thread while their runtime ends: the one of both that is last frees what is left.
TEST(join_handle_after_runtime, is_dropped_while_the_runtime_ends) {
    for (std::size_t i = 0; i < scaled(500); ++i) {
        std::vector<join_handle<std::string>> handles;
        auto rt = std::make_unique<runtime>(handoff::options{.procs = 2});
        for (int k = 0; k < 20; ++k) handles.push_back(rt->go([] { return std::string(100, 'x'); }));
        handles.push_back(rt->go(handoff::spawn_options{.name = "named"}, [] { return std::string(); }));
        rt->run([] {});
        std::atomic<bool> go_on{false};
        std::thread dropper([&] {
            while (!go_on) std::this_thread::yield();
            handles.clear();
        });
        go_on = true;
        if (i % 2 == 0) std::this_thread::yield();
        rt.reset();
        dropper.join();
    }
}

// ---- Exceptions that nobody joins ----------------------------------------------------------------------------------

struct unhandled {
    std::mutex lock;
    std::vector<std::pair<handoff::goroutine_name, std::string>> seen;
    handoff::options options() {
        handoff::options o;
        o.procs = 2;
        o.on_unhandled_exception = [this](const handoff::goroutine_name& who, std::exception_ptr e) {
            const std::lock_guard hold(lock);
            try {
                std::rethrow_exception(std::move(e));
            } catch (const std::exception& x) {
                seen.emplace_back(who, x.what());
            } catch (...) {
                seen.emplace_back(who, "?");
            }
        };
        return o;
    }
    std::size_t size() {
        const std::lock_guard hold(lock);
        return seen.size();
    }
};

TEST(unhandled_exception, goes_to_the_handler_with_the_name) {
    unhandled u;
    runtime rt(u.options());
    const unsigned line = __LINE__ + 1;
    auto h = rt.go(handoff::spawn_options{.name = "worker"}, [] { throw std::runtime_error("lost"); });
    const auto id = h.id();
    h.detach();
    ASSERT_EVENTUALLY(u.size() == 1);
    EXPECT_EQ(u.seen[0].second, "lost");
    EXPECT_EQ(u.seen[0].first.id, id);
    EXPECT_EQ(u.seen[0].first.name, "worker");
    EXPECT_EQ(u.seen[0].first.created, "goroutine_test.cpp:" + std::to_string(line));
    EXPECT_EQ(u.seen[0].first.describe(), "goroutine " + std::to_string(id) + " \"worker\" (goroutine_test.cpp:" +
                                              std::to_string(line) + ")");
    rt.go([] { throw 1; }).detach();
    ASSERT_EVENTUALLY(u.size() == 2);
    EXPECT_EQ(u.seen[1].second, "?");
    EXPECT_EQ(u.seen[1].first.name, "");
}

TEST(unhandled_exception, of_a_handle_that_is_dropped_after_the_end) {
    unhandled u;
    runtime rt(u.options());
    {
        auto h = rt.go([] { throw std::runtime_error("late"); });
        ASSERT_EVENTUALLY(h.done());
        EXPECT_EQ(u.size(), 0u);
    }
    EXPECT_EQ(u.size(), 1u);
    auto joined = rt.go([] { throw std::runtime_error("seen"); });
    EXPECT_THROW(joined.join(), std::runtime_error);
    rt.run([] {});
    EXPECT_EQ(u.size(), 1u);
}

TEST(unhandled_exception, of_a_handle_that_is_dropped_after_the_runtime) {
    unhandled u;
    join_handle<void> h;
    {
        runtime rt(u.options());
        h = rt.go(handoff::spawn_options{.name = "orphan"}, [] { throw std::runtime_error("very late"); });
    }
    h.detach();
    ASSERT_EQ(u.size(), 1u);
    EXPECT_EQ(u.seen[0].second, "very late");
    EXPECT_EQ(u.seen[0].first.name, "orphan");
}

TEST(unhandled_exception, default_is_a_message_with_the_name_and_terminate) {
    const auto dies = [](auto body) {
        std::set_terminate([] { std::_Exit(77); });
        runtime rt({.procs = 1});
        rt.go(handoff::spawn_options{.name = "doomed", .site = {"some/dir/file.cc", 31}}, body).detach();
        rt.run([] {});
        for (;;) std::this_thread::sleep_for(1s);
    };
    EXPECT_EXIT(dies([] { throw std::runtime_error("why"); }), testing::ExitedWithCode(77),
                "handoff: goroutine [0-9]+ \"doomed\" \\(file\\.cc:31\\).*why");
    EXPECT_EXIT(dies([] { throw 5; }), testing::ExitedWithCode(77),
                "handoff: goroutine [0-9]+ \"doomed\" \\(file\\.cc:31\\).*no std::exception");
}

TEST(unhandled_exception, handler_that_throws_terminates) {
    const auto dies = [] {
        std::set_terminate([] { std::_Exit(77); });
        handoff::options o;
        o.procs = 1;
        o.on_unhandled_exception = [](const auto&, auto) { throw 1; };
        runtime rt(o);
        rt.go([] { throw 2; }).detach();
        for (;;) std::this_thread::sleep_for(1s);
    };
    EXPECT_EXIT(dies(), testing::ExitedWithCode(77), "");
}

// Who was started from outside, or came back from a call, waits in the queue of all.
TEST(yield, lets_one_of_the_global_queue_on) {
    handoff::runtime rt(no_retakes(1));
    rt.run([&] {
        for (int i = 0; i < 200; ++i) {   // at any place in the 61 picks between two that look there anyway
            std::atomic<bool> ran{false};
            handoff::join_handle<void> h;
            std::thread([&] { h = rt.go([&] { ran = true; }); }).join();
            handoff::this_goroutine::yield();
            ASSERT_TRUE(ran.load()) << i;
            h.join();
        }
    });
}

}  // namespace
