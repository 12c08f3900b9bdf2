// The least program that needs the installed headers and the installed library. With an argument it does what the check of
// held mutexes is for.
#include <handoff/handoff.hpp>

#include <chrono>
#include <mutex>

int main(int argc, char**) {
    handoff::runtime rt;
    if (argc > 1)
        rt.run([] {
            std::mutex m;
            const std::lock_guard hold(m);
            handoff::this_goroutine::sleep_for(std::chrono::milliseconds(1));
        });
    const int sum = rt.run([] {
        auto twenty = handoff::go([] { return handoff::blocking_call([] { return 20; }); });
        return twenty.join() + 22;
    });
    return sum == 42 ? 0 : 1;
}
