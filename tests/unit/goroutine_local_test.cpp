// goroutine_local: a value for each goroutine, wherever it runs, and its end.
#include "locks.hpp"

#include <cstdlib>
#include <optional>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

using handoff::channel;
using handoff::goroutine_local;
using handoff::runtime;
using namespace handoff_test;
namespace this_goroutine = handoff::this_goroutine;

namespace {

class goroutine_locals : public with_procs {};
INSTANTIATE_WITH_PROCS(goroutine_locals);

static_assert(!std::is_copy_constructible_v<goroutine_local<int>> && !std::is_move_constructible_v<goroutine_local<int>>);
static_assert(!std::is_default_constructible_v<goroutine_local<std::reference_wrapper<int>>>);

TEST_P(goroutine_locals, belong_to_one_goroutine_each) {
    static goroutine_local<int> number;
    std::vector<handoff::join_handle<int>> all;
    for (int i = 0; i < 200; ++i)
        all.push_back((i % 2 == 0 ? rt_ : other_).go([i] {
            EXPECT_FALSE(number.has());
            EXPECT_EQ(number.get(), 0);
            EXPECT_TRUE(number.has());
            *number = i;
            for (int k = 0; k < 20; ++k) {
                this_goroutine::yield();
                EXPECT_EQ(*number, i + k);
                ++number.get();
            }
            // A goroutine that is started here has its own.
            EXPECT_FALSE(handoff::go([] { return number.has(); }).join());
            return *number;
        }));
    for (int i = 0; i < 200; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].join(), i + 20);
}

TEST_P(goroutine_locals, are_several) {
    goroutine_local<int> a;
    goroutine_local<std::string> b([] { return std::string("begin"); });
    goroutine_local<std::vector<int>> c;
    on_both(rt_, [&] {
        a.get() = 1;
        EXPECT_EQ(*b, "begin");
        c->push_back(3);
        b->append("ning");
        EXPECT_EQ(*a, 1);
        EXPECT_EQ(b.get(), "beginning");
        EXPECT_EQ(c->size(), 1u);
        a.reset();
        b.reset();
        c.reset();
    });
}

// The next goroutine on the same stack, and in the same G, starts anew.
TEST_P(goroutine_locals, are_not_left_to_the_next_goroutine) {
    goroutine_local<int> number([] { return 5; });
    for (int i = 0; i < 100; ++i)
        rt_.run([&] {
            ASSERT_FALSE(number.has());
            EXPECT_EQ(*number, 5);
            *number = 6;
        });
}

TEST(goroutine_local_threads, values_go_where_the_goroutine_goes) {
    goroutine_local<int> number;
    runtime rt(no_retakes(1));
    rt.run([&] {
        int* const where = &number.get();
        std::set<pid_t> tids{this_tid()};
        for (int i = 0; i < 20; ++i) {
            ++*number;
            EXPECT_TRUE(migrate(rt));
            tids.insert(this_tid());
            EXPECT_EQ(*number, i + 1);
            EXPECT_EQ(&number.get(), where);
        }
        EXPECT_GT(tids.size(), 1u);
    });
}

TEST_P(goroutine_locals, start_as_their_function_says) {
    std::atomic<int> made{0};
    goroutine_local<int> number([&] { return ++made; });
    EXPECT_EQ(made, 0);
    rt_.run([&] {
        EXPECT_FALSE(number.has());
        EXPECT_EQ(made, 0);
        EXPECT_EQ(*number, 1);
        EXPECT_EQ(*number, 1);
        EXPECT_EQ(handoff::go([&] { return *number; }).join(), 2);
    });
    EXPECT_EQ(made, 2);
    // It runs on the goroutine that needs it, and may wait there, and use others.
    goroutine_local<handoff::goroutine_id> id([] {
        this_goroutine::sleep_for(1ms);
        return this_goroutine::id();
    });
    goroutine_local<handoff::goroutine_id> same([&] { return *id; });
    rt_.run([&] {
        EXPECT_EQ(*same, this_goroutine::id());
        EXPECT_TRUE(id.has());
    });
}

