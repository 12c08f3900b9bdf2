#include "fault.hpp"

#include <condition_variable>
#include <ctime>
#include <iostream>
#include <mutex>
#include <thread>

namespace fault {

namespace {

void in_kernel(std::chrono::microseconds d) noexcept {
    timespec t{0, static_cast<long>(d.count() * 1000)};
    while (::nanosleep(&t, &t) != 0) {
    }
}

void one_piece(unsigned i, handoff::channel<unsigned>& ch, handoff::mutex& lock, unsigned& guarded) {
    constexpr handoff_policy policies[] = {handoff_policy::adaptive, handoff_policy::sysmon, handoff_policy::immediate};
    switch (i % 8) {
        case 0:
        case 1:
        case 2: handoff::blocking_call(policies[i % 3], in_kernel, std::chrono::microseconds(300)); break;
        case 3: handoff::this_goroutine::sleep_for(200us); break;
        case 4: ch.send(i); break;
        case 5: (void)ch.recv(); break;
        case 6: {
            std::lock_guard hold(lock);
            const unsigned seen = guarded;
            if (i % 16 == 6) handoff::this_goroutine::yield();
            guarded = seen + 1;
            return;
        }
        default: handoff::go([] { handoff::this_goroutine::yield(); }).join();
    }
    std::lock_guard hold(lock);
    ++guarded;
}

}  // namespace

unsigned do_some_of_everything(runtime& rt, unsigned n) {
    n = (n + 7) / 8 * 8;   // as many send as receive
    handoff::channel<unsigned> ch(2);
    handoff::mutex lock;
    unsigned guarded = 0;
    std::vector<handoff::join_handle<void>> all;
    for (unsigned i = 0; i < n; ++i) all.push_back(rt.go([&, i] { one_piece(i, ch, lock, guarded); }));
    for (auto& h : all) h.join();
    return guarded;
}

struct hang_alarm::state {
    const runtime* rt;
    std::mutex lock;
    std::condition_variable wake;
    bool over = false;
    std::thread thread;
};

hang_alarm::hang_alarm(const runtime* rt) : s_(new state) {
    s_->rt = rt;
    s_->thread = std::thread([s = s_] {
        std::unique_lock hold(s->lock);
        if (s->wake.wait_for(hold, 2 * patience, [s] { return s->over; })) return;
        std::cerr << "the test hangs\n";
        if (s->rt) s->rt->dump(std::cerr);
        std::abort();
    });
}

hang_alarm::~hang_alarm() {
    {
        std::lock_guard hold(s_->lock);
        s_->over = true;
    }
    s_->wake.notify_one();
    s_->thread.join();
    delete s_;
}

}  // namespace fault
