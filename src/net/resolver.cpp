// A lookup is shared by the goroutine that makes it and the one that waits for it; the last of the two frees it. So neither has to
// know whether the other one is still there.
//
// A place among the lookups that may run at one time is taken by who waits, before the goroutine is started: so a caller whose
// deadline comes first leaves nothing behind. From then on it is the goroutine's. It gives the place back before it tells the waiter,
// who then finds it free.
//
// Not done: equal lookups at the same time do not share one getaddrinfo. Caches for that (nscd, systemd-resolved) are where answers
// may be kept longer, too.
#include <handoff/net/resolver.hpp>

#include "net/descriptor.hpp"
#include "net/resolver.hpp"
#include "net/simulated_network.hpp"
#include "net/text.hpp"
#include "os/errno.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/event.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/semaphore.hpp>
#include <handoff/syscall.hpp>
#include <handoff/thread_stack.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

namespace handoff::net {

using namespace handoff::detail;

struct resolver::state {
    explicit state(resolver_options o);

    const lookup_function lookup;
    counting_semaphore<> places;
};

// A place among the lookups that may run at one time.
class resolver::place {
public:
    explicit place(std::shared_ptr<state> of) noexcept : of_(std::move(of)) {}   // it was taken
    place(place&&) noexcept = default;
    ~place() { give_back(); }
    void give_back() noexcept {
        if (const auto of = std::exchange(of_, nullptr)) of->places.release();
    }
    const lookup_function& lookup() const noexcept { return of_->lookup; }

private:
    std::shared_ptr<state> of_;
};

namespace {

class category final : public std::error_category {
public:
    const char* name() const noexcept override { return "handoff.resolver"; }
    std::string message(int e) const override { return ::gai_strerror(e); }
    std::error_condition default_error_condition(int e) const noexcept override {
        if (e == EAI_AGAIN) return std::errc::resource_unavailable_try_again;
        return {e, *this};
    }
};

// What is shared by who looks up and who waits.
struct lookup {
    // Written before `done` is set, read afterwards.
    std::vector<endpoint> found;
    std::error_code ec;
    std::exception_ptr thrown;
    event done;
};

// within waits by forever(), or until(t) where there is a deadline. False: the time was over first.
template <class Forever, class Until>
bool within(const deadline& d, Forever forever, Until until) {
    if (d.steady() == no_deadline) {
        forever();
        return true;
    }
    do
        if (until(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(d.steady())))) return true;
    while (!d.over());
    return false;
}

// is_asked_for brings an address into the family that is asked for; false if it has none of it.
bool is_asked_for(address& a, const resolve_options& o) noexcept {
    if (o.family == ip_family::v6 && o.v4_mapped) a = a.to_v4_mapped();
    return o.family == ip_family::any || (o.family == ip_family::v6) == a.is_v6();
}

// check_host reads an address, if it is one.
problem check_host(std::string_view host, std::optional<address>& ip) noexcept {
    if (host.empty()) return invalid("it is empty");
    address a;
    const problem no_address = read_address(host, a);
    if (!no_address) {
        ip = a;
        return {};
    }
    if (host.find(':') != host.npos) return no_address;
    if (const problem p = check_host_name(host)) return p;
    char text[256];   // longer than any name
    text[host.copy(text, sizeof text - 1)] = '\0';
    in_addr old;
    if (::inet_aton(text, &old) != 0) return invalid("an IPv4 address has four decimal parts");
    return {};
}

// check_service reads a port, if it is one.
problem check_service(std::string_view service, std::optional<std::uint16_t>& port) noexcept {
    if (service.empty()) return invalid("it is empty");
    if (service.find_first_not_of("0123456789") == service.npos) {
        const auto n = read_decimal(service);
        if (!n || *n > 65535) return invalid("a port is a decimal number from 0 to 65535");
        port = static_cast<std::uint16_t>(*n);
        return {};
    }
    // getaddrinfo takes "-1" and "+1" for ports.
    if (service.starts_with('-') || check_host_name(service))
        return invalid("a service is made of letters, digits, \".\", \"-\" and \"_\"");
    return {};
}

// ---- What is called in the lookup's goroutine ----

std::vector<endpoint> simulated_lookup(const simulated_network& n, const lookup_request& r, std::error_code& ec) {
    std::optional<std::uint16_t> port;
    if (check_service(r.service, port) || !port) {
        ec = resolve_errc::service_not_found;
        return {};
    }
    const std::vector<address>* all = n.addresses_of(r.host);
    if (!all) {
        ec = resolve_errc::host_not_found;
        return {};
    }
    std::vector<endpoint> found;
    for (const bool mapped : {false, true}) {   // as AI_V4MAPPED does: only if there are no others
        resolve_options o = r.options;
        o.v4_mapped = mapped;
        if (mapped && (!found.empty() || !r.options.v4_mapped)) break;
        for (address a : *all)
            if (is_asked_for(a, o)) found.emplace_back(a, *port);
    }
    if (found.empty()) ec = resolve_errc::no_address;
    return found;
}

std::vector<endpoint> system_lookup(const lookup_request& r, std::error_code& ec) {
    if (const simulated_network* n = current_network()) return simulated_lookup(*n, r, ec);
    addrinfo hints{};
    hints.ai_family = r.options.family == ip_family::v4 ? AF_INET : r.options.family == ip_family::v6 ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = r.options.udp ? SOCK_DGRAM : SOCK_STREAM;   // else each address comes once for each type
    hints.ai_flags = (r.options.v4_mapped ? AI_V4MAPPED : 0) | (r.options.only_configured ? AI_ADDRCONFIG : 0);
    addrinfo* all = nullptr;
    int system = 0;
    // On the thread's stack: what it calls, the modules of nsswitch.conf, may need more than a goroutine has.
    const int e = call_on_thread_stack([&] {
        const int result = ::getaddrinfo(r.host.c_str(), r.service.c_str(), &hints, &all);
        system = os::get_errno();
        return result;
    });
    if (e != 0) {
        ec = lookup_error(e, system);
        return {};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> at_end(all, ::freeaddrinfo);
    std::vector<endpoint> found;
    for (const addrinfo* a = all; a; a = a->ai_next)
        if (a->ai_family == AF_INET || a->ai_family == AF_INET6) found.push_back(endpoint::from(a->ai_addr, a->ai_addrlen));
    return found;
}

// look_up_into calls the function and keeps its result. What it throws is the waiter's.
void look_up_into(lookup& l, const lookup_function& f, const lookup_request& r) noexcept {
    try {
        const syscall_guard guard(handoff_policy::immediate);
        for (const endpoint& e : f(r, l.ec))
            if (std::find(l.found.begin(), l.found.end(), e) == l.found.end()) l.found.push_back(e);   // hosts files repeat them
        if (l.ec) l.found.clear();
        else if (l.found.empty()) l.ec = resolve_errc::no_address;
    } catch (...) {
        l.thrown = std::current_exception();
    }
}

// or_throw_of throws what ec says, with the name of the host.
void or_throw_of(const std::error_code& ec, std::string_view host) {
    if (!ec) return;
    std::string what = "handoff: resolve \"";
    append_escaped(what, host);
    what += '"';
    if (in_simulation() && ec == resolve_errc::host_not_found) what += " (a simulation knows network_options::hosts alone)";
    throw std::system_error(ec, what);
}

}  // namespace

const std::error_category& resolver_category() noexcept {
    static const category c;
    return c;
}

std::error_code lookup_error(int result, int system) noexcept {
    switch (result) {
        case EAI_SYSTEM: return {system, std::generic_category()};
        case EAI_MEMORY: return std::make_error_code(std::errc::not_enough_memory);
        case EAI_FAMILY:
#ifdef EAI_ADDRFAMILY
        case EAI_ADDRFAMILY:
#endif
            return std::make_error_code(std::errc::address_family_not_supported);
        default: return {result, resolver_category()};
    }
}

resolver::state::state(resolver_options o)
    : lookup(o.lookup ? std::move(o.lookup) : system_lookup), places(static_cast<std::ptrdiff_t>(o.max_lookups)) {}

resolver::resolver(resolver_options o) {
    if (o.max_lookups == 0 || o.max_lookups > static_cast<std::size_t>(counting_semaphore<>::max()))
        throw std::invalid_argument("handoff: resolver_options.max_lookups is not between 1 and 2^63 - 1");
    state_ = std::make_shared<state>(std::move(o));
}
resolver::~resolver() = default;

resolver& resolver::of_process() {
    static resolver* const r = new resolver;   // goroutines may use it while the process ends
    return *r;
}

std::vector<endpoint> resolver::look_up(lookup_request r, std::error_code& ec, const deadline& d) {
    sched* const runtime = sched_that_waits();
    auto& places = state_->places;
    if (!within(d, [&] { places.acquire(); }, [&](auto t) { return places.try_acquire_until(t); })) {
        ec = std::make_error_code(std::errc::timed_out);
        return {};
    }
    place mine(state_);
    if (time_is_over(d)) {   // nobody would wait for it
        ec = std::make_error_code(std::errc::timed_out);
        return {};
    }
    const auto l = std::make_shared<lookup>();
    const spawn_options how{.name = "resolver"};
    (void)spawn_callable(
        runtime,
        [l, mine = std::move(mine), r = std::move(r)]() mutable {
            look_up_into(*l, mine.lookup(), r);
            mine.give_back();
            l->done.set();
        },
        &how, {how.site, nullptr});
    if (!within(d, [&] { l->done.wait(); }, [&](auto t) { return l->done.wait_until(t); })) {
        ec = std::make_error_code(std::errc::timed_out);
        return {};
    }
    if (l->thrown) std::rethrow_exception(std::exchange(l->thrown, nullptr));   // the lookup's goroutine has no part in it any more
    ec = l->ec;
    return std::move(l->found);
}

// What is wrong with a call: with one of its texts, or what the lookup says.
struct resolver::failure {
    const char* what = nullptr;
    std::string_view text;
    problem of_text;
    std::error_code ec;

