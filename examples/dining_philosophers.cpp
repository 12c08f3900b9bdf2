// dining_philosophers: five philosophers sit at a round table, with a fork between each two. To eat, a philosopher needs the
// forks on both sides.
//
// std::scoped_lock takes two forks without a deadlock. With --naive each philosopher takes the left fork first, and then the
// right one. Once all of them hold a left fork, none can go on. If the runtime is asked to watch for this, it reports who
// waits for what. Shows handoff::mutex with the locks of the standard library, and options::deadlock_after.
#include <handoff/handoff.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr unsigned seats = 5;
constexpr unsigned most_meals = 1'000'000;

struct fork {
    handoff::mutex mutex;
    unsigned long used = 0;   // guarded by mutex
};

struct table {
    std::array<fork, seats> forks;
    std::array<unsigned, seats> meals{};   // each counter is incremented by its philosopher
    handoff::latch all_hold_one{seats};    // only for the naive philosophers

    fork& left_of(unsigned seat) { return forks[seat]; }
    fork& right_of(unsigned seat) { return forks[(seat + 1) % seats]; }

    // Called with both forks in hand.
    void eat(unsigned seat) {
        ++left_of(seat).used;
        ++right_of(seat).used;
        ++meals[seat];
        handoff::this_goroutine::yield();   // meanwhile the others get hungry
    }
};

void dine(table& t, unsigned seat, unsigned meals) {
    for (unsigned i = 0; i < meals; ++i) {
        const std::scoped_lock both(t.left_of(seat).mutex, t.right_of(seat).mutex);
        t.eat(seat);
    }
}

void dine_naively(table& t, unsigned seat, unsigned meals) {
    for (unsigned i = 0; i < meals; ++i) {
        const std::scoped_lock left(t.left_of(seat).mutex);
        t.all_hold_one.arrive_and_wait();   // so that the deadlock happens at once, and not once a week
        const std::scoped_lock right(t.right_of(seat).mutex);
        t.eat(seat);
    }
}

void dine_together(table& t, void (*dine_alone)(table&, unsigned, unsigned), unsigned meals) {
    std::vector<handoff::join_handle<void>> philosophers;
    for (unsigned seat = 0; seat < seats; ++seat) {
        const std::string name = "philosopher " + std::to_string(seat + 1);
        philosophers.push_back(handoff::go(handoff::spawn_options{.name = name},
                                           [&t, dine_alone, seat, meals] { dine_alone(t, seat, meals); }));
    }
    for (auto& p : philosophers) p.join();
}

[[noreturn]] void report_deadlock(const std::string& report) {
    std::fputs(report.c_str(), stderr);
    std::_Exit(3);   // the waiting philosophers would keep the runtime from ending
}

[[noreturn]] void wrong_usage() {
    std::fprintf(stderr,
                 "Usage: dining_philosophers [--naive] [N]\n"
                 "Five philosophers eat N times each, 1 to %u (default 1000).\n"
                 "\n"
                 "  --naive   each takes the left fork and then the right one: ends in a deadlock, and exit status 3\n",
                 most_meals);
    std::exit(2);
}

unsigned parse_meals(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    if (const auto [stop, error] = std::from_chars(text, end, n);
        error != std::errc() || stop != end || n < 1 || n > most_meals) {
        std::fprintf(stderr, "dining_philosophers: %s: not a number from 1 to %u\n", text, most_meals);
        wrong_usage();
    }
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    const bool naive = argc > 1 && std::string_view(argv[1]) == "--naive";
    const int rest = naive ? 2 : 1;
    if (argc > rest + 1) wrong_usage();
    const unsigned meals = argc > rest ? parse_meals(argv[rest]) : 1000;
    try {
        table t;
        handoff::runtime rt({.deadlock_after = std::chrono::milliseconds(200), .on_deadlock = report_deadlock});
        rt.run([&] { dine_together(t, naive ? dine_naively : dine, meals); });

        std::printf("seat   meals   left fork used\n");
        for (unsigned seat = 0; seat < seats; ++seat)
            std::printf("%4u %7u %16lu\n", seat + 1, t.meals[seat], t.left_of(seat).used);
        return std::fflush(stdout) == 0 ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "dining_philosophers: %s\n", e.what());
        return 1;
    }
}
