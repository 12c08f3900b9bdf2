// The floating-point mode of a thread: how results are rounded, which exceptions trap, how denormal numbers are treated. The
// flags of what has happened so far (which fetestexcept reads) are not part of it.
#pragma once

#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <cfenv>
#endif

namespace handoff::context {

// Whether jump_fcontext saves and restores the mode. On x86 it does; on AArch64 it saves only registers.
#if defined(__x86_64__)
inline constexpr bool jump_keeps_float_mode = true;
#else
inline constexpr bool jump_keeps_float_mode = false;
#endif

class float_mode {
public:
    static float_mode of_this_thread() noexcept {
        float_mode m;
        m.read();
        return m;
    }

    // restore sets the thread to this mode, if it has another one, and leaves the flags alone.
    void restore() const noexcept;

    // begin sets the thread to this mode, and may clear the flags: for code that should not see what happened before.
    void begin() const noexcept;

private:
    float_mode() = default;
    void read() noexcept;

#if defined(__x86_64__)
    void load_x87() const noexcept;

    static constexpr std::uint32_t sse_modes = 0xffc0;   // the other bits of MXCSR are flags
    std::uint32_t sse_;
    std::uint16_t x87_;
#elif defined(__aarch64__)
    std::uint64_t fpcr_;
#else
    std::fenv_t all_;
#endif
};

#if defined(__x86_64__)

inline void float_mode::read() noexcept {
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(sse_), "=m"(x87_) : : "memory");
    sse_ &= sse_modes;
}

inline void float_mode::restore() const noexcept {
    const float_mode now = of_this_thread();
    if (now.sse_ != sse_) [[unlikely]] { __asm__ volatile("ldmxcsr %0" : : "m"(sse_) : "memory"); }
    if (now.x87_ != x87_) [[unlikely]] load_x87();
}

// Chosen to be cheap: on AMD's Zen, stmxcsr takes 8 ns, ldmxcsr and fnstcw 1 ns each. So MXCSR is written without being read
// first.
inline void float_mode::begin() const noexcept {
    std::uint16_t x87;
    __asm__ volatile("ldmxcsr %1\n\tfnstcw %0" : "=m"(x87) : "m"(sse_) : "memory");
    if (x87 != x87_) [[unlikely]] load_x87();
}

// Clears the flags first: if an exception is flagged already, and traps from here on, it would trap at the next x87
// instruction.
inline void float_mode::load_x87() const noexcept { __asm__ volatile("fnclex\n\tfldcw %0" : : "m"(x87_) : "memory"); }

#elif defined(__aarch64__)

inline void float_mode::read() noexcept { __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr_) : : "memory"); }

inline void float_mode::restore() const noexcept {
    if (of_this_thread().fpcr_ != fpcr_) [[unlikely]] { __asm__ volatile("msr fpcr, %0" : : "r"(fpcr_) : "memory"); }
}

inline void float_mode::begin() const noexcept { restore(); }

#else

inline void float_mode::read() noexcept { std::fegetenv(&all_); }
inline void float_mode::restore() const noexcept { std::fesetenv(&all_); }
inline void float_mode::begin() const noexcept { restore(); }

#endif

// kept_float_mode restores the mode that was set when it was made, unless the mode is kept anyway.
template <bool Anyway>
class kept_float_mode {
public:
    void restore() const noexcept { mode_.restore(); }

private:
    float_mode mode_ = float_mode::of_this_thread();
};

template <>
class kept_float_mode<true> {
public:
    void restore() const noexcept {}
};

}  // namespace handoff::context