TEST_P(goroutine_locals, are_not_there_if_their_function_throws) {
    int attempts = 0;
    goroutine_local<std::string> text([&]() -> std::string {
        if (++attempts < 3) throw std::runtime_error("not yet");
        return "made";
    });
    on_both(rt_, [&] {
        attempts = 0;
        for (int i = 0; i < 2; ++i) {
            EXPECT_EQ(thrown_by<std::runtime_error>([&] { text.get(); }), "not yet");
            EXPECT_FALSE(text.has());
        }
        EXPECT_EQ(*text, "made");
        text.reset();
    });
}

TEST_P(goroutine_locals, may_only_move) {
    goroutine_local<std::unique_ptr<int>> p([] { return std::make_unique<int>(3); });
    struct stays {   // not even that
        explicit stays(int i) : n(i) {}
        stays(const stays&) = delete;
        int n;
    };
    goroutine_local<stays> s([] { return stays(4); });
    on_both(rt_, [&] {
        EXPECT_EQ(**p, 3);
        EXPECT_EQ(s->n, 4);
        p.reset();
        s.reset();
    });
}

TEST_P(goroutine_locals, are_reset) {
    struct tag;
    using value = counted<tag>;
    goroutine_local<value> v;
    goroutine_local<int> other;
    on_both(rt_, [&] {
        v.reset();   // nothing there
        EXPECT_FALSE(v.has());
        *other = 9;
        v.get();
        EXPECT_EQ(value::alive, 1);
        v.reset();
        EXPECT_EQ(value::alive, 0);
        EXPECT_FALSE(v.has());
        v.get();
        EXPECT_EQ(value::alive, 1);
        EXPECT_EQ(*other, 9);
        v.reset();
        v.reset();
        EXPECT_EQ(value::alive, 0);
        other.reset();
        EXPECT_EQ(*other, 0);
        other.reset();
    });
}

// ---- Their end ---------------------------------------------------------------------------------------------------------

// Writes its number to a list as it dies.
struct noted {
    int n;
    std::vector<int>* list;
    noted(int number, std::vector<int>* to) : n(number), list(to) {}
    noted(const noted&) = delete;
    ~noted() { list->push_back(n); }
};

TEST_P(goroutine_locals, are_destroyed_before_join_returns_the_newest_first) {
    for (const bool throws : {false, true}) {
        std::vector<int> list;   // plain: join orders it
        goroutine_local<noted> a([&] { return noted(1, &list); }), b([&] { return noted(2, &list); }), c([&] { return noted(3, &list); });
        auto h = rt_.go([&] {
            b.get();
            c.get();
            a.get();
            b.reset();   // out of turn
            b.get();
            this_goroutine::yield();
            EXPECT_EQ(list, std::vector<int>{2});
            if (throws) throw std::logic_error("ends");
        });
        if (throws) EXPECT_THROW(h.join(), std::logic_error);
        else h.join();
        EXPECT_EQ(list, (std::vector<int>{2, 2, 1, 3}));
    }
}

TEST_P(goroutine_locals, of_detached_goroutines_are_destroyed) {
    struct tag;
    using value = counted<tag>;
    goroutine_local<value> v;
    const int before = value::made;
    for (int i = 0; i < 100; ++i) rt_.go([&] { v.get(); }).detach();
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_EQ(value::alive, 0);
    EXPECT_EQ(value::made - before, 100);
}

// On the goroutine that ends, which may wait for that.
TEST_P(goroutine_locals, have_destructors_that_may_wait) {
    struct waiting_value {
        channel<int> ch{0};
        std::atomic<handoff::goroutine_id>* id = nullptr;
        waiting_value() = default;
        waiting_value(waiting_value&&) = default;
        ~waiting_value() {
            if (!id) return;
            ch.recv();
            this_goroutine::sleep_for(1ms);
            *id = this_goroutine::id();
        }
    };
    goroutine_local<waiting_value> v;
    std::atomic<handoff::goroutine_id> id{0};
    channel<int> ch(0);
    auto h = rt_.go([&] {
        v->ch = ch;
        v->id = &id;
    });
    const auto expected = h.id();
    EXPECT_EVENTUALLY(waiting(rt_, "receive") == 1);
    EXPECT_FALSE(h.done());
    EXPECT_FALSE(h.wait_for(1ms));
    ch.send(1);
    h.join();
    EXPECT_EQ(id, expected);
}

