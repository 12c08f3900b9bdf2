// resolver: the addresses of a host by its name.
//
// A name is looked up by getaddrinfo, which can be neither cancelled nor limited in time: where no name server answers it takes
// tens of seconds. So it runs in a goroutine of its own, under a guard. Who has asked waits for that goroutine, parked, until its
// deadline or a cancellation, and leaves it alone then. A lookup that was left alone goes on, and keeps its thread and its place
// among those that may run at one time (resolver_options::max_lookups); what it finds is thrown away. A runtime ends when the
// lookups of its goroutines have ended, too.
//
//     for (const net::endpoint& e : net::resolver::of_process().resolve("example.com", 443, {}, 5s)) ...
//
// To connect to a name: connect in tcp.hpp.
#pragma once

#include <handoff/deadline.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/net/address.hpp>

#include <netdb.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace handoff::net {

// Errors of getaddrinfo; others than these may come, too. What it says of the system (EAI_SYSTEM) is an error of the generic
// category, and so are EAI_MEMORY (not_enough_memory) and EAI_FAMILY, EAI_ADDRFAMILY (address_family_not_supported).
enum class resolve_errc {
    host_not_found = EAI_NONAME,        // no such host
    no_address = -5,                    // EAI_NODATA: the host is known, but has no address
    try_again = EAI_AGAIN,              // no name server has answered, or none could be asked, for now
    failed = EAI_FAIL,                  // a name server has refused
    service_not_found = EAI_SERVICE,    // no such service
};

// The category of these, "handoff.resolver", with getaddrinfo's messages. Any thread.
HANDOFF_API const std::error_category& resolver_category() noexcept;
inline std::error_code make_error_code(resolve_errc e) noexcept { return {static_cast<int>(e), resolver_category()}; }

enum class ip_family : std::uint8_t { any, v4, v6 };

struct resolve_options {
    ip_family family = ip_family::any;
    bool v4_mapped = false;          // with ip_family::v6: IPv4 addresses as v4-mapped ones, if there are no others (AI_V4MAPPED)
    bool only_configured = false;    // a family only if this machine has an address of it, besides loopback (AI_ADDRCONFIG)
    bool udp = false;                // the service is one of UDP; otherwise one of TCP
};

// What is to be looked up.
struct lookup_request {
    std::string host;      // a name, as host_port::parse reads it; with a service that is a name, an address, too
    std::string service;   // a name, or a port in decimal
    resolve_options options;
};

// lookup_function does what getaddrinfo does: it returns the endpoints, those to be tried first in front, or sets the error code.
// It may block, and throw. Several calls at the same time are made of it.
using lookup_function = std::function<std::vector<endpoint>(const lookup_request&, std::error_code&)>;

struct resolver_options {
    std::size_t max_lookups = 64;   // at one time, those that were left alone among them; each may have a thread. At least 1
    lookup_function lookup{};       // in getaddrinfo's place, for tests, or for another source of names; called under a guard
};

// Any thread or goroutine may use a resolver, several at the same time. It may be destroyed while lookups that were left alone go on.
class resolver {
public:
    // Throws std::invalid_argument, which names the bad option.
    HANDOFF_API explicit resolver(resolver_options o = {});
    HANDOFF_API ~resolver();
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;

    // of_process is the one that is used where no other is named. It has the default options, and is never destroyed.
    HANDOFF_API static resolver& of_process();

    // resolve returns the endpoints of a host, at least one, in getaddrinfo's order (RFC 6724), each once. An address, as
    // address::parse reads it, and a port need no lookup: then it neither waits nor switches. What getaddrinfo would take for an
    // address besides (127.1, 0x7f.1, 010.0.0.1) is no host here: invalid_argument, as for other text that is none. A service is a
    // port in decimal, or a name of the system's list (http).
    //
    // Waiting, also for one of max_lookups, ends at the deadline with timed_out, and is a cancellation point. The goroutine may move
    // to another thread. Further errors: those of address::parse for an IPv6 address; address_family_not_supported for an address of
    // a family that is not asked for; resolve_errc. What a lookup function throws is thrown here. The lookup runs in the caller's
    // runtime; of a thread that runs no goroutine that is the default one, and it throws usage_error if that was not asked for
    // (default_runtime()). Throws std::bad_alloc.
    //
    // In a simulation no name server is asked: localhost is known, and what network_options::hosts has. Services are numbers there.
    HANDOFF_API std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, const resolve_options& o = {},
                                              const deadline& d = {});
    HANDOFF_API std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, std::error_code& ec,
                                              const resolve_options& o = {}, const deadline& d = {});
    HANDOFF_API std::vector<endpoint> resolve(std::string_view host, std::string_view service, const resolve_options& o = {},
                                              const deadline& d = {});
    HANDOFF_API std::vector<endpoint> resolve(std::string_view host, std::string_view service, std::error_code& ec,
                                              const resolve_options& o = {}, const deadline& d = {});

private:
    struct state;
    class place;
    struct failure;
    std::vector<endpoint> find(std::string_view host, std::string_view service, const resolve_options& o, failure& f,
                               const deadline& d);
    std::vector<endpoint> look_up(lookup_request r, std::error_code& ec, const deadline& d);

    std::shared_ptr<state> state_;
};

}  // namespace handoff::net

template <>
struct std::is_error_code_enum<handoff::net::resolve_errc> : std::true_type {};
