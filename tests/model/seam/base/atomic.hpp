// In place of src/base/atomic.hpp.
#pragma once

#include <handoff/detail/atomic.hpp>

#include <cstdint>

namespace handoff::base {

inline void full_fence() noexcept { explore::full_fence(); }

// Counters are numbers for people, and for checks made under a lock: no steps, no buffer.
class counter {
public:
    std::uint64_t add(std::uint64_t n = 1) noexcept { return v_ += n; }
    std::uint64_t get() const noexcept { return v_; }
    void show(std::uint64_t n) noexcept { v_ = n; }
    std::uint64_t seen() const noexcept { return v_; }

private:
    std::uint64_t v_ = 0;
};

class shared_counter {
public:
    std::uint64_t add(std::uint64_t n = 1) noexcept { return v_ += n; }
    std::uint64_t get() const noexcept { return v_; }

private:
    std::uint64_t v_ = 0;
};

}  // namespace handoff::base
