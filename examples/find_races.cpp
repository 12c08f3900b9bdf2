// find_races: finds two concurrency bugs by simulation, and reproduces them from their seeds.
//
// The first bug is in a bank account that loses money, since the balance is read in one step and written in another. The
// second is a deadlock: two transfers between two accounts wait for each other for ever, since each takes the locks in its
// own order. On real processors both are rare. Here each is found within some tens of simulated runs, and then replayed.
// Shows handoff::simulation. Exits with 0 if both bugs were found and reproduced with the same trace.
#include <handoff/handoff.hpp>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

struct account {
    handoff::mutex mutex;
    long balance = 0;
};

// The first bug: the mutex is locked for the read and for the write, but not for both together.
void deposit(account& to, long amount) {
    long before;
    {
        const std::lock_guard hold(to.mutex);
        before = to.balance;
    }
    const std::lock_guard hold(to.mutex);
    to.balance = before + amount;
}

void two_deposits() {
    account a;
    handoff::task_group g;
    g.go([&] { deposit(a, 10); });
    g.go([&] { deposit(a, 20); });
    g.wait();
    if (a.balance != 30) throw std::runtime_error("the balance is " + std::to_string(a.balance) + ", not 30");
}

// The second bug: two transfers in opposite directions take the locks in opposite order.
void transfer(account& from, account& to, long amount) {
    const std::lock_guard hold_from(from.mutex);
    const std::lock_guard hold_to(to.mutex);
    from.balance -= amount;
    to.balance += amount;
}

void opposite_transfers() {
    account a, b;
    handoff::task_group g;
    g.go([&] { transfer(a, b, 10); });
    g.go([&] { transfer(b, a, 20); });
    g.wait();
}

// Finds the first seed that fails, and says what happens when it is run again.
bool find_and_replay(const char* what, void (*scenario)(), std::uint64_t seeds) {
    std::printf("%s\n", what);
    try {
        handoff::simulation::explore(handoff::exploration{.count = seeds}, scenario);
    } catch (const handoff::simulation_failed& found) {
        const auto seed = static_cast<unsigned long long>(found.seed());
        std::printf("  found with seed %llu, after %llu steps:\n    %s\n", seed,
                    static_cast<unsigned long long>(found.steps()), found.what());
        handoff::simulation again(found.seed());
        try {
            again.run(scenario);
        } catch (const std::exception& e) {
            const bool same = again.trace_hash() == found.trace_hash();
            std::printf("  replayed: %s\n", same ? "the same, step by step" : "another failure");
            return same;
        }
        std::printf("  not replayed: seed %llu is fine now\n", seed);
        return false;
    }
    std::printf("  not found with %llu seeds\n", static_cast<unsigned long long>(seeds));
    return false;
}

int usage() {
    std::fputs("Usage: find_races [SEEDS]   tries up to SEEDS (1000) seeds for each bug\n", stderr);
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seeds = 1000;
    if (argc > 2) return usage();
    if (argc == 2) {
        const char* end = argv[1] + std::strlen(argv[1]);
        const auto [stop, e] = std::from_chars(argv[1], end, seeds);
        if (e != std::errc() || stop != end || seeds == 0 || seeds > 1'000'000) {
            std::fprintf(stderr, "find_races: SEEDS %s: not a number from 1 to 1000000\n", argv[1]);
            return usage();
        }
    }
    const bool lost = find_and_replay("an account that loses a deposit", two_deposits, seeds);
    const bool stuck = find_and_replay("transfers that wait for each other", opposite_transfers, seeds);
    return lost && stuck ? 0 : 1;
}
