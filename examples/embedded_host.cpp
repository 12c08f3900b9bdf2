// embedded_host: a program with threads of its own that uses goroutines for its blocking work: SQLite, and libcurl.
//
//     embedded_host [--stuck] [THREADS [ROWS]]
//
// Each of the host's threads starts goroutines in a runtime that the host has made, with as many processors as it can spare,
// and waits for them by their handles. A goroutine takes a connection to the database out of a pool, which is a channel, and
// calls SQLite under a guard. At the end the runtime has two seconds to come to its end, and the goroutines that are left
// are named; --stuck leaves one. Where libcurl was found, the host reads the database's file by a file:// URL, too.
#include <handoff/handoff.hpp>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <pthread.h>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>
#if HANDOFF_EXAMPLE_CURL
#include <curl/curl.h>
#endif

namespace {

using namespace std::chrono_literals;

constexpr unsigned connections = 3;

// A connection from the pool, which gets it back. The pool has room for all, so giving back never waits.
class lease {
public:
    explicit lease(const handoff::channel<sqlite3*>& pool) : pool_(pool), db_(pool.recv().value()) {}
    ~lease() { pool_.try_send(db_); }
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;

    // run executes a statement, and returns the first column of its first row, if there is one.
    std::optional<std::int64_t> run(const std::string& sql) {
        const handoff::syscall_guard guard;   // around all: under it the goroutine stays on its thread
        sqlite3_stmt* statement = nullptr;
        int result = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
        if (result == SQLITE_OK) result = sqlite3_step(statement);
        std::optional<std::int64_t> value;
        if (result == SQLITE_ROW) value = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        if (result != SQLITE_ROW && result != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(db_));
        return value;
    }

private:
    handoff::channel<sqlite3*> pool_;
    sqlite3* db_;
};

// The host's database, in a directory of its own, and the pool of connections to it.
struct database {
    std::string directory = (std::filesystem::temp_directory_path() / "embedded_host.XXXXXX").string();
    std::string file;
    handoff::channel<sqlite3*> pool{connections};

    database() {
        if (!::mkdtemp(directory.data())) throw std::runtime_error("no temporary directory");
        file = directory + "/db";
        for (unsigned i = 0; i < connections; ++i) {
            sqlite3* db = nullptr;
            if (sqlite3_open(file.c_str(), &db) != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db));
            sqlite3_busy_timeout(db, 60'000);
            pool.send(db);
        }
    }
    ~database() {
        while (auto db = pool.try_recv()) sqlite3_close(*db);
        std::filesystem::remove_all(directory);
    }
    database(const database&) = delete;
    database& operator=(const database&) = delete;
};

#if HANDOFF_EXAMPLE_CURL
// fetch returns how many bytes there are at the URL.
std::size_t fetch(const std::string& url) {
    std::size_t bytes = 0;
    const auto count = +[](char*, std::size_t size, std::size_t n, void* sum) {
        *static_cast<std::size_t*>(sum) += size * n;
        return size * n;
    };
    const auto stopped = +[](void* flag, curl_off_t, curl_off_t, curl_off_t, curl_off_t) -> int {
        return static_cast<std::atomic<bool>*>(flag)->load();   // libcurl asks once a second
    };
    std::atomic<bool> stop = false;
    CURL* const handle = curl_easy_init();
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);   // signals and threads do not go together
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, count);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &bytes);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, stopped);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &stop);
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    try {
        result = handoff::blocking_call(handoff::cancel_with([&] { stop = true; }), curl_easy_perform, handle);
    } catch (const handoff::cancelled&) {
    }
    curl_easy_cleanup(handle);
    if (result != CURLE_OK) throw std::runtime_error(curl_easy_strerror(result));
    return bytes;
}
#endif

// One of the host's threads.
void add_rows(handoff::runtime& rt, const database& db, unsigned rows) {
    std::vector<handoff::join_handle<void>> inserts;
    for (unsigned i = 0; i < rows; ++i)
        inserts.push_back(rt.go([&] { lease(db.pool).run("INSERT INTO entry DEFAULT VALUES"); }));
    for (auto& insert : inserts) insert.join();   // a thread sleeps here, and holds up no goroutine
}

void work(handoff::runtime& rt, unsigned threads, unsigned rows) {
    const database db;
    rt.run([&] { lease(db.pool).run("CREATE TABLE entry (number INTEGER PRIMARY KEY)"); });
    std::vector<std::future<void>> all;
    for (unsigned i = 0; i < threads; ++i)
        all.push_back(std::async(std::launch::async, add_rows, std::ref(rt), std::cref(db), rows));
    for (auto& thread : all) thread.get();
    const auto count = rt.run([&] { return lease(db.pool).run("SELECT count(*) FROM entry").value(); });
    std::printf("%u threads have added %lld rows\n", threads, static_cast<long long>(count));
#if HANDOFF_EXAMPLE_CURL
    const std::size_t bytes = rt.run(fetch, "file://" + db.file);
    std::printf("libcurl has read %s of the file\n", bytes == std::filesystem::file_size(db.file) ? "all" : "A PART");
#else
    std::puts("built without libcurl");
#endif
}

[[noreturn]] void wrong_usage(const char* why, const char* what = "") {
    std::fprintf(stderr, "embedded_host: %s%s\nUsage: embedded_host [--stuck] [THREADS [ROWS]]\n", what, why);
    std::exit(2);
}

unsigned parse(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, n);
    if (error == std::errc() && stop == end && n >= 1 && n <= 1000) return n;
    wrong_usage(": not a number from 1 to 1000", text);
}

}  // namespace

int main(int argc, char** argv) try {
    const bool stuck = argc > 1 && argv[1] == std::string_view("--stuck");
    const int first = stuck ? 2 : 1;
    if (argc > first + 2) wrong_usage("too many arguments");
    const unsigned threads = argc > first ? parse(argv[first]) : 4;
    const unsigned rows = argc > first + 1 ? parse(argv[first + 1]) : 25;
#if HANDOFF_EXAMPLE_CURL
    curl_global_init(CURL_GLOBAL_DEFAULT);
#endif
    // Not destroyed if a goroutine is left: the destructor would wait for it.
    const auto name_thread = [] { ::pthread_setname_np(::pthread_self(), "host/blocking"); };
    auto* const rt = new handoff::runtime({.procs = 2, .on_thread_start = name_thread});
    if (stuck) rt->go(handoff::spawn_options{.name = "stuck"}, [] { handoff::channel<int>(0).recv(); }).detach();
    work(*rt, threads, rows);
    const auto left = rt->shutdown(2s);
    for (const auto& g : left) std::fprintf(stderr, "embedded_host: left: %s\n", g.who.describe().c_str());
    std::printf("%zu goroutines left\n", left.size());
    std::fflush(stdout);
    if (!left.empty()) std::quick_exit(1);
    delete rt;
} catch (const std::exception& e) {
    std::fprintf(stderr, "embedded_host: %s\n", e.what());
    return 1;
}
