#include <handoff/io_error.hpp>

namespace handoff {

namespace {

class category final : public std::error_category {
public:
    const char* name() const noexcept override { return "handoff.io"; }
    std::string message(int code) const override {
        if (code == static_cast<int>(io_errc::end_of_file)) return "the data ended too early";
        return "unknown error " + std::to_string(code);
    }
};

}  // namespace

const std::error_category& io_category() noexcept {
    static const category only;
    return only;
}

io_error::io_error(std::error_code ec, const std::string& what, std::size_t transferred)
    : std::system_error(ec, "handoff: " + what), transferred_(transferred) {}

io_error::~io_error() = default;   // here, so that its type is the same in all libraries

}  // namespace handoff
