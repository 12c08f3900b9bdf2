// A round of handoff_latency.cpp and handoff_states.cpp: how long the only P stands idle after a goroutine blocks.
//
// Goroutine A spawns B, reads the clock, and blocks in read() on an empty pipe. B, runnable all the while, can only run
// once A's P has been taken or given away; it reads the clock as its first step, and then writes the byte that A waits
// for. The round's figure is the difference of the clocks.
#pragma once

#include "figures.hpp"

#include <handoff/handoff.hpp>

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

namespace bench {

class pipe_ends {
public:
    pipe_ends() {
        if (::pipe(fd_)) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    ~pipe_ends() {
        ::close(fd_[0]);
        ::close(fd_[1]);
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;

    ssize_t read_byte() const {
        char byte;
        return ::read(fd_[0], &byte, 1);
    }
    ssize_t write_byte() const { return ::write(fd_[1], "", 1); }

private:
    int fd_[2];
};

enum class guard { sysmon, immediate, adaptive, none };

inline ssize_t read_under(guard how, const pipe_ends& pipe) {
    const auto read = [&pipe] { return pipe.read_byte(); };
    switch (how) {
        case guard::sysmon: return handoff::blocking_call(handoff::handoff_policy::sysmon, read);
        case guard::immediate: return handoff::blocking_call(handoff::handoff_policy::immediate, read);
        case guard::adaptive: return handoff::blocking_call(read);
        case guard::none: break;
    }
    return read();
}

// handoff_round is to be called on 1 P, by A. Below 0: B came first, because A's time slice or its core was taken;
// such a round tells nothing, and is to be repeated. The pipe orders B's writes before A's reads of them.
inline double handoff_round(guard how, const pipe_ends& pipe) {
    // The round before may have ended without a P, which go() does without.
    handoff::lock_os_thread();
    handoff::unlock_os_thread();
    double first_step = 0;
    ssize_t written = 0;
    auto b = handoff::go([&] {
        first_step = now_ns();
        written = pipe.write_byte();
    });
    const double before_call = now_ns();
    const ssize_t got = read_under(how, pipe);
    b.join();
    if (got != 1 || written != 1) throw std::runtime_error("the pipe moved no byte");
    return first_step - before_call;
}

}  // namespace bench
