// Sizes of queues and batches. A test build makes them small, so that the limits are reached often.
#pragma once

namespace handoff::base {

// sized returns `ordinary`, or `explored` in the build in which the tests explore schedules (tests/model).
template <class T>
constexpr T sized(T ordinary, [[maybe_unused]] T explored) noexcept {
    return ordinary;
}

}  // namespace handoff::base
