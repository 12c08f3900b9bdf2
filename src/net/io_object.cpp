#include <handoff/net/io_object.hpp>

#include "net/operation.hpp"
#include "net/socket.hpp"

namespace handoff::net {

using namespace handoff::detail;

namespace {

void set_limit(const descriptor_handle& h, direction dir, const deadline& d) noexcept {
    descriptor* of = h.get();
    if (!of || !of->word.hold(h.generation())) return;
    of->limit[static_cast<int>(dir)].store(d.steady(), std::memory_order_relaxed);
    M* m = enter_current();
    wake_all(m, *of);   // who waits looks again
    leave_current(m);
    if (of->word.end_hold()) give_number_back(*of);
}

}  // namespace

void wait_for(const descriptor_handle& h, direction dir, std::error_code& ec, const deadline& d, int asked) {
    // poll(2) tells for sure. It is made as an operation, which is not over before it says yes.
    pollfd p{};
    perform(h, dir, d, ec, 0, [&](int fd) -> ssize_t {
        p = {asked < 0 ? fd : asked, static_cast<short>(dir == direction::read ? POLLIN | POLLRDHUP : POLLOUT), 0};
        const int n = sys::poll(&p, 1, 0);
        if (n > 0 && (p.revents & POLLNVAL) == 0) return n;
        if (n >= 0) errno = n == 0 ? EAGAIN : EBADF;
        return -1;
    });
}

void io_object::set_read_deadline(const deadline& d) noexcept { set_limit(handle_, direction::read, d); }
void io_object::set_write_deadline(const deadline& d) noexcept { set_limit(handle_, direction::write, d); }
void io_object::set_deadline(const deadline& d) noexcept {
    set_read_deadline(d);
    set_write_deadline(d);
}

}  // namespace handoff::net