// Destructors may use other variables, whose values are destroyed then.
TEST_P(goroutine_locals, that_destructors_make_are_destroyed) {
    struct tag;
    using value = counted<tag>;
    static goroutine_local<value>* late;
    static std::atomic<int> destructors{0};
    struct maker {
        bool real = true;
        maker() = default;
        maker(maker&& o) noexcept : real(std::exchange(o.real, false)) {}
        ~maker() {
            if (!real) return;
            late->get();
            EXPECT_TRUE(late->has());
            ++destructors;
        }
    };
    goroutine_local<value> l;
    late = &l;
    goroutine_local<maker> m;
    destructors = 0;
    rt_.run([&] { m.get(); });
    EXPECT_EQ(destructors, 1);
    EXPECT_EQ(value::alive, 0);
    std::thread([&] { m.get(); }).join();
    EXPECT_EQ(destructors, 2);
    EXPECT_EQ(value::alive, 0);
}

// As with thread_local: what is older is still there.
TEST_P(goroutine_locals, that_are_older_are_seen_by_destructors) {
    static goroutine_local<int>* older;
    static std::atomic<int> seen{0};
    struct user {
        bool real = true;
        user() = default;
        user(user&& o) noexcept : real(std::exchange(o.real, false)) {}
        ~user() {
            if (real) seen = older->get();
        }
    };
    goroutine_local<int> o;
    older = &o;
    goroutine_local<user> u;
    seen = 0;
    rt_.run([&] {
        *o = 7;
        u.get();
    });
    EXPECT_EQ(seen, 7);
}

TEST_P(goroutine_locals, outlive_their_variable_if_need_be) {
    struct tag;
    using value = counted<tag>;
    channel<int> go_on(0);
    std::optional<goroutine_local<value>> v(std::in_place);
    auto h = rt_.go([&, go_on]() mutable {
        v->get();
        go_on.send(1);
        go_on.recv();
    });
    go_on.recv();
    v.reset();
    EXPECT_EQ(value::alive, 1);
    v.emplace();   // another one, perhaps at the same place
    rt_.run([&] { EXPECT_FALSE(v->has()); });
    go_on.send(1);
    h.join();
    EXPECT_EQ(value::alive, 0);
}

TEST_P(goroutine_locals, of_threads_end_with_the_thread) {
    struct tag;
    using value = counted<tag>;
    goroutine_local<value> v;
    goroutine_local<int> number;
    *number = 1;
    std::thread([&] {
        EXPECT_FALSE(number.has());
        *number = 2;
        v.get();
        EXPECT_EQ(value::alive, 1);
        rt_.run([&] { EXPECT_FALSE(v.has()); });
        EXPECT_TRUE(v.has());
        EXPECT_EQ(*number, 2);
    }).join();
    EXPECT_EQ(value::alive, 0);
    EXPECT_EQ(*number, 1);
    number.reset();
}

// ---- What ends later still -----------------------------------------------------------------------------------------

struct late_tag;
using late_value = counted<late_tag>;
goroutine_local<late_value> late;

struct uses_it_at_the_end {
    bool armed = false;
    ~uses_it_at_the_end() {
        if (armed) late.get();
    }
};
thread_local uses_it_at_the_end last_line;
HANDOFF_OPAQUE void arm() { last_line.armed = true; }   // on the thread that it runs on now

TEST_P(goroutine_locals, of_threads_that_thread_locals_use_are_destroyed) {
    for (const bool used_before : {false, true}) {
        const int made = late_value::made;
        for (int i = 0; i < 20; ++i)
            std::thread([&] {
                if (used_before) late.get();
                arm();
                if (!used_before) late.get();
            }).join();
        // Which of the two ends first goes by which was used first.
        EXPECT_EQ(late_value::made - made, used_before ? 20 : 40);
        EXPECT_EQ(late_value::alive, 0);
    }
    // First used there.
    std::thread(arm).join();
    EXPECT_EQ(late_value::alive, 0);
}

TEST_P(goroutine_locals, of_the_runtimes_threads_are_destroyed) {
    const int made = late_value::made;
    {
        handoff::options o;
        o.procs = GetParam();
        o.idle_thread_timeout = 1ms;
        runtime rt(o);
        rt.run([] {
            std::vector<handoff::join_handle<void>> all;
            for (int i = 0; i < 20; ++i)
                all.push_back(handoff::go([] {
                    late.get();
                    arm();
                    handoff::blocking_call(handoff::handoff_policy::immediate, [] { arm(); std::this_thread::sleep_for(1ms); });
                }));
            for (auto& h : all) h.join();
        });
    }
    EXPECT_GT(late_value::made - made, 20);
    EXPECT_EQ(late_value::alive, 0);
}

