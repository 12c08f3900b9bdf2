// Connecting by name: RFC 8305, in one goroutine.
//
// The attempts are sockets that connect without waiting; one select waits for all of them, for the time at which the next attempt is
// due, and for the deadline. So whatever ends the call, an exception too, destroys the sockets that have not won, and closes them.
// Rejected: a goroutine for each attempt, in a task group. It would need stacks, and a runtime where the caller is a thread, and
// would still have to say who has won.
//
// What woke the select is not asked: each attempt is looked at, before the next one begins. So an attempt that succeeds just as the
// next one is due has won (python-trio/trio#632).
#include <handoff/net/tcp.hpp>

#include "net/descriptor.hpp"
#include "net/socket.hpp"
#include "net/text.hpp"

#include <handoff/net/resolver.hpp>
#include <handoff/net/select.hpp>

#include <algorithm>
#include <list>
#include <string>
#include <vector>

namespace handoff::net {

using namespace handoff::detail;

namespace {

// in_turn orders addresses by their families in turn, the first one's in front, and keeps the order within a family (RFC 8305, 4).
std::vector<endpoint> in_turn(const std::vector<endpoint>& all) {
    std::vector<endpoint> of[2], result;
    for (const endpoint& e : all) of[e.family() != all.front().family()].push_back(e);
    for (std::size_t i = 0; i < std::max(of[0].size(), of[1].size()); ++i)
        for (const auto& family : of)
            if (i < family.size()) result.push_back(family[i]);
    return result;
}

// has_reached says whether such an error came from the host, or its silence, and not from this machine.
bool has_reached(const std::error_code& ec) noexcept {
    for (const std::errc local : {std::errc::network_unreachable, std::errc::host_unreachable, std::errc::address_not_available,
                                  std::errc::address_family_not_supported, std::errc::permission_denied,
                                  std::errc::operation_not_permitted, std::errc::network_down, std::errc::too_many_files_open,
                                  std::errc::too_many_files_open_in_system, std::errc::not_enough_memory, std::errc::no_buffer_space})
        if (ec == local) return false;
    return true;
}

}  // namespace

// Attempts to connect, of which one wins.
class connection_race {
public:
    connection_race(std::vector<endpoint> to, std::chrono::nanoseconds delay) : to_(std::move(to)), delay_(delay) {}

    // run returns the first connection, or none and the error.
    tcp_stream run(std::error_code& ec, const deadline& d) {
        for (;;) {
            if (look() || begin_due()) {
                ec.clear();
                return std::move(winner_);
            }
            if (attempts_.empty()) {
                ec = telling_;
                return {};
            }
            if (time_is_over(d)) {
                ec = std::make_error_code(std::errc::timed_out);
                return {};
            }
            wait(d);
        }
    }

    // report tells what became of each attempt: "[::1]:80: Connection refused, 127.0.0.1:80: no answer yet".
    std::string report() const {
        std::string all = failures_;
        for (const attempt& a : attempts_) all += (all.empty() ? "" : ", ") + a.to.to_string() + ": no answer yet";
        return all;
    }

private:
    struct attempt {
        tcp_stream stream;
        endpoint to;
        bool begun = false;
        bool last = true;   // none has begun after it

        const descriptor_handle& handle() const noexcept { return detail::socket_access::handle(stream); }
    };

    // look looks at all attempts, and drops those that have failed. True: one has won.
    bool look() {
        for (auto a = attempts_.begin(); a != attempts_.end();) {
            const auto next = std::next(a);
            if (step(a)) return true;
            a = next;
        }
        return false;
    }

    // begin_due begins the attempts that are due: where nothing is under way, where the last one has failed, where it has lasted.
    bool begin_due() {
        while (next_ < to_.size() && (attempts_.empty() || clock_now() >= next_at_)) {
            for (attempt& a : attempts_) a.last = false;
            const endpoint& to = to_[next_++];
            next_at_ = deadline_in(delay_);
            std::error_code ec;
            attempts_.push_back({open_stream(to, ec), to});
            if (ec ? failed(std::prev(attempts_.end()), ec) : step(std::prev(attempts_.end()))) return true;
        }
        return false;
    }

