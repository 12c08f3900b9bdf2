// What goes through the connections of a simulation's network.
#include "sim/network.hpp"

#include "os/clock.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>

namespace handoff::detail {

std::size_t network::flow::room() const noexcept {
    const std::size_t used = unread() + on_the_way + withheld;
    return capacity > used ? capacity - used : 0;
}

// send_piece sends p behind all that is in f: after some latency, or at once.
void network::send_piece(const flow_ref& f, piece p, bool same_instant) {
    f->on_the_way += p.bytes.size();
    f->in_transit.push_back(std::move(p));
    if (same_instant && f->in_transit.size() == 1) return arrive(f);
    f->last_arrival = std::max(f->last_arrival, os::nanotime() + (same_instant ? 0 : latency()));
    at(f->last_arrival, [this, f](M*) { arrive(f); });
}

// arrive: the first piece in transit has come to the other end.
void network::arrive(const flow_ref& f) {
    if (f->in_transit.empty()) return;   // it was cut off
    piece p = std::move(f->in_transit.front());
    f->in_transit.pop_front();
    const node_ref reader = f->reader.lock();
    if (!reader || reader->closed || reader->is == state::dead) {
        f->on_the_way -= p.bytes.size();
        const node_ref writer = f->writer.lock();
        if (p.kind == what::bytes && writer && !writer->is_unix())   // it learns that nobody is there
            after(latency(), [this, writer](M*) {
                const bool lives = !writer->closed && writer->is == state::connected;
                if (lives) reset(writer, writer->in->end_arrived ? EPIPE : ECONNRESET);
            });
        return;
    }
    switch (p.kind) {
        case what::bytes: return bytes_arrive(f, std::move(p));
        case what::made: reader->is = state::connected; break;
        case what::end: f->end_arrived = true; break;
        case what::reset: return reset(reader, f->end_arrived ? EPIPE : ECONNRESET);
    }
    edge(reader);
}

// bytes_arrive lets bytes be read: all of them, or some, and the others a moment later.
void network::bytes_arrive(const flow_ref& f, piece p) {
    if (p.bytes.size() > 1 && chance(options_.short_transfers)) {
        const std::size_t first = 1 + random_below(p.bytes.size() - 1);
        f->in_transit.push_front({what::bytes, p.bytes.substr(first)});
        p.bytes.resize(first);
        after(some_of(options_.most_event_delay), [this, f](M*) { arrive(f); });
    }
    f->on_the_way -= p.bytes.size();
    f->arrived.erase(0, std::exchange(f->taken, 0));
    f->arrived += p.bytes;
    edge(f->reader.lock());
}

// reset ends n's connection, or its attempt to make one, with an error, which the next call reports.
void network::reset(const node_ref& n, int error) {
    if (n->closed) return;
    n->error = error;
    n->is = state::dead;
    n->shut_read = n->shut_write = true;
    if (n->out) {   // what was written is lost
        n->out->in_transit.clear();
        n->out->on_the_way = 0;
        n->out->end_sent = true;
    }
    edge(n);
}

// end_of: n is closed. Its peer reads to the end of what was written; if something was not read, or so it was asked for, a
// reset ends the connection.
void network::end_of(const node_ref& n) {
    if (!n->out || n->is == state::dead || n->in == n->out) return;
    const bool resets = n->reset_by_close || n->is == state::connecting || n->in->unread() != 0;
    if (n->is_unix()) {
        if (const node_ref peer = n->out->reader.lock(); peer && !peer->closed) {
            peer->shut_write = true;
            if (resets) peer->error = ECONNRESET;
            edge(peer);
        }
    }
    if (resets && !n->is_unix()) send_piece(n->out, {what::reset, {}}, false);
    else if (!std::exchange(n->out->end_sent, true)) send_piece(n->out, {what::end, {}}, n->is_unix());
}

int network::shutdown(int fd, int how) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    if (n->is != state::connected) return -ENOTCONN;
    const bool writes = how != SHUT_RD, reads = how != SHUT_WR;
    if (writes) {
        n->shut_write = true;
        if (!std::exchange(n->out->end_sent, true)) send_piece(n->out, {what::end, {}}, n->is_unix());
    }
    if (reads) {
        n->shut_read = true;
        if (const node_ref peer = n->out->reader.lock(); peer && n->is_unix()) {
            peer->shut_write = true;
            edge(peer);
        }
    }
    edge(n);
    return 0;
}

