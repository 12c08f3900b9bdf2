// iovecs: buffers, as system calls take them.
#pragma once

#include <algorithm>
#include <climits>
#include <cstddef>
#include <span>
#include <sys/uio.h>

namespace handoff::net {

// Up to this number of buffers take part in a call.
inline constexpr std::size_t most_buffers = 64;
static_assert(most_buffers <= IOV_MAX);

struct iovecs {
    iovec all[most_buffers];
    std::size_t count = 0, bytes = 0;

    template <class B>
    explicit iovecs(std::span<const B> buffers) noexcept {
        for (const B& b : buffers.first(std::min(buffers.size(), most_buffers))) {
            all[count++] = {const_cast<void*>(static_cast<const void*>(b.data())), b.size()};
            bytes += b.size();
        }
    }
};

}  // namespace handoff::net
