// Texts and sockaddrs of any kind: whatever is taken for an address, an endpoint or a host is printed as something that is taken
// for the same, and both forms of a function agree. The first byte chooses what the others are.
#include "fuzz.hpp"

#include <handoff/net/address.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>

namespace {

using handoff::net::address;
using handoff::net::endpoint;
using handoff::net::host_port;

// The longest path that may be given; the kernel may say one more byte of a peer's.
constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;

bool is_printable(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// parse says whether the text is taken for a T; both forms have to say the same.
template <class T>
bool parse(std::string_view text, T& value) {
    std::error_code ec = std::make_error_code(std::errc::io_error);
    value = T::parse(text, ec);
    try {
        FUZZ_CHECK(T::parse(text) == value && !ec);
        return true;
    } catch (const std::system_error& e) {
        FUZZ_CHECK(e.code() == ec && ec && value == T());
        FUZZ_CHECK(is_printable(e.what()));
        return false;
    }
}

template <class T>
void check_text_of(const T& value) {
    T again;
    FUZZ_CHECK(parse(value.to_string(), again) && again == value);
}

void check_address(std::string_view text) {
    address a;
    if (!parse(text, a)) return;
    check_text_of(a);
    FUZZ_CHECK(is_printable(a.to_string()) && text.find('\0') == text.npos);
    FUZZ_CHECK(a.scope() != 0 || a.to_v4_mapped().unmap() == a.unmap());
    FUZZ_CHECK(endpoint(a, 1).ip() == a);
}

void check_endpoint(const endpoint& e) {
    FUZZ_CHECK(endpoint::from(e.data(), e.size()) == e);
    FUZZ_CHECK(std::hash<endpoint>()(endpoint::from(e.data(), e.size())) == std::hash<endpoint>()(e));
    FUZZ_CHECK(is_printable(e.to_string()));
    if ((e.is_ip() || e.is_unix()) && e.path().size() <= longest_path) check_text_of(e);
}

void check_host(std::string_view text) {
    host_port h;
    if (!parse(text, h)) return;
    check_text_of(h);
    FUZZ_CHECK(host_port::parse(text, 1) == h);
    FUZZ_CHECK(std::none_of(h.host.begin(), h.host.end(), [](char c) { return c == '\0' || c == ' ' || c == '/'; }));
}

void check_sockaddr(std::string_view bytes) {
    sockaddr_storage s{};
    std::memcpy(&s, bytes.data(), std::min(bytes.size(), sizeof s));
    const auto size = static_cast<socklen_t>(bytes.size());
    std::error_code ec;
    const auto e = endpoint::from(reinterpret_cast<const sockaddr*>(&s), size, ec);
    endpoint written;
    std::memcpy(written.storage(), &s, sizeof s);
    written.set_size(size);
    FUZZ_CHECK(written == e);
    if (!ec) check_endpoint(e);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
    switch (data[0] % 4) {
        case 0: check_address(rest); break;
        case 1:
            if (endpoint e; parse(rest, e)) check_endpoint(e);
            break;
        case 2: check_host(rest); break;
        default: check_sockaddr(rest);
    }
    return 0;
}
