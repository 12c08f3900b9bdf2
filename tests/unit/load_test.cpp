// How many threads of the machine want a core, as the monitor and idle threads ask it. Others come and go meanwhile, so each test
// looks until it has seen what it is about.
#include "os/load.hpp"
#include "testing.hpp"

#include <atomic>
#include <fstream>
#include <memory>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

using handoff::os::load_file;
using namespace handoff_test;

namespace {

long cpus() { return ::sysconf(_SC_NPROCESSORS_ONLN); }

// The kernel's own word, read in another way; -1 if it can't be had.
long wanting() {
    std::ifstream file("/proc/loadavg");
    double loads[3];
    long n = -1;
    return file >> loads[0] >> loads[1] >> loads[2] >> n ? n : -1;
}

// More threads that compute than there are cores.
class crowd {
public:
    crowd() {
        for (long i = 0; i <= cpus(); ++i)
            threads_.emplace_back([this] { compute_until([this] { return over_.load(); }); });
    }
    ~crowd() {
        over_ = true;
        for (auto& t : threads_) t.join();
    }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

private:
    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

TEST(load, leaves_no_room_where_more_want_a_core_than_there_are) {
    const load_file load;
    const crowd others;
    if (!eventually([] { return wanting() > cpus(); }, 5s)) GTEST_SKIP() << "the kernel does not count them here";
    EXPECT_EVENTUALLY(!load.has_room());
}

TEST(load, leaves_room_where_cores_are_free) {
    const load_file load;
    constexpr int enough = 100;
    int looks = 0, said_so = 0;   // those during which there was room, as far as can be seen
    eventually([&] {
        const bool before = wanting() <= cpus(), said = load.has_room(), after = wanting() <= cpus();
        looks += before && after;
        said_so += before && after && said;
        return looks == enough;
    }, 1s);
    if (looks < enough) GTEST_SKIP() << "others want all cores";
    EXPECT_GT(said_so, 0);
}

bool has_room_if_it_is_not_known() {
    const load_file known;
    const crowd others;
    if (wanting() < 0 || !eventually([&] { return !known.has_room(); }, 5s)) return true;   // it is never known here
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
    const load_file unknown;
    return block_until([&] { return !known.has_room() && unknown.has_room(); });
}

TEST(load, leaves_room_where_it_is_not_known) {
    if (with_sanitizer && !with_tsan) GTEST_SKIP() << "UBSan's look at vptrs needs descriptors";
    EXPECT_IN_CHILD(has_room_if_it_is_not_known(), "");
}

}  // namespace
