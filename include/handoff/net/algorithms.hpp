// Reading and writing as much as was asked for, on any stream.
#pragma once

#include <handoff/buffer.hpp>
#include <handoff/deadline.hpp>
#include <handoff/io_error.hpp>
#include <handoff/net/error.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

namespace handoff::net {

// What the algorithms below work on: streams that are read, as a tcp_stream, a unix_stream or a pipe_reader, streams that are written,
// as the former two or a pipe_writer, or types of your own.
template <class S>
concept readable_stream = requires(S& s, const mutable_buffer& into, std::error_code& ec, const deadline& d) {
    { s.read_some(into, ec, d) } -> std::convertible_to<std::size_t>;
    s.close();
};
template <class S>
concept writable_stream = requires(S& s, const const_buffer& from, std::error_code& ec, const deadline& d) {
    { s.write_some(from, ec, d) } -> std::convertible_to<std::size_t>;
    s.close();
};

// A stream in both directions, of which the one that is written can be ended.
template <class S>
concept stream = readable_stream<S> && writable_stream<S> && requires(S& s, std::error_code& ec) { s.shutdown_write(ec); };

// write_all writes all of `from`, and returns its size; with an error how much was written. The other form throws io_error.
// The deadline is for all of it. If another goroutine writes to the stream meanwhile, the two texts are mixed.
template <writable_stream S>
std::size_t write_all(S& s, const_buffer from, std::error_code& ec, const deadline& d = {}) {
    ec.clear();
    std::size_t done = 0;
    while (done < from.size()) {
        const std::size_t n = s.write_some(from.from(done), ec, d);
        if (ec) break;
        done += n;
    }
    return done;
}
template <writable_stream S>
std::size_t write_all(S& s, const_buffer from, const deadline& d = {}) {
    std::error_code ec;
    const std::size_t n = write_all(s, from, ec, d);
    if (ec) throw io_error(ec, "write_all", n);
    return n;
}

// read_exactly fills all of `into`, and returns its size. If the stream ends before, the error is io_errc::end_of_file; with an
// error it returns how much was read. The other form throws io_error.
template <readable_stream S>
std::size_t read_exactly(S& s, mutable_buffer into, std::error_code& ec, const deadline& d = {}) {
    ec.clear();
    std::size_t done = 0;
    while (done < into.size()) {
        const std::size_t n = s.read_some(into.from(done), ec, d);
        if (ec) break;
        if (n == 0) {
            ec = io_errc::end_of_file;
            break;
        }
        done += n;
    }
    return done;
}
template <readable_stream S>
std::size_t read_exactly(S& s, mutable_buffer into, const deadline& d = {}) {
    std::error_code ec;
    const std::size_t n = read_exactly(s, into, ec, d);
    if (ec) throw io_error(ec, "read_exactly", n);
    return n;
}

// read_until appends to `text` until that contains `delimiter`, and returns the length up to its end; what was read beyond stays in
// `text`, and is where the next call looks first. The stream's end before that is io_errc::end_of_file, and a text of `most` bytes
// without the delimiter std::errc::message_size; `text` has what was read until then. The result is 0 then. Linear in what is read.
template <readable_stream S>
std::size_t read_until(S& s, std::string& text, std::string_view delimiter, std::size_t most, std::error_code& ec, const deadline& d = {}) {
    ec.clear();
    char block[4096];   // what is read comes into `text` afterwards, so that a cancellation leaves it as it is
    for (std::size_t looked = 0;;) {
        const std::size_t at = text.find(delimiter, looked < delimiter.size() ? 0 : looked - delimiter.size() + 1);
        if (at != text.npos && at + delimiter.size() <= most) return at + delimiter.size();
        looked = text.size();
        if (looked >= most || at != text.npos) {
            ec = std::make_error_code(std::errc::message_size);
            return 0;
        }
        const std::size_t n = s.read_some(mutable_buffer(block, std::min(most - looked, sizeof block)), ec, d);
        text.append(block, n);
        if (!ec && n == 0) ec = io_errc::end_of_file;
        if (ec) return 0;
    }
}
template <readable_stream S>
std::size_t read_until(S& s, std::string& text, std::string_view delimiter, std::size_t most, const deadline& d = {}) {
    std::error_code ec;
    const std::size_t n = read_until(s, text, delimiter, most, ec, d);
    if (ec) throw std::system_error(ec, "handoff: read_until");
    return n;
}

}  // namespace handoff::net
