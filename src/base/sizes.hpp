// Sizes of queues and batches, which a test build makes small so that what happens at their ends happens often.
#pragma once

namespace handoff::base {

// sized is `ordinary`; where the tests explore schedules (tests/model), `explored`.
template <class T>
constexpr T sized(T ordinary, [[maybe_unused]] T explored) noexcept {
    return ordinary;
}

}  // namespace handoff::base
