// What the fuzz targets share: reading choices from the fuzzer's bytes, and failing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace fuzz {

// Bytes that are used up answer 0.
class choices {
public:
    choices(const std::uint8_t* data, std::size_t size) noexcept : at_(data), end_(data + size) {}

    bool any_left() const noexcept { return at_ != end_; }
    unsigned below(unsigned n) noexcept { return any_left() ? *at_++ % n : 0; }

private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

}  // namespace fuzz

#define FUZZ_CHECK(condition)                                                          \
    do {                                                                               \
        if (!(condition)) {                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                              \
        }                                                                              \
    } while (0)
