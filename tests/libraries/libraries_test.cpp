// Libraries that nobody changes, called from goroutines: what they keep per thread is right after a guard, and their
// callbacks may use handoff.
#include <handoff/handoff.hpp>

#include <atomic>
#include <cerrno>
#include <git2.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sqlite3.h>
#include <string>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using handoff::blocking_call;
using handoff::channel;
using handoff::runtime;
using handoff::syscall_guard;
using handoff::task_group;
namespace this_goroutine = handoff::this_goroutine;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int tries = 1'000;
#else
constexpr int tries = 10'000;
#endif
constexpr int goroutines = 100;

// These libraries are not frugal with their stacks.
const handoff::spawn_options roomy{.stack_size = 512 * 1024};

class libraries : public testing::TestWithParam<unsigned> {};

// of_each_goroutine calls f(number of the goroutine, number of the try), all tries together, beside goroutines that keep the
// processors busy, and returns how often f said that something was wrong.
template <class F>
int of_each_goroutine(unsigned procs, F f) {
    runtime rt({.procs = procs});
    std::atomic<int> wrong{0};
    rt.run([&] {
        std::atomic<bool> over{false};
        std::vector<handoff::join_handle<void>> busy, all;
        for (unsigned i = 0; i < procs; ++i)
            busy.push_back(handoff::go([&] {
                while (!over) this_goroutine::yield();
            }));
        for (int g = 0; g < goroutines; ++g)
            all.push_back(handoff::go(roomy, [&, g] {
                for (int k = 0; k < tries / goroutines; ++k) {
                    wrong += !f(g, k);
                    if (k % 4 == 0) this_goroutine::yield();
                }
            }));
        for (auto& h : all) h.join();
        over = true;
        for (auto& h : busy) h.join();
    });
    return wrong;
}

// In functions of their own, as in docs/thread-locals.md: the goroutine enters the library once in each, at its beginning.
[[gnu::noipa]] bool errno_is_right(int g, int k) {
    const int expected = 1 + (g * 7 + k) % 100;
    blocking_call([&] {
        ::usleep(k % 8 == 0 ? 200 : 0);
        errno = expected;
    });
    return errno == expected;
}

[[gnu::noipa]] bool openssl_is_right(int g, int k) {
    const unsigned long expected = ERR_PACK(ERR_LIB_USER, 0, 1 + (g * 7 + k) % 100);
    {
        const syscall_guard guard;
        ERR_clear_error();
        ::usleep(k % 8 == 0 ? 200 : 0);
        ERR_put_error(ERR_LIB_USER, 0, 1 + (g * 7 + k) % 100, __FILE__, __LINE__);
    }
    return ERR_GET_REASON(ERR_get_error()) == ERR_GET_REASON(expected) && ERR_get_error() == 0;
}

[[gnu::noipa]] bool git_is_right(int g, int k) {
    const std::string name = "/no/such/repository/" + std::to_string(g) + "/" + std::to_string(k);
    git_repository* repository = nullptr;
    const int result = blocking_call([&] {
        ::usleep(k % 8 == 0 ? 200 : 0);
        return git_repository_open(&repository, name.c_str());
    });
    const git_error* e = git_error_last();
    return result == GIT_ENOTFOUND && e && std::string(e->message).find(name) != std::string::npos;
}

TEST_P(libraries, errno_is_right_after_a_guard) { EXPECT_EQ(of_each_goroutine(GetParam(), errno_is_right), 0); }

TEST_P(libraries, openssl_errors_are_right_after_a_guard) { EXPECT_EQ(of_each_goroutine(GetParam(), openssl_is_right), 0); }

TEST_P(libraries, git_errors_are_right_after_a_guard) {
    git_libgit2_init();
    EXPECT_EQ(of_each_goroutine(GetParam(), git_is_right), 0);
    git_libgit2_shutdown();
}

// A query whose row callback sends on a channel, spawns and sleeps. SQLite holds the connection's mutex meanwhile, which is
// a recursive pthread mutex.
constexpr int rows = 20;

struct reader {
    channel<int> out;
    int number;
    int seen = 0;
    static int row(void* self, int, char** values, char**) {
        auto& r = *static_cast<reader*>(self);
        const int i = std::atoi(values[0]);
        if (i % 3 == 0) this_goroutine::sleep_for(20us);
        else if (i % 3 == 1) handoff::go([] {}).join();
        r.out.send(r.number * rows + i);
        ++r.seen;
        return 0;
    }
};

int query(sqlite3* db, reader& r) {
    const std::string sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < " +
                            std::to_string(rows) + ") SELECT i FROM n";
    return blocking_call([&] { return sqlite3_exec(db, sql.c_str(), reader::row, &r, nullptr); });
}

sqlite3* open_database() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr), SQLITE_OK);
    return db;
}

long long sum_of_all_rows(unsigned procs, sqlite3* shared) {
    runtime rt({.procs = procs});
    return rt.run([&] {
        channel<int> out(4);
        task_group group;
        for (int g = 0; g < goroutines; ++g)
            group.go([&, g] {
                reader r{out, g};
                handoff::go(roomy, [&] {
                    sqlite3* db = shared ? shared : open_database();
                    EXPECT_EQ(query(db, r), SQLITE_OK);
                    if (!shared) sqlite3_close(db);
                }).join();
                EXPECT_EQ(r.seen, rows);
            });
        long long sum = 0;
        for (int i = 0; i < goroutines * rows; ++i) sum += out.recv().value();
        group.wait();
        return sum;
    });
}

constexpr long long all_rows = 1LL * goroutines * rows * (goroutines * rows - 1) / 2;

TEST_P(libraries, sqlite_row_callbacks_may_use_everything) {
    EXPECT_EQ(sum_of_all_rows(GetParam(), nullptr), all_rows);
}

TEST_P(libraries, sqlite_row_callbacks_may_use_everything_on_a_shared_connection) {
    sqlite3* db = open_database();
    EXPECT_EQ(sum_of_all_rows(GetParam(), db), all_rows);
    sqlite3_close(db);
}

INSTANTIATE_TEST_SUITE_P(procs, libraries, testing::Values(1u, 2u, 4u), testing::PrintToStringParamName());

}  // namespace
