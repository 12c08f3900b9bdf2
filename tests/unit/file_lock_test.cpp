// Locks of files: who excludes whom, and who waits.
#include "files.hpp"

using handoff::file;
using handoff::lock_kind;
using handoff::open_mode;
using namespace handoff_test;

namespace {

constexpr open_mode both = open_mode::read | open_mode::write | open_mode::create;

class file_locks : public with_files {};
INSTANTIATE_WITH_FILES(file_locks);

TEST_P(file_locks, exclude_each_other) {
    on_each(rt_, [&] {
        file a = file::open(in("a"), both), b = file::open(in("a"), open_mode::read);
        a.lock();
        EXPECT_FALSE(b.try_lock());
        EXPECT_FALSE(b.try_lock(lock_kind::shared));
        a.lock(lock_kind::shared);
        EXPECT_TRUE(b.try_lock(lock_kind::shared));
        EXPECT_FALSE(b.try_lock(lock_kind::exclusive));
        a.unlock();
        a.unlock();
        EXPECT_TRUE(b.try_lock());
        b.close();
        EXPECT_TRUE(a.try_lock());
    });
}

TEST_P(file_locks, are_waited_for) {
    file a = file::open(in("a"), both), b = file::open(in("a"), open_mode::read);
    a.lock();
    std::atomic<bool> locked{false};
    auto waits = rt_.go([&] {
        b.lock();
        locked = true;
    });
    rt_.run([&] {
        handoff::this_goroutine::sleep_for(5ms);
        EXPECT_FALSE(locked);
        a.unlock();
    });
    waits.join();
    EXPECT_TRUE(locked);
}

TEST_P(file_locks, are_not_waited_for_in_a_simulation) {
    file a = file::open(in("a"), both), b = file::open(in("a"), open_mode::read);
    a.lock();
    handoff::simulation(1).run([&] {
        std::error_code ec;
        b.lock(lock_kind::exclusive, ec);
        EXPECT_EQ(ec, std::errc::resource_deadlock_would_occur);
    });
}

}  // namespace