ssize_t network::recvmsg(int fd, msghdr* m, int flags) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    if (n->is == state::connecting) return -EAGAIN;
    if (n->is == state::fresh || n->is == state::listening) return n->is_unix() ? -EINVAL : -ENOTCONN;
    m->msg_namelen = 0;
    m->msg_controllen = 0;
    m->msg_flags = 0;
    if (!n->in || n->in->unread() == 0) {
        if (n->error != 0) return take_error(*n);
        return n->is == state::dead || n->shut_read || n->in->end_arrived ? 0 : -EAGAIN;
    }
    flow& f = *n->in;
    std::size_t read = 0;
    for (std::size_t i = 0; i < m->msg_iovlen && read < f.unread(); ++i) {
        const std::size_t some = std::min(m->msg_iov[i].iov_len, f.unread() - read);
        std::memcpy(m->msg_iov[i].iov_base, f.arrived.data() + f.taken + read, some);
        read += some;
    }
    if ((flags & MSG_PEEK) != 0) return static_cast<ssize_t>(read);
    const bool was_writable = f.writable();
    f.taken += read;
    if (!was_writable && f.writable()) edge(f.writer.lock());
    return static_cast<ssize_t>(read);
}

// may_send says whether n can be written to; a negative errno value if not.
int network::may_send(node& n) const noexcept {
    if (n.is == state::connecting) return -EAGAIN;
    if (n.is == state::fresh || n.is == state::listening) return n.is_unix() ? -ENOTCONN : -EPIPE;
    if (n.error != 0) return take_error(n);
    return n.shut_write ? -EPIPE : 0;
}

// withhold keeps the rest of the room in f back for a moment.
void network::withhold(const flow_ref& f, std::size_t room) {
    f->withheld += room;
    after(some_of(options_.most_event_delay), [this, f](M*) {
        const bool was_writable = f->writable();
        f->withheld = 0;
        if (!was_writable && f->writable()) edge(f->writer.lock());
    });
}

ssize_t network::sendmsg(int fd, const msghdr* m, int) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    if (const int e = may_send(*n)) return e;
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < m->msg_iovlen; ++i) wanted += m->msg_iov[i].iov_len;
    if (wanted == 0) return 0;
    if (!n->is_unix() && chance(options_.resets)) {
        reset(n, ECONNRESET);
        send_piece(n->out, {what::reset, {}}, false);
        return take_error(*n);
    }
    const std::size_t room = n->out->room();
    if (room == 0) return -EAGAIN;
    std::size_t taken = std::min(wanted, room);
    if (taken > 1 && chance(options_.short_transfers)) taken = 1 + random_below(taken - 1);
    // What is left has to be so much that there is an edge when it comes back.
    const std::size_t left = room - taken;
    const bool is_short = taken < std::min(wanted, room) && left * 3 >= n->out->capacity;
    if (!is_short) taken = std::min(wanted, room);
    piece p{what::bytes, {}};
    p.bytes.reserve(taken);
    for (std::size_t i = 0; p.bytes.size() < taken; ++i) {
        const iovec& v = m->msg_iov[i];
        p.bytes.append(static_cast<const char*>(v.iov_base), std::min(v.iov_len, taken - p.bytes.size()));
    }
    send_piece(n->out, std::move(p), n->is_unix());
    if (is_short) withhold(n->out, left);
    return static_cast<ssize_t>(taken);
}

int network::poll_one(int fd, short events) {
    const node_ref n = of(fd);
    if (!n) return -EBADF;
    return static_cast<int>(bits_of(*n) & (static_cast<unsigned short>(events) | EPOLLERR | EPOLLHUP));
}

}  // namespace handoff::detail
