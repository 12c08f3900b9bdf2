// What the tests of faults share: work that uses most of the library, and the check that nothing stays.
#pragma once

#include "../unit/testing.hpp"
#include "shim.hpp"

#include <cerrno>
#include <cstring>

namespace fault {

using namespace handoff_test;
using handoff::handoff_policy;
using handoff::runtime;

// do_some_of_everything spawns n goroutines that block in calls, sleep, send, lock and spawn others, and waits for them;
// returns how many of them came to their end.
unsigned do_some_of_everything(runtime& rt, unsigned n);

// fail_unless_over ends the process with a dump if it lives longer than `patience`: for what might hang.
class hang_alarm {
public:
    explicit hang_alarm(const runtime* rt = nullptr);
    ~hang_alarm();
    hang_alarm(const hang_alarm&) = delete;
    hang_alarm& operator=(const hang_alarm&) = delete;

private:
    struct state;
    state* s_;
};

// leaves_nothing_behind runs `body` some times, then `rounds` times more, and checks that no thread or descriptor is left by
// then, and not a mapping for each round.
template <class F>
void leaves_nothing_behind(unsigned rounds, F body) {
    for (int i = 0; i < 3; ++i) body();
    const auto threads_before = threads().size(), mappings_before = mapping_count(), descriptors_before = descriptor_count();
    for (unsigned i = 0; i < rounds; ++i) body();
    EXPECT_EVENTUALLY(threads().size() <= threads_before);
    EXPECT_EQ(descriptor_count(), descriptors_before);
    // malloc maps some of its own, sanitizers as they like.
    if (!with_sanitizer) {
        EXPECT_LE(mapping_count(), mappings_before + rounds / 2);
    }
}

}  // namespace fault
