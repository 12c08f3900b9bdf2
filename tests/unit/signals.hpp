// Signals that interrupt everybody: the library uses none, and must bear those of the program.
#pragma once

#include <csignal>
#include <cstdint>

namespace handoff_test {

// signal_storm interrupts the threads of the process, one after the other, by SIGALRM, `hz` times a second, for as long as
// it lives. With HANDOFF_TEST_SIGNALS=HZ or HZ,restart in the environment there is one from the start of the program.
class signal_storm {
public:
    // restarts: calls go on after the signal (SA_RESTART); else they end with EINTR.
    signal_storm(unsigned hz, bool restarts);
    ~signal_storm();
    signal_storm(const signal_storm&) = delete;
    signal_storm& operator=(const signal_storm&) = delete;

    static std::uint64_t delivered() noexcept;

private:
    struct sigaction before_ {};
};

}  // namespace handoff_test
