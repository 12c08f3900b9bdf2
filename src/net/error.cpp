#include <handoff/net/error.hpp>

#include <string>

namespace handoff::net {

namespace {

class category final : public std::error_category {
public:
    const char* name() const noexcept override { return "handoff.net"; }
    std::string message(int e) const override {
        switch (static_cast<net_errc>(e)) {
            case net_errc::closed: return "the socket is closed";
            case net_errc::self_connect: return "the connection was made to itself: nobody listens there";
            case net_errc::not_pollable:
                return "the descriptor can't be waited for: it is that of a file, or of another thing that is always ready";
        }
        return "error " + std::to_string(e);
    }
    std::error_condition default_error_condition(int e) const noexcept override {
        switch (static_cast<net_errc>(e)) {
            case net_errc::closed: return std::errc::bad_file_descriptor;
            case net_errc::self_connect: return std::errc::connection_refused;
            case net_errc::not_pollable: return std::errc::operation_not_permitted;
        }
        return {e, *this};
    }
};

}  // namespace

const std::error_category& net_category() noexcept {
    static const category c;
    return c;
}

}  // namespace handoff::net
