// rate_limiter: several clients that together may make a limited number of requests per second, and a few of them at once.
//
// It is a token bucket: a channel with room for as many tokens as there may be requests at once. A ticker adds a token from
// time to time. A client takes one out for each request, or waits for it. At the end we check the times of the requests: at
// no time were there more than the tokens that had been put into the bucket by then.
#include <handoff/handoff.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

namespace {

using std::chrono::steady_clock;
using tick = steady_clock::time_point;

struct token {};

struct settings {
    unsigned clients = 5;
    unsigned requests = 4;       // of each client
    unsigned per_second = 100;   // requests of all clients
    unsigned burst = 5;          // requests at once after a pause

    std::chrono::nanoseconds period() const { return std::chrono::nanoseconds(999'999'999 / per_second + 1); }
    unsigned all_requests() const { return clients * requests; }
};

void fill(handoff::channel<token> bucket, handoff::channel<tick> ticks) {
    while (ticks.recv()) bucket.try_send(token{});   // does nothing if the bucket is full
}

std::vector<tick> make_requests(handoff::channel<token> bucket, unsigned n) {
    std::vector<tick> times;
    for (unsigned i = 0; i < n; ++i) {
        bucket.recv();
        times.push_back(steady_clock::now());   // a real client would make its request here
    }
    return times;
}

// The times of the requests since the start of the ticker, sorted.
std::vector<std::chrono::nanoseconds> run(const settings& s) {
    handoff::channel<token> bucket(s.burst);
    for (unsigned i = 0; i < s.burst; ++i) bucket.send(token{});

    const auto start = steady_clock::now();
    const handoff::ticker ticker(s.period());
    handoff::task_group filler;   // cancelled at the end of this function
    filler.go([bucket, ticks = ticker.chan()] { fill(bucket, ticks); });

    std::vector<handoff::join_handle<std::vector<tick>>> clients;
    for (unsigned i = 0; i < s.clients; ++i) clients.push_back(handoff::go(make_requests, bucket, s.requests));
    std::vector<std::chrono::nanoseconds> times;
    for (auto& client : clients)
        for (const tick t : client.join()) times.push_back(t - start);
    std::sort(times.begin(), times.end());
    return times;
}

// The first `burst` requests may be made at once; each later one has to wait for one tick more.
std::chrono::nanoseconds earliest(const settings& s, std::size_t request) {
    if (request < s.burst) return std::chrono::nanoseconds(0);
    return static_cast<std::int64_t>(request - s.burst + 1) * s.period();
}

bool kept(const settings& s, const std::vector<std::chrono::nanoseconds>& times) {
    for (std::size_t i = 0; i < times.size(); ++i)
        if (times[i] < earliest(s, i)) return false;
    return true;
}

[[noreturn]] void wrong_usage() {
    const settings s;
    std::fprintf(stderr,
                 "Usage: rate_limiter [CLIENTS [REQUESTS [PER_SECOND [BURST]]]]\n"
                 "Each of CLIENTS (default %u) makes REQUESTS (%u), all together no more than PER_SECOND (%u), but up\n"
                 "to BURST (%u) at once. All are from 1 to 10000.\n",
                 s.clients, s.requests, s.per_second, s.burst);
    std::exit(2);
}

unsigned parse(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    if (const auto [stop, error] = std::from_chars(text, end, n);
        error != std::errc() || stop != end || n < 1 || n > 10'000) {
        std::fprintf(stderr, "rate_limiter: %s: not a number from 1 to 10000\n", text);
        wrong_usage();
    }
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    unsigned* const given[] = {&s.clients, &s.requests, &s.per_second, &s.burst};
    if (argc > 5) wrong_usage();
    for (int i = 1; i < argc; ++i) *given[i - 1] = parse(argv[i]);
    try {
        handoff::runtime rt;
        const auto times = rt.run(run, s);
        const auto seconds = [](std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); };
        std::printf("%u requests in %.3f s; at %u a second, %u at once, it takes at least %.3f s\n", s.all_requests(),
                    seconds(times.back()), s.per_second, s.burst, seconds(earliest(s, times.size() - 1)));
        std::puts(kept(s, times) ? "the limit was kept" : "THE LIMIT WAS NOT KEPT");
        return std::fflush(stdout) == 0 && kept(s, times) ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "rate_limiter: %s\n", e.what());
        return 1;
    }
}
