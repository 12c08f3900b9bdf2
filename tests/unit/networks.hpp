// What the tests of sockets and of other descriptors share.
#pragma once

#include "testing.hpp"

#include <handoff/net/tcp.hpp>

#include <string>
#include <system_error>

namespace handoff_test {

// What a goroutine waits for that waits for a descriptor, as snapshot() calls it.
inline constexpr auto network = "network";

// own_descriptor_count(), once it says the same three times: a monitor, or a handler of a signal (signals.cpp), may open or close a
// file while it counts.
inline std::size_t settled_descriptor_count() {
    std::size_t n = own_descriptor_count();
    for (int same = 1; same < 3;) {
        const std::size_t next = own_descriptor_count();
        same = next == n ? same + 1 : 1;
        n = next;
    }
    return n;
}

// error_of returns the error that f throws; none if it throws nothing.
template <class F>
std::error_code error_of(F f) {
    try {
        f();
    } catch (const std::system_error& e) {
        return e.code();
    }
    return {};
}

inline handoff::net::endpoint loopback(std::uint16_t port = 0) { return {handoff::net::address::loopback_v4(), port}; }

// Two ends of a TCP connection.
struct connection {
    handoff::net::tcp_stream client, server;
    connection() {
        auto l = handoff::net::tcp_listener::listen(loopback());
        client = handoff::net::tcp_stream::connect(l.local_endpoint());
        server = l.accept();
    }
};

std::string read_to_end(auto& s, std::size_t at_once = 1000) {
    std::string all, block(at_once, 0);
    while (const std::size_t n = s.read_some(handoff::mutable_buffer(block.data(), at_once))) all.append(block, 0, n);
    return all;
}

// Bytes that depend on the seed.
inline std::string random_text(std::size_t n, unsigned seed) {
    std::string s(n, 0);
    std::minstd_rand random(seed + 1);
    for (char& c : s) c = static_cast<char>(random());
    return s;
}

}  // namespace handoff_test
