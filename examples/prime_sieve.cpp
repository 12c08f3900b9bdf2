// prime_sieve: computes the first N prime numbers by a chain of goroutines.
//
// The numbers from 2 on enter the chain at one end. What comes out at the other end is a prime. A filter that drops its
// multiples is then added at that end. The channels in between are unbuffered: a sender waits until the next goroutine takes
// the number. Shows channels, goroutines that run for ever, and a task group that ends them.
#include <handoff/handoff.hpp>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

namespace {

using numbers = handoff::channel<unsigned>;

constexpr unsigned most_primes = 10'000;   // each prime takes a goroutine

void count_up(numbers out) {
    for (unsigned n = 2;; ++n) out.send(n);
}

void drop_multiples(unsigned prime, numbers in, numbers out) {
    for (const unsigned n : in)
        if (n % prime != 0) out.send(n);
}

std::vector<unsigned> first_primes(unsigned wanted) {
    std::vector<unsigned> primes;
    handoff::task_group chain;
    numbers end(0);
    chain.go([end] { count_up(end); });
    while (primes.size() < wanted) {
        const unsigned prime = end.recv().value();
        primes.push_back(prime);
        numbers longer(0);
        chain.go([=] { drop_multiples(prime, end, longer); });
        end = longer;
    }
    // Each goroutine waits for a neighbour, or will soon do so. Its wait then throws handoff::cancelled, which ends the
    // goroutine.
    chain.cancel();
    chain.wait();
    return primes;
}

[[noreturn]] void wrong_usage() {
    std::fprintf(stderr, "Usage: prime_sieve [N]\nPrints the first N primes, 1 to %u (default 100).\n", most_primes);
    std::exit(2);
}

unsigned parse_wanted(const char* text) {
    unsigned n = 0;
    const char* const end = text + std::strlen(text);
    if (const auto [stop, error] = std::from_chars(text, end, n);
        error != std::errc() || stop != end || n < 1 || n > most_primes) {
        std::fprintf(stderr, "prime_sieve: %s: not a number from 1 to %u\n", text, most_primes);
        wrong_usage();
    }
    return n;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 2) wrong_usage();
    const unsigned wanted = argc == 2 ? parse_wanted(argv[1]) : 100;
    try {
        handoff::runtime rt;
        for (const unsigned prime : rt.run(first_primes, wanted)) std::printf("%u\n", prime);
        return std::fflush(stdout) == 0 ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "prime_sieve: %s\n", e.what());
        return 1;
    }
}