    static tcp_stream open_stream(const endpoint& to, std::error_code& ec) {
        tcp_stream s;
        if (!to.is_ip()) {   // as a lookup function of the program may say
            ec = std::make_error_code(std::errc::address_family_not_supported);
            return s;
        }
        s = tcp_stream(open_socket(to.family(), SOCK_STREAM, ec));
        if (!ec) s.set_nodelay(true, ec);
        return s;
    }

    // step looks at an attempt, or begins it. True: it has won.
    bool step(std::list<attempt>::iterator a) {
        std::error_code ec;
        if (!connect_step(a->handle(), a->to, a->begun, ec)) {
            const int unwatched = register_descriptor(a->handle());   // here, as on_writable would throw it
            return unwatched != 0 && failed(a, {unwatched, std::generic_category()});
        }
        if (ec) return failed(a, ec);
        winner_ = std::move(a->stream);
        return true;
    }

    // failed drops an attempt, and returns false.
    bool failed(std::list<attempt>::iterator a, const std::error_code& ec) {
        failures_ += (failures_.empty() ? "" : ", ") + a->to.to_string() + ": " + ec.message();
        if (!telling_ || has_reached(ec) || !has_reached(telling_)) telling_ = ec;
        if (a->last) next_at_ = at_once;
        attempts_.erase(a);
        return false;
    }

    void wait(const deadline& d) {
        const std::int64_t until = std::min(d.steady(), next_ < to_.size() ? next_at_ : no_deadline);
        std::vector<select_case> cases;
        for (const attempt& a : attempts_) cases.emplace_back(on_writable(a.stream, do_nothing()));
        using steady = std::chrono::steady_clock;
        if (until != no_deadline) cases.emplace_back(on_deadline(steady::time_point(std::chrono::nanoseconds(until))));
        select(cases);
    }

    const std::vector<endpoint> to_;
    const std::chrono::nanoseconds delay_;
    std::size_t next_ = 0;
    std::int64_t next_at_ = at_once;   // when the next one is due
    std::list<attempt> attempts_;      // under way
    tcp_stream winner_;
    std::error_code telling_;          // of those that have failed, the one that says most
    std::string failures_;
};

namespace {

// connect_by_name returns the connection, or the error and, of attempts, what to say of them.
tcp_stream connect_by_name(const std::vector<endpoint>& to, const connect_options& o, std::error_code& ec, const deadline& d,
                           std::string* report) {
    connection_race race(in_turn(to), in_range(o.attempt_delay));
    tcp_stream s = race.run(ec, d);
    if (ec && report) *report = race.report();
    return s;
}

resolve_options addresses_of(const connect_options& o) noexcept { return {.family = o.family}; }
resolver& names_of(const connect_options& o) { return o.names ? *o.names : resolver::of_process(); }

}  // namespace

tcp_stream tcp_stream::connect(const host_port& to, const connect_options& o, std::error_code& ec, const deadline& d) {
    const auto found = names_of(o).resolve(to.host, to.port, ec, addresses_of(o), d);
    return ec ? tcp_stream() : connect_by_name(found, o, ec, d, nullptr);
}
tcp_stream tcp_stream::connect(const host_port& to, std::error_code& ec, const deadline& d) {
    return connect(to, connect_options(), ec, d);
}
tcp_stream tcp_stream::connect(const host_port& to, const connect_options& o, const deadline& d) {
    const auto found = names_of(o).resolve(to.host, to.port, addresses_of(o), d);
    std::error_code ec;
    std::string report;
    tcp_stream s = connect_by_name(found, o, ec, d, &report);
    if (!ec) return s;
    std::string what = "handoff: connect to ";
    append_escaped(what, to.to_string());
    throw std::system_error(ec, what + " (" + report + ")");
}
tcp_stream tcp_stream::connect(const host_port& to, const deadline& d) { return connect(to, connect_options(), d); }

}  // namespace handoff::net
