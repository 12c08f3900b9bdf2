// Which reads keep the processor, and which hand it off; many goroutines that read; and that simulations don't depend on what
// is in the page cache.
#include "files.hpp"

#include <algorithm>
#include <sys/mman.h>
#include <sys/uio.h>
#include <utility>

using handoff::file;
using handoff::open_mode;
using namespace handoff_test;

namespace {

constexpr std::size_t block = 4096;
constexpr open_mode both = open_mode::read | open_mode::write | open_mode::create;

bool is_cached(const file& f, std::size_t offset) {
    char b;
    const iovec v{&b, 1};
    return ::preadv2(f.native_handle(), &v, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

// resident counts the file's pages in the cache. A look at them by a read would start to read ahead.
std::size_t resident(const file& f) {
    const std::size_t size = f.size();
    void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, f.native_handle(), 0);
    if (at == MAP_FAILED) return size;
    std::vector<unsigned char> pages((size + block - 1) / block);
    const bool known = ::mincore(at, size, pages.data()) == 0;
    ::munmap(at, size);
    if (!known) return size;
    return static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; }));
}

// evict drops the file from the page cache; false if it stays there, or reads don't tell.
bool evict(file& f) {
    char b;
    (void)f.read_at(0, {&b, 1});
    if (!is_cached(f, 0)) return false;
    f.sync();
    for (int i = 0; i < 100; ++i) {
        if (::posix_fadvise(f.native_handle(), 0, 0, POSIX_FADV_DONTNEED) != 0) return false;
        if (resident(f) == 0) return true;
        ::usleep(1000);   // pages that a write-back still holds stay: again, then
    }
    return false;
}
#define SKIP_UNLESS_EVICTED(f) \
    if (!evict(f)) GTEST_SKIP() << f.name() << ": this file system keeps it in memory"

// Nobody takes anything from the goroutines: what is counted is theirs.
class file_waits : public testing::Test {
protected:
    file made(std::size_t size) {
        file f = file::open(dir_.path() + "/a", both | open_mode::truncate);
        f.write_all(pattern(size));
        return f;
    }
    // Of a goroutine that has none, the processor is not handed off again: so it gets one first.
    std::uint64_t handoffs() const {
        enter_library();
        return rt_.stats().handoffs_immediate;
    }

    handoff::runtime rt_{no_retakes(1)};
    handoff::temporary_directory dir_;
};

TEST_F(file_waits, are_none_for_what_is_cached) {
    file f = made(20 * block);
    if (!is_cached(f, 0)) GTEST_SKIP() << f.name() << ": this file system does not tell what is cached";
    rt_.run([&] {
        std::string b(16 * block, '\0');
        const std::uint64_t before = guarded_calls(rt_);
        EXPECT_EQ(f.read_at(block, b), b.size());
        EXPECT_EQ(f.read_at(10 * block, b), 10 * block);   // the end, too
        EXPECT_EQ(f.read_at(20 * block, b), 0u);
        EXPECT_EQ(guarded_calls(rt_), before);
        f.seek(0);
        const std::uint64_t after_seek = guarded_calls(rt_);
        EXPECT_EQ(f.read_some(b), b.size());
        EXPECT_EQ(f.read_exactly(handoff::mutable_buffer(b.data(), 4 * block)), 4 * block);
        EXPECT_EQ(f.read_some(b), 0u);
        EXPECT_EQ(guarded_calls(rt_), after_seek);
        EXPECT_EQ(handoffs(), 0u);
    });
}

// A long copy from the cache is guarded, so that the monitor may take the processor, but hands nothing off.
TEST_F(file_waits, of_long_reads_are_guarded) {
    file f = made(64 * block);
    if (!is_cached(f, 0)) GTEST_SKIP() << f.name() << ": this file system does not tell what is cached";
    rt_.run([&] {
        std::string b(64 * block, '\0');
        const std::uint64_t before = guarded_calls(rt_);
        EXPECT_EQ(f.read_at(0, b), b.size());
        EXPECT_EQ(guarded_calls(rt_), before + 1);
        iovec parts[2] = {{b.data(), 8 * block}, {b.data() + 8 * block, 8 * block + 1}};
        EXPECT_EQ(f.read_at(0, parts), 16 * block + 1);
        EXPECT_EQ(guarded_calls(rt_), before + 2);
        EXPECT_EQ(handoffs(), 0u);
    });
}

