// In place of src/base/sizes.hpp.
#pragma once

namespace handoff::base {

template <class T>
constexpr T sized([[maybe_unused]] T ordinary, T explored) noexcept {
    return explored;
}

}  // namespace handoff::base
