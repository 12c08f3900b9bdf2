// How a socket refers to its descriptor (src/net/descriptor.hpp).
#pragma once

#include <handoff/detail/export.hpp>

#include <cstdint>
#include <utility>

namespace handoff::detail {

struct descriptor;

// Owns a descriptor, which it closes when it is destroyed. Its functions may be called while others use the same handle, but for
// moves and the destructor. A closed handle stays closed.
class descriptor_handle {
public:
    constexpr descriptor_handle() noexcept = default;
    descriptor_handle(descriptor* d, std::uint32_t generation) noexcept : d_(d), generation_(generation) {}
    descriptor_handle(descriptor_handle&& other) noexcept
        : d_(std::exchange(other.d_, nullptr)), generation_(other.generation_) {}
    descriptor_handle& operator=(descriptor_handle&& other) noexcept {
        descriptor_handle old(std::move(*this));
        d_ = std::exchange(other.d_, nullptr);
        generation_ = other.generation_;
        return *this;
    }
    ~descriptor_handle() { close(); }

    // close closes the descriptor, once no operation is under way. Goroutines that wait for it go on with the error closed.
    void close() const noexcept {
        if (d_) close_descriptor();
    }
    HANDOFF_API bool is_open() const noexcept;
    // number is the file descriptor; -1 if it is closed. It may be closed, and used again, at any time, unless the caller keeps others
    // from that.
    HANDOFF_API int number() const noexcept;

    descriptor* get() const noexcept { return d_; }
    std::uint32_t generation() const noexcept { return generation_; }

private:
    HANDOFF_API void close_descriptor() const noexcept;

    descriptor* d_ = nullptr;   // null: it never had one, or was moved from
    std::uint32_t generation_ = 0;
};

}  // namespace handoff::detail