// In several rounds of them, also by one that comes after ours in each.
TEST_P(goroutine_locals, that_pthread_keys_use_are_destroyed) {
    static std::atomic<int> uses{0};
    static pthread_key_t keys[2];
    static const auto use = [](int which, void* rounds) {
        late.get();
        ++uses;
        const auto left = reinterpret_cast<std::uintptr_t>(rounds) - 1;
        if (left != 0) ::pthread_setspecific(keys[which], reinterpret_cast<void*>(left));
    };
    ASSERT_EQ(::pthread_key_create(&keys[0], [](void* rounds) { use(0, rounds); }), 0);
    ASSERT_EQ(::pthread_key_create(&keys[1], [](void* rounds) { use(1, rounds); }), 0);
    for (const bool used_before : {false, true})
        for (const std::uintptr_t rounds : {1, 2, 3}) {
            if (with_asan && !used_before) continue;   // 32 bytes of the C library's are left: goroutine_local.cpp
            uses = 0;
            std::thread([&] {
                if (used_before) late.get();
                for (const pthread_key_t key : keys) ::pthread_setspecific(key, reinterpret_cast<void*>(rounds));
            }).join();
            EXPECT_EQ(uses, 2 * static_cast<int>(rounds));
            EXPECT_EQ(late_value::alive, 0);
        }
    for (const pthread_key_t key : keys) ::pthread_key_delete(key);
}

// The main thread leaves by exit(): its thread_locals go first, then what is static.
[[noreturn]] void exit_with_late_uses() {
    std::atexit([] {   // called last
        if (late_value::alive != 0 || late_value::made == 0) std::_Exit(1);
    });
    std::atexit([] { late.get(); });
    arm();
    late.get();
    std::exit(0);
}

TEST(goroutine_locals_at_exit, of_the_main_thread_are_destroyed) {
    EXPECT_EXIT(exit_with_late_uses(), testing::ExitedWithCode(0), "");
}

// What a goroutine returned is destroyed after its values, if nobody joins it.
TEST_P(goroutine_locals, that_a_dropped_result_uses_are_destroyed) {
    struct result {
        result() = default;
        result(result&& other) noexcept : armed(std::exchange(other.armed, false)) {}
        ~result() {
            if (armed) late.get();
        }
        bool armed = true;
    };
    for (int i = 0; i < 100; ++i) {
        rt_.run([] { handoff::go([] { return result(); }).detach(); });
        rt_.run([] { EXPECT_FALSE(late.has()); });   // perhaps in the same G
    }
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_EQ(late_value::alive, 0);
}

// A goroutine does not see what its thread had, nor leave it something.
TEST_P(goroutine_locals, of_goroutines_are_not_those_of_their_thread) {
    goroutine_local<int> number;
    rt_.run([&] {
        handoff::lock_os_thread();
        *number = 1;
        EXPECT_FALSE(handoff::go([&] { return number.has(); }).join());
        EXPECT_EQ(*number, 1);
        handoff::unlock_os_thread();
        EXPECT_EQ(*number, 1);
    });
}

TEST_P(goroutine_locals, of_thousands_leak_nothing) {
    struct tag;
    using value = counted<tag>;
    goroutine_local<value> v;
    goroutine_local<std::vector<int>> w([] { return std::vector<int>(100, 1); });
    const std::size_t n = scaled(20'000);
    handoff::wait_group all;
    for (std::size_t i = 0; i < n; ++i) {
        all.add();
        rt_.go([&, i] {
            v.get();
            if (i % 2 == 0) w->push_back(1);
            this_goroutine::yield();
            if (i % 5 == 0) v.reset();
            EXPECT_EQ(v.has(), i % 5 != 0);
            all.done();
        }).detach();
    }
    all.wait();
    EXPECT_EVENTUALLY(rt_.stats().goroutines == 0);
    EXPECT_EQ(value::alive, 0);
}

}  // namespace
