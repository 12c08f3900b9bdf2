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
    wake_all(*of);   // who waits looks again
    if (of->word.end_hold()) give_number_back(*of);
}

}  // namespace

void wait_for(const descriptor_handle& h, direction dir, std::error_code& ec, const deadline& d, int asked) {
    // poll(2) tells for sure. It is made as an operation, which is not over before it says yes.
    perform(h, dir, d, ec, 0, [&](int fd) { return ready_now(asked < 0 ? fd : asked, dir); });
}

void io_object::set_read_deadline(const deadline& d) noexcept { set_limit(handle_, direction::read, d); }
void io_object::set_write_deadline(const deadline& d) noexcept { set_limit(handle_, direction::write, d); }
void io_object::set_deadline(const deadline& d) noexcept {
    set_read_deadline(d);
    set_write_deadline(d);
}

}  // namespace handoff::net
