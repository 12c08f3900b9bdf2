// mutable_buffer, const_buffer: bytes to read into, or to write. Reading and writing functions take them as parameters.
//
// They are views, as std::span is: they own nothing, and what they show has to live as long as the call. They are made
// implicitly of what holds bytes (char, signed char, unsigned char, std::byte) next to each other: arrays, std::vector,
// std::span, std::string. Other objects are passed as std::as_writable_bytes(...) or as {pointer, size}.
#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <string_view>
#include <type_traits>

namespace handoff {

namespace detail {

template <class T>
concept byte_like = std::same_as<T, char> || std::same_as<T, signed char> || std::same_as<T, unsigned char> ||
                    std::same_as<T, std::byte>;

template <class R>
concept bytes_in_memory = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
                          byte_like<std::remove_cv_t<std::remove_reference_t<std::ranges::range_reference_t<R>>>>;

template <class R>
concept writable_bytes = bytes_in_memory<R> && !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>>;

}  // namespace detail

// Bytes that a read overwrites.
class mutable_buffer {
public:
    constexpr mutable_buffer() noexcept = default;
    constexpr mutable_buffer(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    // All elements of the range. A std::string is overwritten, up to its size; it does not grow.
    template <detail::writable_bytes R>
        requires(!std::same_as<std::remove_cvref_t<R>, mutable_buffer>)
    constexpr mutable_buffer(R&& range) noexcept : data_(std::ranges::data(range)), size_(std::ranges::size(range)) {}

    constexpr void* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    // The rest, from the n-th byte on; n is at most size().
    mutable_buffer from(std::size_t n) const noexcept { return {static_cast<std::byte*>(data_) + n, size_ - n}; }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

// Bytes that a write takes.
class const_buffer {
public:
    constexpr const_buffer() noexcept = default;
    constexpr const_buffer(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    constexpr const_buffer(mutable_buffer b) noexcept : data_(b.data()), size_(b.size()) {}
    // Text, as std::string_view sees it: a string literal is written without its final NUL.
    template <std::convertible_to<std::string_view> T>
    constexpr const_buffer(const T& text) noexcept : const_buffer(std::string_view(text)) {}
    constexpr const_buffer(std::string_view text) noexcept : data_(text.data()), size_(text.size()) {}
    // All elements of the range.
    template <detail::bytes_in_memory R>
        requires(!std::convertible_to<const R&, std::string_view>)
    constexpr const_buffer(const R& range) noexcept : data_(std::ranges::data(range)), size_(std::ranges::size(range)) {}
    // An array of char may be a text that ends before the array does, or bytes. Say which: std::string_view(a), std::span(a).
    template <std::size_t n>
    const_buffer(char (&)[n]) = delete;

    constexpr const void* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    // The rest, from the n-th byte on; n is at most size().
    const_buffer from(std::size_t n) const noexcept { return {static_cast<const std::byte*>(data_) + n, size_ - n}; }

private:
    const void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace handoff
