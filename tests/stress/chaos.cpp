// The chaos run: everything that the library does, at once, for as long as one likes. In rounds of some seconds, each with
// a runtime of its own. What is done, by whom and with which numbers follows from the seed; how it is interleaved does
// not, so a failure that depends on it may take several runs with its seed.
//
// What must hold: every message sent is received once, or lies in its channel at the end; every goroutine that was
// spawned has ended; what mutexes guard adds up; stats() and snapshot() agree with that; no thread, mapping or descriptor
// stays. A watchdog ends the process if somebody stands still for half a minute of its own looks, and shows what every
// runtime does.
#include "chaos_pieces.hpp"

#include <fstream>

namespace chaos {

namespace {

struct role {
    const char* name;
    piece act;
    unsigned most;       // players in a round
    bool is_goroutine;   // else a thread that the library does not know
};

constexpr role roles[] = {
    {"spawn", spawn_trees, 3, true},
    {"ping-pong", ping_pong, 3, true},
    {"calls", block_in_calls, 2, true},
    {"hog", hog, 3, true},
    {"channels", send_through, 3, true},
    {"trade", trade, 3, true},
    {"transfers", transfer_money, 3, true},
    {"condition variables", fill_and_empty, 2, true},
    {"semaphores", count_together, 2, true},
    {"sleep", sleep, 4, true},
    {"timers", run_timers, 2, true},
    {"cancellation", cancel_groups, 2, true},
    {"locals", keep_variables, 2, true},
    {"runtimes", another_runtime, 2, true},
    {"runtimes, outside", another_runtime, 1, false},
    {"procs", change_procs, 1, false},
    {"visitors", visit, 3, false},
    {"observer", observe, 1, false},
};

// How many threads may have to wait for goroutines that need another: those tied to theirs, both ends of each ping-pong in
// their reads, runtimes that end. The monitor, and one that is free.
constexpr unsigned least_threads = 2 * most_tied + 3 * 2 + 2 + 1 + 1;

handoff::options options_of(rng& rnd) {
    handoff::options o;
    o.procs = static_cast<unsigned>(rnd.between(1, 4));
    o.stack_size = (64u + 64u * static_cast<unsigned>(rnd.below(4))) * 1024;
    if (rnd.one_in(4)) o.max_threads = static_cast<unsigned>(rnd.between(least_threads, 40));
    if (rnd.one_in(2)) o.idle_thread_timeout = some_us(rnd, 20'000);
    if (rnd.one_in(2)) o.spin_before_sleep = some_us(rnd, 200);
    if (rnd.one_in(2)) o.syscall_grace = microseconds(rnd.between(1, 200));
    if (rnd.one_in(2)) o.retake_running_after = microseconds(rnd.between(200, 20'000));
    return o;
}

// Plays until the round is over.
void play(round& r, piece act, std::uint64_t stream, scene::progress& p) noexcept {
    player me{r, rng(stream)};
    while (!r.over.load(std::memory_order_relaxed)) {
        try {
            act(me);
        } catch (const std::exception& e) {
            fail("%s: %s", p.name.c_str(), e.what());
        }
        p.done.fetch_add(1, std::memory_order_relaxed);
    }
    p.over.store(true);
}

// What can leak, and for what the C library keeps.
struct holdings {
    long threads = status_of_process("Threads:");
    unsigned descriptors = open_descriptors();
    std::size_t mappings = [] {
        std::ifstream maps("/proc/self/maps");
        std::size_t n = 0;
        for (std::string line; std::getline(maps, line);) ++n;
        return n;
    }();
    long size_kib = status_of_process("VmSize:");
};

void settle(round& r) {
    const handoff::stats s = wait_for_end(*r.rt);
    r.goods.settle();
    r.money.settle();
    CHAOS_CHECK(r.begun == r.ended, "%llu goroutines began, %llu ended", static_cast<unsigned long long>(r.begun.load()),
                static_cast<unsigned long long>(r.ended.load()));
    CHAOS_CHECK(r.thrown == r.unhandled, "%llu exceptions that nobody saw, %llu reported",
                static_cast<unsigned long long>(r.thrown.load()), static_cast<unsigned long long>(r.unhandled.load()));
    // Timers spawn by themselves.
    CHAOS_CHECK(s.spawned >= r.spawned, "%llu spawned, by stats() %llu", static_cast<unsigned long long>(r.spawned.load()),
                static_cast<unsigned long long>(s.spawned));
    const handoff::scheduler_snapshot all = r.rt->snapshot();
    CHAOS_CHECK(all.goroutines.empty(), "%zu", all.goroutines.size());
    CHAOS_CHECK(all.queued_globally == 0, "%llu", static_cast<unsigned long long>(all.queued_globally));
    CHAOS_CHECK(s.threads_created >= s.threads_retired, "threads");
    CHAOS_CHECK(s.thread_create_failures == 0 && s.stack_failures == 0, "with plenty of everything, errno %d",
                s.thread_create_errno);
    std::uint64_t pieces = 0;
    the_scene.for_each_player([&](const scene::progress& p) { pieces += p.done.load(); });
    std::printf("  %llu pieces, %llu goroutines, %llu runtimes; %llu handoffs, %u threads at most\n",
                static_cast<unsigned long long>(pieces), static_cast<unsigned long long>(s.spawned),
                static_cast<unsigned long long>(r.runtimes.load()),
                static_cast<unsigned long long>(s.handoffs_sysmon + s.handoffs_immediate + s.handoffs_unguarded +
                                                s.handoffs_computing),
                s.threads_most);
}

void play_round(std::uint64_t number, steady::duration length) {
    rng rnd(number << 32);
    const handoff::options o = options_of(rnd);
    std::printf("round %llu: procs=%u max_threads=%u\n", static_cast<unsigned long long>(number), o.procs, o.max_threads);
    std::fflush(stdout);
    scene::progress& whole = the_scene.add("the round");
    {
        round r(o);
        std::vector<handoff::join_handle<void>> goroutines;
        std::vector<std::thread> threads;
        for (const role& has : roles)
            for (std::uint64_t n = pick(rnd.below(has.most + 1), rnd.below(has.most + 1), rnd.below(2)); n > 0; --n) {
                scene::progress& p = the_scene.add(has.name);
                const std::uint64_t stream = rnd();
                if (has.is_goroutine) goroutines.push_back(r.go([&r, act = has.act, stream, &p] { play(r, act, stream, p); }));
                else threads.emplace_back([&r, act = has.act, stream, &p] { play(r, act, stream, p); });
            }
        for (const auto end = steady::now() + length; steady::now() < end;) {
            std::this_thread::sleep_for(10ms);
            whole.done.fetch_add(1);
        }
        r.over.store(true);
        for (auto& h : goroutines) h.join();
        for (auto& t : threads) t.join();
        settle(r);
    }
    whole.over.store(true);
}

// The C library keeps up to 40 MB of thread stacks, two mappings each, and an arena for every few threads; sanitizers
// more than that.
void check_nothing_is_left(const holdings& before) {
    holdings now;
    for (int i = 0; i < 5'000 && now.threads > before.threads; ++i) {   // one that was joined may be seen a moment longer
        std::this_thread::sleep_for(1ms);
        now = {};
    }
    CHAOS_CHECK(now.threads <= before.threads, "%ld, before %ld", now.threads, before.threads);
    CHAOS_CHECK(now.descriptors <= before.descriptors, "%u, before %u", now.descriptors, before.descriptors);
    if (sanitized) return;
    CHAOS_CHECK(now.mappings <= before.mappings + 800, "%zu, before %zu", now.mappings, before.mappings);
    CHAOS_CHECK(now.size_kib <= before.size_kib + 1'500'000, "%ld KiB, before %ld", now.size_kib, before.size_kib);
}

int run(std::chrono::seconds length) {
    { runtime first; }   // what stays for good is there
    const holdings before;
    constexpr auto a_round = pick(3s, 4s, 5s);
    {
        std::atomic<bool> over{false};
        std::thread watchdog([&over] {
            while (!over.load()) {
                std::this_thread::sleep_for(100ms);
                the_scene.look(pick(300u, 600u, 1200u));
            }
        });
        const auto end = steady::now() + length;
        for (std::uint64_t number = 1; steady::now() < end; ++number) {
            play_round(number, std::min<steady::duration>(a_round, end - steady::now()));
            the_scene.clear();
        }
        over.store(true);
        watchdog.join();
    }
    check_nothing_is_left(before);
    std::printf("chaos: %s; HANDOFF_TEST_SEED=%llu\n", failures == 0 ? "all adds up" : "FAILED",
                static_cast<unsigned long long>(seed()));
    return failures == 0 ? 0 : 1;
}

}  // namespace

}  // namespace chaos

int main(int argc, char** argv) {
    std::chrono::seconds length = std::chrono::seconds(10);
    for (int i = 1; i < argc; ++i) {
        const bool has_value = i + 1 < argc;
        char* end = nullptr;
        if (std::strcmp(argv[i], "--seconds") == 0 && has_value) {
            length = std::chrono::seconds(std::strtol(argv[++i], &end, 10));
        } else if (std::strcmp(argv[i], "--seed") == 0 && has_value) {
            (void)std::strtoull(argv[++i], &end, 0);
            ::setenv("HANDOFF_TEST_SEED", argv[i], 1);
        }
        if (!end || end == argv[i] || *end != '\0' || length.count() <= 0) {
            std::fprintf(stderr, "usage: %s [--seconds N] [--seed S]\n"
                                 "Does everything at once, for N seconds (10); what it does follows from S.\n", argv[0]);
            return 2;
        }
    }
    std::printf("chaos: --seconds %lld --seed %llu\n", static_cast<long long>(length.count()),
                static_cast<unsigned long long>(stress::seed()));
    return chaos::run(length);
}
