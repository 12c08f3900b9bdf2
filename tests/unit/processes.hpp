// What the tests of child processes share.
#pragma once

#include "testing.hpp"

#include "net/child.hpp"

#include <handoff/net/process.hpp>

#include <fstream>
#include <string>
#include <sys/types.h>

namespace handoff_test {

// A shell that runs the script.
inline handoff::net::process_options shell(std::string script) {
    return {.program = "sh", .arguments = {"-c", std::move(script)}};
}

// One that waits until its input is closed, and ends with 3.
inline handoff::net::process_options waiter() {
    handoff::net::process_options o = shell("read line; exit 3");
    o.in = handoff::net::child_stream::pipe();
    return o;
}

// What the kernel says of process `pid`: its state and its parent; 0 if there is none.
struct process_state {
    char letter = 0;
    pid_t parent = 0;
};
inline process_state state_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(file, line);
    process_state s;
    const auto end_of_name = line.rfind(')');
    if (end_of_name != line.npos) std::sscanf(line.c_str() + end_of_name, ") %c %d", &s.letter, &s.parent);
    return s;
}
inline bool is_zombie(pid_t pid) { return state_of(pid).letter == 'Z'; }
// is_child: it is there, as a child of this process, perhaps a zombie.
inline bool is_child(pid_t pid) { return state_of(pid).parent == ::getpid(); }

// Each kind of kernel.
template <class F>
void with_and_without_pidfd(F f) {
    for (const bool there : {true, false}) {
        SCOPED_TRACE(there ? "with pidfds" : "without pidfds");
        handoff::net::has_pidfd = there;
        f();
    }
    handoff::net::has_pidfd = true;
}

}  // namespace handoff_test
