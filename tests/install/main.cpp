// The least program that needs the installed headers and the installed library.
#include <handoff/handoff.hpp>

int main() {
    handoff::runtime rt;
    const int sum = rt.run([] {
        auto twenty = handoff::go([] { return handoff::blocking_call([] { return 20; }); });
        return twenty.join() + 22;
    });
    return sum == 42 ? 0 : 1;
}
