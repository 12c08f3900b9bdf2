#include "explore_kernel.hpp"

#include "explore_engine.hpp"
#include "net/descriptor.hpp"
#include "os/epoll.hpp"
#include "os/note.hpp"

#include <algorithm>
#include <cerrno>
#include <dlfcn.h>

namespace explore {

namespace {

constexpr int first_fd = 1 << 20;

struct file {
    enum { device, poll, wakeup } kind = device;
    // Of a device.
    unsigned bytes = 0, room = 0;
    bool ended = false, closed = false;
    int poll_fd = -1;                     // that it is registered with
    std::uint64_t data = 0;
    std::uint32_t edges = 0;              // that its epoll object has not told yet
    bool signalled = false;               // of an eventfd
    std::vector<int> registered;          // of an epoll object
    std::vector<int> ready;               // of these, those with edges, in the order in which they came
};

struct state {
    std::vector<file> files;
    unsigned closed = 0;
};
state* now = nullptr;

file& file_of(int fd) {
    if (!now || fd < first_fd || fd >= first_fd + static_cast<int>(now->files.size())) fail("no descriptor of the schedule: %d", fd);
    return now->files[static_cast<std::size_t>(fd - first_fd)];
}

int add_file(decltype(file::kind) kind) {
    now->files.emplace_back().kind = kind;
    return first_fd + static_cast<int>(now->files.size()) - 1;
}

void wake_poller(const file& poll_file) noexcept {
    for (unsigned i = 0; i < the.count; ++i) {
        model_thread& t = the.threads[i];
        if (t.state == thread_state::in_futex && t.waits_for == &poll_file.registered) return the.make_runnable(t, false);
    }
}

// A system call: a point where others may go on, and where all stores of the caller become visible.
void enter_kernel() noexcept {
    the.step();
    the.drain_all(*the.current);
}

void edge(int fd, std::uint32_t events) {
    file& f = file_of(fd);
    if (f.poll_fd < 0) return;
    file& p = file_of(f.poll_fd);
    if (f.edges == 0) p.ready.push_back(fd);
    f.edges |= events;
    wake_poller(p);
}

std::uint32_t level(const file& f) noexcept {
    return (f.bytes != 0 || f.ended ? EPOLLIN : 0u) | (f.ended ? EPOLLRDHUP : 0u) | (f.room != 0 ? EPOLLOUT : 0u);
}

}  // namespace

kernel::kernel() {
    if (now) delete now;   // of a schedule that failed
    now = new state;
    now->files.reserve(64);   // waits_for points into it
    handoff::detail::forget_records();
}
kernel::~kernel() {
    delete now;
    now = nullptr;
}
unsigned kernel::closed() const noexcept { return now->closed; }

device::device(unsigned room) : fd_(add_file(file::device)) { file_of(fd_).room = room; }

void device::put(unsigned n, bool and_end) {
    enter_kernel();
    file& f = file_of(fd_);
    f.bytes += n;
    f.ended |= and_end;
    edge(fd_, and_end ? EPOLLIN | EPOLLRDHUP : EPOLLIN);
}
void device::end() {
    enter_kernel();
    file_of(fd_).ended = true;
    edge(fd_, EPOLLIN | EPOLLRDHUP);
}
void device::drain(unsigned n) {
    enter_kernel();
    file_of(fd_).room += n;
    edge(fd_, EPOLLOUT);
}

ssize_t device::read(unsigned most) noexcept {
    enter_kernel();
    file& f = file_of(fd_);
    if (f.closed) fail("a read of a closed descriptor");
    const unsigned n = std::min(most, f.bytes);
    if (n == 0 && !f.ended) {
        errno = EAGAIN;
        return -1;
    }
    f.bytes -= n;
    return static_cast<ssize_t>(n);
}
ssize_t device::write(unsigned most) noexcept {
    enter_kernel();
    file& f = file_of(fd_);
    if (f.closed) fail("a write to a closed descriptor");
    const unsigned n = std::min(most, f.room);
    if (n == 0) {
        errno = EAGAIN;
        return -1;
    }
    f.room -= n;
    return static_cast<ssize_t>(n);
}

}  // namespace explore

using namespace explore;

extern "C" int close(int fd) {
    if (!now || fd < first_fd) {
        static auto* const call = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "close"));
        return call(fd);
    }
    enter_kernel();
    file& f = file_of(fd);
    if (f.closed) fail("a descriptor is closed twice");
    f.closed = true;
    ++now->closed;
    if (f.poll_fd >= 0) std::erase(file_of(f.poll_fd).ready, fd);
    f.poll_fd = -1;
    return 0;
}

namespace handoff::os {

epoll::~epoll() = default;

int epoll::open() noexcept {
    fd_ = add_file(file::poll);
    return 0;
}

int epoll::add(int fd, std::uint32_t, std::uint64_t data) noexcept {
    enter_kernel();
    file& f = file_of(fd);
    f.poll_fd = fd_;
    f.data = data;
    file_of(fd_).registered.push_back(fd);
    if (f.kind == file::device && level(f) != 0) edge(fd, level(f));
    return 0;
}

int epoll::add_new(int fd, std::uint32_t events, std::uint64_t data) noexcept {
    return add(fd, events, data);   // nobody adds twice here
}

int epoll::poll(epoll_event* events, int most) noexcept {
    enter_kernel();
    file& p = file_of(fd_);
    int n = 0;
    for (int fd : p.registered)
        if (const file& f = file_of(fd); f.kind == file::wakeup && f.signalled && n < most) {
            events[n].events = EPOLLIN;
            events[n++].data.u64 = f.data;
        }
    while (!p.ready.empty() && n < most) {
        file& f = file_of(p.ready.front());
        p.ready.erase(p.ready.begin());
        events[n].events = std::exchange(f.edges, 0);
        events[n++].data.u64 = f.data;
    }
    return n;
}

int epoll::wait(epoll_event* events, int most, std::int64_t deadline) noexcept {
    for (;;) {
        const int n = poll(events, most);
        if (n != 0) return n;
        if (deadline <= the.now) return 0;
        the.wait(explore::thread_state::in_futex, &file_of(fd_).registered, deadline == never ? explore::no_deadline : deadline);
    }
}

wakeup_fd::~wakeup_fd() = default;
int wakeup_fd::open() noexcept {
    fd_ = add_file(file::wakeup);
    return 0;
}
void wakeup_fd::signal(int fd) noexcept {
    enter_kernel();
    file& f = file_of(fd);
    f.signalled = true;
    if (f.poll_fd >= 0) wake_poller(file_of(f.poll_fd));
}
void wakeup_fd::drain() noexcept {
    enter_kernel();
    file_of(fd_).signalled = false;
}

bool wait_for_any(const int*, unsigned, std::int64_t) noexcept { fail("a poller with several shards is not modelled"); }

}  // namespace handoff::os