TEST_F(file_waits, for_the_disk_hand_the_processor_off) {
    file f = made(256 * block);
    SKIP_UNLESS_EVICTED(f);
    std::atomic<bool> other_ran{false};
    rt_.run([&] {
        const std::uint64_t before = handoffs();
        auto other = handoff::go([&] { other_ran = true; });
        std::string b(block, '\0');
        EXPECT_EQ(f.read_at(128 * block, b), block);
        EXPECT_EQ(handoffs(), before + 1);
        EXPECT_EVENTUALLY(other_ran);
        EXPECT_EQ(b, pattern(256 * block).substr(128 * block, block));
        other.join();
    });
}

// What is cached is taken first; the rest is waited for.
TEST_F(file_waits, are_for_what_is_missing_only) {
    file f = made(512 * block);
    const std::string all = pattern(512 * block);
    SKIP_UNLESS_EVICTED(f);
    ASSERT_EQ(::posix_fadvise(f.native_handle(), 0, 0, POSIX_FADV_RANDOM), 0);   // nothing is read ahead
    rt_.run([&] {
        std::string b(8 * block, '\0');
        EXPECT_EQ(f.read_at(100 * block, handoff::mutable_buffer(b.data(), 2 * block)), 2 * block);
        const std::uint64_t before = handoffs();
        EXPECT_EQ(f.read_at(100 * block, b), b.size());
        EXPECT_EQ(b, all.substr(100 * block, b.size()));
        EXPECT_GT(handoffs(), before);
        EXPECT_EQ(f.read_at(100 * block, b), b.size());   // again, from the cache
        f.seek(static_cast<std::int64_t>(300 * block));
        const std::uint64_t then = handoffs();
        EXPECT_EQ(f.read_exactly(b), b.size());
        EXPECT_EQ(b, all.substr(300 * block, b.size()));
        EXPECT_GT(handoffs(), then);
        EXPECT_EQ(f.tell(), 308 * block);
    });
}

TEST_F(file_waits, for_syncs_hand_the_processor_off) {
    file f = made(block);
    rt_.run([&] {
        const std::uint64_t before = handoffs();
        f.sync();
        EXPECT_EQ(handoffs(), before + 1);
        f.sync_data();
        EXPECT_EQ(handoffs(), before + 2);
        f.write_all("x");
        (void)f.size();
        EXPECT_EQ(handoffs(), before + 2);
    });
}

// Where nobody tells what is cached, every read is guarded, and none hands off for that alone.
TEST_F(file_waits, are_guarded_where_the_system_does_not_tell) {
    file f = file::open("/proc/self/stat", open_mode::read);
    rt_.run([&] {
        char b[16];
        const std::uint64_t before = guarded_calls(rt_);
        EXPECT_EQ(f.read_some(b), sizeof b);
        EXPECT_EQ(f.read_at(0, b), sizeof b);
        EXPECT_EQ(guarded_calls(rt_), before + 2);
        EXPECT_EQ(handoffs(), 0u);
    });
}

TEST(many_readers, of_a_file_get_what_is_in_it) {
    constexpr std::size_t blocks = 2048, each = 4;
    const std::size_t readers = scaled(1000, 100);
    auto random = seeded_random("many readers");
    const handoff::temporary_directory dir;
    file f = file::open(dir.path() + "/a", both);
    const std::string all = pattern(blocks * block);
    f.write_all(all);
    (void)evict(f);   // where it can be
    for (const unsigned procs : {1u, 2u}) {
        handoff::runtime rt({.procs = procs});
        std::atomic<std::size_t> right{0};
        std::vector<handoff::join_handle<void>> handles;
        for (std::size_t i = 0; i < readers; ++i)
            handles.push_back(rt.go([&, seed = random()] {
                std::mt19937_64 r(seed);
                std::string b(block, '\0');
                for (std::size_t j = 0; j < each; ++j) {
                    const std::size_t at = r() % (blocks * block - block);
                    if (f.read_at(at, b) == block && all.compare(at, block, b) == 0) ++right;
                }
            }));
        for (auto& h : handles) h.join();
        EXPECT_EQ(right, readers * each);
        (void)evict(f);
    }
}

// The schedule of a seed is the same whether the file is cached or not.
TEST_F(file_waits, do_not_change_simulations) {
    file f = made(64 * block);
    const auto hash_of = [&](std::uint64_t seed) {
        handoff::simulation sim(seed);
        sim.run([&] {
            handoff::task_group g;
            for (std::size_t i = 0; i < 4; ++i)
                g.go([&, i] {
                    std::string b(block, '\0');
                    for (std::size_t j = 0; j < 4; ++j) EXPECT_EQ(f.read_at((i * 16 + j * 4) * block, b), block);
                });
            g.wait();
        });
        return sim.trace_hash();
    };
    SKIP_UNLESS_EVICTED(f);
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        ASSERT_TRUE(evict(f));
        const auto cold = hash_of(seed);
        EXPECT_EQ(hash_of(seed), cold);
    }
}

}  // namespace
