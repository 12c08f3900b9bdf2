// A process object is a child (child.hpp) and its pipes (spawn.hpp).
//
// The child is made by posix_spawn, and its pidfd afterwards by pidfd_open: nobody else may wait for the child, so the number
// is still its own. Rejected: clone3 with CLONE_PIDFD and a child of our own, which would have to do what posix_spawn does, on
// a stack of its own, without being allowed to allocate, to lock, or to be interrupted by a handler of the program.
#include <handoff/net/process.hpp>

#include "net/child.hpp"
#include "net/operation.hpp"
#include "net/signal_name.hpp"
#include "net/socket.hpp"
#include "net/spawn.hpp"
#include "os/clock.hpp"
#include "os/errno.hpp"
#include "sched/simulation_hooks.hpp"

#include <handoff/goroutine.hpp>
#include <handoff/net/poll_fd.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <unistd.h>
#include <utility>

namespace handoff::net {

using namespace handoff::detail;

namespace {

// next_look is when to look again, for what no event tells of.
std::chrono::steady_clock::time_point next_look(pauses& p, const deadline& d) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(std::min(d.steady(), os::nanotime() + p.next())));
}

// wait_in_pauses waits for a child without a pidfd.
void wait_in_pauses(detail::child& c, std::error_code& ec, const deadline& d) {
    ec.clear();
    for (pauses p; c.look() != 0;) {
        const int error = os::get_errno();
        if (error != EAGAIN) ec.assign(error, std::generic_category());
        else if (time_is_over(d)) ec = std::make_error_code(std::errc::timed_out);
        if (ec) return;
        this_goroutine::sleep_until(next_look(p, d));
    }
}

}  // namespace

std::string exit_status::to_string() const {
    if (exited()) return "exited with code " + std::to_string(code_);
    return "killed by " + signal_name(signal_) + (core_ ? " (core dumped)" : "");
}

// ---- process ----

process::process() noexcept = default;
process::process(process&& other) noexcept = default;
process& process::operator=(process&& other) noexcept {
    process old(std::move(*this));
    child_ = std::move(other.child_);
    in_ = std::move(other.in_);
    out_ = std::move(other.out_);
    err_ = std::move(other.err_);
    return *this;
}
process::~process() {
    if (child_) child_->end();
}

process process::start_or_say(const process_options& o, std::error_code& ec, std::string& what) {
    if (in_simulation()) refuse_in_simulation("a child process");
    auto child = std::make_unique<detail::child>();   // before there is one, since it may fail
    detail::child_streams s;
    what = o.program + (o.directory.empty() ? "" : " in directory " + o.directory);
    s.open(o, ec, what);
    if (!ec) child->pid = detail::spawn(o, s, ec);
    process p;
    if (ec) return p;
    child->open_pidfd();
    p.child_ = std::move(child);
    p.in_ = std::move(s.in);
    p.out_ = std::move(s.out);
    p.err_ = std::move(s.err);
    return p;
}
process process::start(const process_options& o, std::error_code& ec) {
    std::string what;
    return start_or_say(o, ec, what);
}
process process::start(const process_options& o) {
    std::error_code ec;
    std::string what;
    process p = start_or_say(o, ec, what);
    if (ec) throw std::system_error(ec, "handoff: start of " + what);
    return p;
}

pid_t process::pid() const noexcept { return child_ ? child_->pid : -1; }

exit_status process::wait(std::error_code& ec, const deadline& d) {
    if (!child_) {
        ec = std::make_error_code(std::errc::no_child_process);
        return {};
    }
    if (!child_->pidfd.get()) wait_in_pauses(*child_, ec, d);
    else perform(child_->pidfd, direction::read, d, ec, 0, [&](int) { return child_->look(); });
    return ec ? exit_status() : child_->status();
}
exit_status process::wait(const deadline& d) {
    return checked("handoff: wait for a child process", [&](std::error_code& ec) { return wait(ec, d); });
}

std::optional<exit_status> process::try_wait(std::error_code& ec) noexcept {
    ec.clear();
    const int error = !child_ ? ECHILD : child_->look() == 0 ? 0 : os::get_errno();
    if (error == 0) return child_->status();
    if (error != EAGAIN) ec.assign(error, std::generic_category());
    return std::nullopt;
}
std::optional<exit_status> process::try_wait() {
    return checked("handoff: try_wait for a child process", [&](std::error_code& ec) { return try_wait(ec); });
}

bool process::kill(int signal, std::error_code& ec) noexcept {
    ec.clear();
    return child_ && child_->send(signal, ec);
}
bool process::kill(int signal) {
    std::error_code ec;
    const bool sent = kill(signal, ec);
    if (ec) throw std::system_error(ec, "handoff: " + signal_name(signal) + " to child process " + std::to_string(pid()));
    return sent;
}

int process::native_handle() const noexcept { return child_ ? child_->pidfd.number() : -1; }

// ---- run ----

namespace {

// collect reads all that is there into `text`, at most `most` bytes. false: it has come to the end.
bool collect(const pipe_reader& from, std::string& text, std::size_t most, std::error_code& ec) {
    char block[16 * 1024];
    for (;;) {
        const call_end got = made([&] { return ::read(from.native_handle(), block, sizeof block); });
        if (got.n <= 0) {
            if (got.n < 0 && got.error != EAGAIN) ec.assign(got.error, std::generic_category());
            return got.n != 0;
        }
        const auto n = static_cast<std::size_t>(got.n), room = most - text.size();
        text.append(block, std::min(n, room));
        if (n > room) ec = std::make_error_code(std::errc::message_size);
        if (ec) return true;
    }
}

// collect_all collects both texts until the child has ended, which is seen before what it has left in the pipes is read.
void collect_all(process& p, process_output& o, std::size_t most, std::error_code& ec, const deadline& d) {
    pollfd of[] = {{p.out().native_handle(), POLLIN, 0}, {p.err().native_handle(), POLLIN, 0}, {p.native_handle(), POLLIN, 0}};
    pauses pause;
    for (;;) {
        const std::optional<exit_status> end = p.try_wait(ec);
        if (!ec && of[0].fd >= 0 && !collect(p.out(), o.out, most, ec)) of[0].fd = -1;
        if (!ec && of[1].fd >= 0 && !collect(p.err(), o.err, most, ec)) of[1].fd = -1;
        if (ec) return;
        if (end) {
            o.status = *end;
            return;
        }
        if (time_is_over(d)) ec = std::make_error_code(std::errc::timed_out);
        else poll(of, ec, of[2].fd >= 0 ? d : deadline(next_look(pause, d)));
        if (ec) return;
    }
}

}  // namespace

process_output run(process_options o, std::size_t most, std::error_code& ec, const deadline& d) {
    if (o.in == child_stream::inherit() || o.in == child_stream::pipe()) o.in = child_stream::null();
    for (child_stream* s : {&o.out, &o.err})
        if (*s == child_stream::inherit()) *s = child_stream::pipe();
    process_output result;
    process p = process::start(o, ec);
    if (!ec) collect_all(p, result, most, ec, d);
    return result;
}
process_output run(process_options o, std::size_t most, const deadline& d) {
    const std::string what = "handoff: run of " + o.program;
    return checked(what.c_str(), [&](std::error_code& ec) { return run(std::move(o), most, ec, d); });
}

}  // namespace handoff::net
