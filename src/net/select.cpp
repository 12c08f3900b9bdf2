// A case's bit says only that a call is worth a try, but a select fires for what is ready. So a case that seems ready is
// asked of the kernel, by poll(2), after the bit is cleared as for an operation; and the bit is set again if it is. One that
// was woken is asked likewise: others may have been faster, and an edge may be late.
#include <handoff/net/select.hpp>

#include "net/operation.hpp"

namespace handoff::detail {

namespace {

direction of(bool writes) noexcept { return writes ? direction::write : direction::read; }

}  // namespace

descriptor_case::descriptor_case(const descriptor_handle& h, bool writes)
    : event_case(h.get() ? h.get()->place_of(of(writes)) : nullptr), handle_(&h), writes_(writes) {
    tag = makes_no_call;
    asks_when_woken = true;
    if (!h.get()) return;
    if (const int e = register_descriptor(h)) throw std::system_error(e, std::generic_category(), "handoff: select on a socket");
}

bool descriptor_case::is_closed() const noexcept { return !handle_->is_open(); }

bool descriptor_case::seems_ready() const noexcept {
    if (!handle_->get()) return true;
    const std::uint32_t bits = handle_->get()->word.bits(handle_->generation());
    return (bits & (descriptor_word::ready_bit(of(writes_)) | descriptor_word::closing)) != 0;
}

bool descriptor_case::try_fast() noexcept {
    if (is_closed()) return true;
    descriptor& d = *handle_->get();
    const direction dir = of(writes_);
    if (!d.word.unready(handle_->generation(), dir)) return is_closed();
    std::error_code ec;
    with_number(*handle_, ec, [&](int fd) { return ready_now(fd, dir); });
    if (ec == std::errc::resource_unavailable_try_again) return false;
    // Another one's call may be woken by this, as by an edge.
    wake_waiters(d, d.word.event(handle_->generation(), descriptor_word::ready_bit(dir)));
    return true;
}

bool descriptor_case::must_wait() noexcept {
    return handle_->get() && handle_->get()->word.must_park(handle_->generation(), of(writes_));
}

}  // namespace handoff::detail
