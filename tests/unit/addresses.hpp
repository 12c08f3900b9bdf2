// What the tests of addresses, endpoints and hosts share: both forms of a function that may refuse, and random values.
#pragma once

#include "testing.hpp"

#include <handoff/net/address.hpp>

#include <random>
#include <string>
#include <string_view>
#include <system_error>

namespace handoff_test {

using namespace std::string_literals;
using namespace std::string_view_literals;

// refused is the code with which both forms refuse; 0 if one of them does not, or they differ, or what() does not contain
// each of `said`. `call` is called without arguments, and with a std::error_code&.
template <class F, class... Strings>
std::error_code refused(F&& call, const Strings&... said) {
    std::error_code ec;
    if (call(ec) != decltype(call(ec))()) return {};
    try {
        (void)call();
    } catch (const std::system_error& e) {
        const std::string what = e.what();
        const bool named = what.starts_with("handoff: ") && (... && (what.find(said) != what.npos));
        EXPECT_TRUE(named) << what;
        return named && e.code() == ec ? ec : std::error_code();
    }
    return {};
}

// parse_refused: refused, of T::parse(text, more...).
template <class T, class... More>
std::error_code parse_refused(std::string_view text, std::string_view said, More... more) {
    return refused([&](auto&... ec) { return T::parse(text, more..., ec...); }, said);
}

// accepted is what both forms make of the text, without an error.
template <class T, class... More>
T accepted(std::string_view text, More... more) {
    std::error_code ec = std::make_error_code(std::errc::io_error);
    const T value = T::parse(text, more..., ec);
    EXPECT_FALSE(ec) << text << ": " << ec.message();
    EXPECT_TRUE(T::parse(text, more...) == value);
    return value;
}

// random_address: of either kind, with and without a scope, often with long and short runs of zeros.
inline handoff::net::address random_address(std::mt19937_64& random) {
    using handoff::net::address;
    if (random() % 3 == 0) {
        const auto r = random();
        return address::v4({std::uint8_t(r), std::uint8_t(r >> 8), std::uint8_t(r >> 16), std::uint8_t(r >> 24)});
    }
    address::v6_bytes bytes{};
    const auto zeros = random() & random();   // a bit for each group of two bytes
    for (std::size_t i = 0; i < bytes.size(); ++i)
        if ((zeros >> (i / 2) & 1) == 0) bytes[i] = static_cast<std::uint8_t>(random());
    if (random() % 8 == 0) std::fill(bytes.begin(), bytes.begin() + 10, std::uint8_t(0));
    if (random() % 8 == 0) bytes[10] = bytes[11] = 0xff;
    return address::v6(bytes, random() % 4 == 0 ? static_cast<std::uint32_t>(random()) : 0);
}

}  // namespace handoff_test