    void set(const char* of, std::string_view t, const problem& p) noexcept {
        what = of;
        text = t;
        of_text = p;
        ec = p.code;
    }
};

std::vector<endpoint> resolver::find(std::string_view host, std::string_view service, const resolve_options& o, failure& f,
                                     const deadline& d) {
    std::optional<address> ip;
    std::optional<std::uint16_t> port;
    if (const problem p = check_host(host, ip)) {
        f.set("host", host, p);
        return {};
    }
    if (const problem p = check_service(service, port)) {
        f.set("service", service, p);
        return {};
    }
    if (ip && !is_asked_for(*ip, o)) {
        f.set("host", host, {"it is an address of the other family", std::make_error_code(std::errc::address_family_not_supported)});
        return {};
    }
    if (ip && port) return {endpoint(*ip, *port)};
    return look_up({std::string(host), std::string(service), o}, f.ec, d);
}

std::vector<endpoint> resolver::resolve(std::string_view host, std::string_view service, std::error_code& ec, const resolve_options& o,
                                        const deadline& d) {
    failure f;
    auto found = find(host, service, o, f, d);
    ec = f.ec;
    return found;
}
std::vector<endpoint> resolver::resolve(std::string_view host, std::string_view service, const resolve_options& o, const deadline& d) {
    failure f;
    auto found = find(host, service, o, f, d);
    if (f.of_text) fail(f.what, f.text, f.of_text);
    or_throw_of(f.ec, host);
    return found;
}
std::vector<endpoint> resolver::resolve(std::string_view host, std::uint16_t port, std::error_code& ec, const resolve_options& o,
                                        const deadline& d) {
    return resolve(host, std::string_view(std::to_string(port)), ec, o, d);
}
std::vector<endpoint> resolver::resolve(std::string_view host, std::uint16_t port, const resolve_options& o, const deadline& d) {
    return resolve(host, std::string_view(std::to_string(port)), o, d);
}

}  // namespace handoff::net
