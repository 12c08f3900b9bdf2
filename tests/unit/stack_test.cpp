// Stacks. README, promise 8: a stack that overflows faults, and memory that can't be had is reported.
#include "context/stack.hpp"
#include "testing.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <sys/mman.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using handoff::context::guard_size;
using handoff::context::page_size;
using handoff::context::stack;
using handoff::context::stack_pool;
using namespace handoff_test;

namespace {

constexpr std::size_t kib = 1024, mib = 1024 * kib;

unsigned length(const stack* list) {
    unsigned n = 0;
    for (; list; list = list->next) ++n;
    return n;
}

bool is_resident(char* page) {
    unsigned char there = 0;
    return ::mincore(page, page_size(), &there) == 0 && (there & 1) != 0;
}

// Makes every new mapping fail for as long as it lives.
class no_more_memory {
public:
    explicit no_more_memory(rlim_t but_for = 0) {
        ::getrlimit(RLIMIT_AS, &before_);
        rlimit now = before_;
        now.rlim_cur = but_for == 0 ? 1 : mapped() + but_for;
        ::setrlimit(RLIMIT_AS, &now);
    }
    ~no_more_memory() { ::setrlimit(RLIMIT_AS, &before_); }

private:
    static rlim_t mapped() {
        std::ifstream statm("/proc/self/statm");
        rlim_t pages = 0;
        statm >> pages;
        return pages * page_size();
    }
    rlimit before_{};
};

TEST(stack_pool, sizes_are_rounded_up_to_pages) {
    stack_pool pool(100 * kib + 1);
    EXPECT_EQ(pool.default_size(), 100 * kib + page_size());
    stack* s = pool.take(1);
    ASSERT_NE(s, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(s->lo) % page_size(), 0u);
    EXPECT_EQ(s->asked_size(), pool.default_size());
    EXPECT_EQ(s->pages * page_size(), pool.default_size() + guard_size());
    EXPECT_EQ(s->usable_lo(), s->lo + guard_size());
    EXPECT_EQ(s->usable_size(), pool.default_size());
    EXPECT_EQ(s->idle.sp, nullptr);
    pool.give(s);
}

// Else the goroutines that take turns would compete for a few lines of each cache.
TEST(stack_pool, tops_lie_on_many_lines_and_pages) {
    stack_pool pool(256 * kib);
    stack* const all = pool.take(32);
    std::set<std::uintptr_t> lines, pages;
    unsigned count = 0;
    for (stack* s = all; s; s = s->next, ++count) {
        const auto top = reinterpret_cast<std::uintptr_t>(s->usable_lo() + s->usable_size());
        lines.insert((top - 1) / 64 % 64);
        pages.insert((top - 1) / page_size() % 32);
    }
    ASSERT_EQ(count, 32u);
    EXPECT_EQ(lines.size(), 16u);
    EXPECT_EQ(pages.size(), 32u);
    pool.give(all);
}

TEST(stack_pool, stacks_are_disjoint_and_writable) {
    stack_pool pool(16 * kib);
    std::set<char*> lows;
    stack* all = nullptr;
    unsigned n = 0;
    while (n < 300) {
        stack* some = pool.take(7);
        ASSERT_NE(some, nullptr);
        ASSERT_LE(length(some), 7u);
        while (some) {
            stack* s = some;
            some = s->next;
            std::memset(s->usable_lo(), 0x5A, s->usable_size());
            EXPECT_TRUE(lows.insert(s->lo).second);
            s->next = all;
            all = s;
            ++n;
        }
    }
    EXPECT_EQ(pool.mapped(), n);
    for (auto it = lows.begin(), next = std::next(it); next != lows.end(); ++it, ++next)
        ASSERT_GE(*next - *it, static_cast<std::ptrdiff_t>(16 * kib + guard_size()));
    pool.give(all);
    EXPECT_EQ(length(pool.take(n)), n);   // all of them come back
    EXPECT_EQ(pool.mapped(), n);
}

TEST(stack_pool, the_stack_given_last_is_taken_first) {
    stack_pool pool(16 * kib);
    stack* a = pool.take(1);
    stack* b = pool.take(1);
    a->next = b->next = nullptr;
    pool.give(a);
    pool.give(b);
    EXPECT_EQ(pool.take(1), b);
    EXPECT_EQ(pool.take(1), a);
}

TEST(stack_pool, trim_gives_memory_back_and_keeps_the_guard) {
    stack_pool pool(64 * kib);
    EXPECT_EQ(pool.trim(10), 0u);
    stack* list = pool.take(3);
    ASSERT_EQ(length(list), 3u);
    std::set<stack*> known;
    for (stack* s = list; s; s = s->next) {
        std::memset(s->usable_lo(), 1, s->usable_size());
        EXPECT_TRUE(is_resident(s->usable_lo()));
        s->idle.sp = s->usable_lo();   // as if a goroutine had run there
        known.insert(s);
    }
    pool.give(list);
    EXPECT_EQ(pool.trim(2), 2u);
    EXPECT_EQ(pool.trim(10), 1u);
    EXPECT_EQ(pool.trim(10), 0u);
    for (stack* s : known) {
        EXPECT_FALSE(is_resident(s->usable_lo()));
        EXPECT_EQ(s->idle.sp, nullptr) << "what was parked there is gone";
    }
    list = pool.take(3);
    ASSERT_EQ(length(list), 3u);
    for (stack* s = list; s; s = s->next) {
        EXPECT_EQ(known.count(s), 1u);
        EXPECT_EQ(*s->usable_lo(), 0);
    }
    EXPECT_EXIT(
        {
            ::signal(SIGSEGV, SIG_DFL);
            *static_cast<volatile char*>(list->lo) = 1;
        },
        testing::KilledBySignal(SIGSEGV), "");
    pool.give(list);
}

TEST(stack_pool, warm_stacks_are_taken_before_trimmed_ones) {
    stack_pool pool(64 * kib);
    stack* list = pool.take(2);
    stack* cold = list;
    stack* warm = list->next;
    cold->next = warm->next = nullptr;
    pool.give(cold);
    ASSERT_EQ(pool.trim(1), 1u);
    pool.give(warm);
    EXPECT_EQ(pool.take(1), warm);
    EXPECT_EQ(pool.take(1), cold);
}

TEST(stack_pool, sized_stacks_have_mappings_of_their_own) {
    stack_pool pool(64 * kib);
    const std::size_t before = mapping_count();
    stack* s = pool.take_sized(1 * mib + 1);
    ASSERT_NE(s, nullptr);
    EXPECT_TRUE(s->own_mapping);
    EXPECT_EQ(s->asked_size(), 1 * mib + page_size());
    std::memset(s->usable_lo(), 0x5A, s->usable_size());
    unsigned char there = 0;
    char* const lo = s->lo;
    EXPECT_EQ(::mincore(lo, page_size(), &there), 0);
    pool.give_sized(s);
    EXPECT_NE(::mincore(lo, page_size(), &there), 0) << "still mapped";
    EXPECT_LE(mapping_count(), before + 2);   // a sanitizer's or the heap's own
}

TEST(stack_pool, leaves_no_mapping_behind) {
    char* lo[2];
    {
        stack_pool pool(64 * kib);
        stack* list = pool.take(2);
        ASSERT_EQ(length(list), 2u);
        lo[0] = list->lo;
        lo[1] = list->next->lo;
        pool.give(list);
    }
    unsigned char there = 0;
    for (char* each : lo) EXPECT_NE(::mincore(each, page_size(), &there), 0) << "still mapped";
}

TEST(stack_pool, is_safe_to_use_from_many_threads) {
    stack_pool pool(16 * kib);
    std::vector<std::thread> threads;
    std::atomic<int> shared{0};
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < scaled(5'000); ++i) {
                stack* list = pool.take(static_cast<unsigned>(1 + i % 5));
                ASSERT_NE(list, nullptr);
                for (stack* s = list; s; s = s->next) {
                    auto* mark = reinterpret_cast<int*>(s->usable_lo());
                    *mark = t;
                    std::atomic_signal_fence(std::memory_order_seq_cst);
                    if (*mark != t) ++shared;
                }
                pool.give(list);
                if (i % 50 == 0) pool.trim(3);
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(shared.load(), 0);
}

TEST(stack_pool, guard_faults) {
    EXPECT_EXIT(
        {
            ::signal(SIGSEGV, SIG_DFL);
            stack_pool pool(64 * kib);
            stack* s = pool.take(1);
            *static_cast<volatile char*>(s->usable_lo()) = 1;   // does not
            *static_cast<volatile char*>(s->usable_lo() - 1) = 1;
        },
        testing::KilledBySignal(SIGSEGV), "");
    EXPECT_EXIT(
        {
            ::signal(SIGSEGV, SIG_DFL);
            stack_pool pool(64 * kib);
            stack* s = pool.take_sized(1 * mib);
            *static_cast<volatile char*>(s->usable_lo()) = 1;
            *static_cast<volatile char*>(s->lo) = 1;
        },
        testing::KilledBySignal(SIGSEGV), "");
}

// All of it, of each size of stack: what steps over a page is caught.
bool faults(volatile char* at) {
    int ends[2];
    if (::pipe(ends) != 0) return false;
    const bool refused = ::write(ends[1], const_cast<char*>(at), 1) < 0 && errno == EFAULT;
    ::close(ends[0]);
    ::close(ends[1]);
    return refused;
}

TEST(stack_pool, guards_are_as_long_as_large_frames) {
    EXPECT_GE(guard_size(), 64 * kib);
    stack_pool pool(64 * kib);
    stack* of_all_kinds[] = {pool.take(1), pool.take(1), pool.take_sized(16 * kib), pool.take_sized(1 * mib)};
    for (stack* s : of_all_kinds) {
        ASSERT_NE(s, nullptr);
        EXPECT_EQ(s->usable_lo() - s->lo, static_cast<std::ptrdiff_t>(guard_size()));
        for (char* at = s->lo; at < s->usable_lo(); at += page_size()) {
            EXPECT_TRUE(faults(at)) << "page " << (at - s->lo) / static_cast<std::ptrdiff_t>(page_size());
            EXPECT_TRUE(s->guards(at));
        }
        EXPECT_FALSE(faults(s->usable_lo()));
        EXPECT_FALSE(s->guards(s->usable_lo()));
        EXPECT_FALSE(s->guards(s->lo - 1));
    }
    pool.give_sized(of_all_kinds[2]);
    pool.give_sized(of_all_kinds[3]);
}

// Address space, and entries of page tables that are there for the stacks' own pages.
TEST(stack_pool, guards_cost_no_memory_and_no_mapping) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer maps memory of its own";
    stack_pool pool(256 * kib);
    pool.give(pool.take(1));   // the slab
    const std::size_t before = mapping_count();
    stack* list = pool.take(100);
    EXPECT_LE(mapping_count(), before + 202) << "two for each guard, where it takes any";
    for (stack* s = list; s; s = s->next)
        for (char* at = s->lo; at < s->usable_lo(); at += page_size()) ASSERT_FALSE(is_resident(at));
    pool.give(list);
}

TEST(stack_pool, counts_stacks_without_a_guard) {
    stack_pool pool(64 * kib);
    pool.give(pool.take(4));
    EXPECT_EQ(pool.unguarded(), 0u);
}

bool is_null_while_memory_is_short() {
    stack_pool pool(64 * kib);
    {
        const no_more_memory limit;
        if (pool.take(1) || pool.take_sized(1 * mib)) return false;
    }
    stack* s = pool.take(1);
    stack* sized = pool.take_sized(1 * mib);
    if (!s || !sized) return false;
    pool.give(s);
    pool.give_sized(sized);
    return true;
}

bool fits_into_less() {
    stack_pool pool(64 * kib);
    const no_more_memory limit(20 * mib);   // a full slab would be 64 MiB
    return length(pool.take(64)) == 64;
}

bool goroutine_waits_for_memory() {
    handoff::runtime rt({.procs = 1});
    rt.run([] {});
    const handoff::spawn_options large{.stack_size = 8 * mib};
    std::atomic<bool> ran{false};
    handoff::join_handle<void> h;
    {
        const no_more_memory limit;
        h = rt.go(large, [&] { ran = true; });
        if (!eventually([&] { return rt.stats().stack_failures >= 2; })) return false;   // it tries again
        if (ran || h.done()) return false;
        rt.run([] {});   // others, whose stacks are there, go on
    }
    h.join();
    return ran;
}

// Rule 8: a failed mmap.
TEST(stack_pool, says_so_when_memory_is_short) { EXPECT_IN_CHILD(is_null_while_memory_is_short(), ""); }

TEST(stack_pool, makes_do_with_a_smaller_mapping) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer maps memory of its own";
    EXPECT_IN_CHILD(fits_into_less(), "");
}

// Rule 8, the whole way: a goroutine whose stack can't be mapped waits for one, and the counters say so.
TEST(stack_pool, goroutines_wait_for_memory) {
    if (with_sanitizer) GTEST_SKIP() << "the sanitizer maps memory of its own";
    EXPECT_IN_CHILD(goroutine_waits_for_memory(), "no memory for a goroutine's stack");
}

}  // namespace
