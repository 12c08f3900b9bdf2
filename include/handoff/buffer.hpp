// Memory that is read into and written from.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>

namespace handoff {

class const_buffer;
class buffer;

namespace detail {

// A range of buffers or of pointers is no memory to be sent.
template <class T>
concept byte_like = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::same_as<T, const_buffer> && !std::same_as<T, buffer>;

template <class R>
concept bytes_of = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> && byte_like<std::ranges::range_value_t<R>>;

template <class R>
concept writable_bytes_of = bytes_of<R> && !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>> &&
                            (std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>);

}  // namespace detail

// Memory to read from. Made of any array, std::string, std::string_view, std::vector, std::array or std::span of trivially
// copyable elements, all bytes of it. A string literal is its text, without the 0 at its end; an array of char that is not const
// is not taken for either. It does not own what it refers to.
class const_buffer {
public:
    constexpr const_buffer() noexcept = default;
    constexpr const_buffer(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <detail::bytes_of R>
        requires(!std::is_array_v<std::remove_reference_t<R>> || !std::same_as<std::ranges::range_value_t<R>, char>)
    const_buffer(R&& r) noexcept   // NOLINT(*forwarding*,*explicit*)
        : data_(std::ranges::data(r)), size_(std::ranges::size(r) * sizeof(std::ranges::range_value_t<R>)) {}

    template <std::same_as<const char> Char, std::size_t n>
    constexpr const_buffer(Char (&text)[n]) noexcept : data_(text), size_(std::char_traits<char>::length(text)) {}   // NOLINT

    constexpr const void* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    // The rest, from the n-th byte on; n is at most size().
    const_buffer from(std::size_t n) const noexcept { return {static_cast<const std::byte*>(data_) + n, size_ - n}; }

private:
    const void* data_ = nullptr;
    std::size_t size_ = 0;
};

// Memory to write to; made in the same way, and of what is not const. An array of char is taken as it is.
class buffer {
public:
    constexpr buffer() noexcept = default;
    constexpr buffer(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <detail::writable_bytes_of R>
    buffer(R&& r) noexcept   // NOLINT(*forwarding*,*explicit*)
        : data_(std::ranges::data(r)), size_(std::ranges::size(r) * sizeof(std::ranges::range_value_t<R>)) {}

    constexpr void* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    buffer from(std::size_t n) const noexcept { return {static_cast<std::byte*>(data_) + n, size_ - n}; }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace handoff
