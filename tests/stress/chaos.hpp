// What the chaos run is made of: a round, its players, the counts that must add up, and the watchdog.
#pragma once

#include "scale.hpp"

#include <cstdarg>
#include <cstring>
#include <list>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>

namespace chaos {

using namespace stress;
using handoff::handoff_policy;
using handoff::runtime;

// Tells of a count that does not add up; the run goes on, and fails in the end.
inline std::atomic<unsigned> failures{0};
__attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    std::printf("chaos: WRONG: %s\n", text);
    std::fflush(stdout);
    failures.fetch_add(1);
}
#define CHAOS_CHECK(condition, ...) \
    do {                            \
        if (!(condition)) ::chaos::fail(#condition ": " __VA_ARGS__); \
    } while (0)

// How often each player has done its piece, and which runtimes there are: what the watchdog looks at.
class scene {
public:
    struct progress {
        explicit progress(std::string of) : name(std::move(of)) {}
        const std::string name;
        std::atomic<std::uint64_t> done{0};
        std::atomic<bool> over{false};
        std::uint64_t seen = ~std::uint64_t{0};   // the watchdog's
        unsigned looks = 0;                       // likewise: how often it has seen that number
    };

    progress& add(std::string name) {
        std::lock_guard hold(lock_);
        return *players_.emplace_back(std::make_unique<progress>(std::move(name)));
    }
    void clear() {
        std::lock_guard hold(lock_);
        players_.clear();
    }
    void add(const runtime& rt) {
        std::lock_guard hold(lock_);
        runtimes_.push_back(&rt);
    }
    void remove(const runtime& rt) {
        std::lock_guard hold(lock_);
        runtimes_.remove(&rt);
    }

    // look aborts if somebody has not got on for `patience` looks, or the round's end has not. Looks, not seconds: on a
    // machine that leaves this process next to nothing they come late as well.
    void look(unsigned patience) {
        std::lock_guard hold(lock_);
        for (auto& p : players_) {
            const std::uint64_t done = p->done.load();
            if (done != p->seen || p->over.load()) p->seen = done, p->looks = 0;
            else if (++p->looks > patience) give_up(*p);
        }
    }

    template <class F>
    void for_each_player(F f) {
        std::lock_guard hold(lock_);
        for (auto& p : players_) f(*p);
    }

private:
    void give_up(const progress& p) {
        std::cerr << "chaos: '" << p.name << "' has stood still after " << p.seen << " times; HANDOFF_TEST_SEED=" << seed()
                  << "\n";
        for (auto& other : players_)
            std::cerr << "  " << other->name << ": " << other->done.load() << (other->over.load() ? ", over\n" : "\n");
        for (const runtime* rt : runtimes_) rt->dump(std::cerr);
        std::cerr.flush();
        std::abort();
    }

    std::mutex lock_;
    std::list<std::unique_ptr<progress>> players_;
    std::list<const runtime*> runtimes_;
};
inline scene the_scene;

// A runtime that the watchdog knows of.
class watched_runtime {
public:
    explicit watched_runtime(handoff::options o) : rt_(std::move(o)) { the_scene.add(rt_); }
    ~watched_runtime() { the_scene.remove(rt_); }
    runtime& operator*() noexcept { return rt_; }
    runtime* operator->() noexcept { return &rt_; }

private:
    runtime rt_;
};

// What goroutines throw.
struct oddity : std::runtime_error {
    explicit oddity(std::uint64_t i) : std::runtime_error("an oddity"), id(i) {}
    std::uint64_t id;
};

// What a goroutine of a group throws; nobody may be there to see it.
struct unsettled {};

// What goes around all over the round: numbers in a channel that everybody uses, money in accounts.
struct market {
    handoff::channel<std::uint64_t> goods{16};
    std::atomic<std::uint64_t> sent{0}, sent_sum{0}, received{0}, received_sum{0};

    void offer(std::uint64_t value, std::chrono::microseconds patience) {
        if (!goods.send_for(std::uint64_t{value}, patience)) return;
        sent.fetch_add(1);
        sent_sum.fetch_add(value);
    }
    void buy(std::chrono::microseconds patience) {
        if (auto v = goods.recv_for(patience)) took(*v);
    }
    void took(std::uint64_t value) {
        received.fetch_add(1);
        received_sum.fetch_add(value);
    }
    void settle() {
        const std::uint64_t left = goods.len();
        std::uint64_t drained = 0;
        while (auto v = goods.try_recv()) took(*v), ++drained;
        CHAOS_CHECK(left == drained, "%llu lay ready, %llu came", static_cast<unsigned long long>(left),
                    static_cast<unsigned long long>(drained));
        CHAOS_CHECK(sent == received, "%llu sent, %llu received", static_cast<unsigned long long>(sent.load()),
                    static_cast<unsigned long long>(received.load()));
        CHAOS_CHECK(sent_sum == received_sum, "in the market");
    }
};

struct bank {
    static constexpr unsigned accounts = 8;
    static constexpr long start = 1000;
    struct account {
        handoff::mutex lock;
        long money = start;
        std::uint64_t entries = 0;   // under the lock
    };
    account all[accounts];
    handoff::shared_mutex closed;    // who audits has it; who transfers shares it
    std::atomic<std::uint64_t> transfers{0};

    void transfer(rng& rnd, bool waits) {
        const std::uint64_t a = rnd.below(accounts), b = (a + rnd.between(1, accounts - 1)) % accounts;
        closed.lock_shared();
        {
            std::scoped_lock hold(all[std::min(a, b)].lock, all[std::max(a, b)].lock);
            const long amount = static_cast<long>(rnd.below(50));
            all[a].money -= amount;
            ++all[a].entries;
            if (waits && rnd.one_in(8)) handoff::this_goroutine::yield();
            if (waits && rnd.one_in(32)) handoff::this_goroutine::sleep_for(std::chrono::microseconds(rnd.below(200)));
            all[b].money += amount;
            ++all[b].entries;
        }
        closed.unlock_shared();
        transfers.fetch_add(1);
    }
    void audit() {
        closed.lock();
        long sum = 0;
        for (account& a : all) sum += a.money;
        closed.unlock();
        CHAOS_CHECK(sum == long{accounts} * start, "the bank has %ld", sum);
    }
    void settle() {
        audit();
        std::uint64_t entries = 0;
        for (account& a : all) entries += a.entries;
        CHAOS_CHECK(entries == 2 * transfers, "%llu entries", static_cast<unsigned long long>(entries));
    }
};

// A round: one runtime, those who play in it, and what has to add up when it is over.
struct round {
    explicit round(handoff::options o) : rt([&] {
        o.on_unhandled_exception = [this](const handoff::goroutine_name&, std::exception_ptr e) {
            try {
                std::rethrow_exception(std::move(e));
            } catch (const oddity&) {
                unhandled.fetch_add(1);
            } catch (const unsettled&) {   // of a group that nobody waited for
            }
        };
        return std::move(o);
    }()) {}

    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> spawned{0};                // in rt
    std::atomic<std::uint64_t> begun{0}, ended{0};        // in all runtimes, by the goroutines' own count
    std::atomic<std::uint64_t> thrown{0}, unhandled{0};   // by those whom nobody joins
    std::atomic<std::uint64_t> runtimes{0};
    market goods;
    bank money;
    watched_runtime rt;   // last: it goes first, and waits for all who use the others

    // go spawns in rt, and counts.
    template <class F>
    auto go(F f) {
        spawned.fetch_add(1);
        return rt->go(counted(std::move(f)));
    }

    // counted wraps f, so that its goroutine is counted in `begun` and `ended`.
    template <class F>
    auto counted(F f) {
        return [this, f = std::move(f)]() mutable {
            begun.fetch_add(1, std::memory_order_relaxed);
            struct at_end {
                round& r;
                ~at_end() { r.ended.fetch_add(1, std::memory_order_relaxed); }
            } const counts{*this};
            return f();
        };
    }
};

// Who plays: a piece, done again and again, with numbers of its own.
struct player {
    round& r;
    rng rnd;
};
using piece = void (*)(player&);

}  // namespace chaos
