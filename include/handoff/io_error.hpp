// io_error, io_errc: how reading and writing fail.
#pragma once

#include <handoff/detail/export.hpp>

#include <cstddef>
#include <string>
#include <system_error>
#include <type_traits>

namespace handoff {

// What goes wrong in reading and writing without an error of the system.
enum class io_errc {
    end_of_file = 1,   // the data ended before as much was read as was asked for
};

// The category of these, "handoff.io". Any thread.
HANDOFF_API const std::error_category& io_category() noexcept;
inline std::error_code make_error_code(io_errc e) noexcept { return {static_cast<int>(e), io_category()}; }

// What the throwing forms of reading and writing functions throw. what() names the operation and the file:
//
//     handoff: write to /srv/data: No space left on device
//
// transferred() tells how many bytes were read or written before the failure. The forms with a std::error_code return that
// number. Copies share their text, so copying does not throw.
class HANDOFF_API io_error : public std::system_error {
public:
    // "handoff: `what`: the message of ec".
    io_error(std::error_code ec, const std::string& what, std::size_t transferred);
    ~io_error() override;

    std::size_t transferred() const noexcept { return transferred_; }

private:
    std::size_t transferred_;
};

}  // namespace handoff

template <>
struct std::is_error_code_enum<handoff::io_errc> : std::true_type {};
