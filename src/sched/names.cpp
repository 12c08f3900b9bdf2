// Names of states, and the messages when a state is not the expected one.
#include "base/check.hpp"
#include "sched/sched.hpp"

#include <cstddef>

namespace handoff::detail {

const char* name_of(g_state s) noexcept {
    switch (s) {
        case g_state::idle: return "idle";
        case g_state::runnable: return "runnable";
        case g_state::running: return "running";
        case g_state::waiting: return "waiting";
        case g_state::dead: return "dead";
    }
    return "?";
}

const char* name_of(p_status s) noexcept {
    switch (s) {
        case p_status::idle: return "idle";
        case p_status::running: return "running";
        case p_status::dead: return "dead";
    }
    return "?";
}

const char* name_of(wait_reason r) noexcept {
    switch (r) {
        case wait_reason::none: return "";
        case wait_reason::join: return "join";
        case wait_reason::sleep: return "sleep";
        case wait_reason::send: return "send";
        case wait_reason::receive: return "receive";
        case wait_reason::select: return "select";
        case wait_reason::forever: return "a channel that is never ready";
        case wait_reason::mutex: return "mutex";
        case wait_reason::shared_mutex: return "shared_mutex";
        case wait_reason::condition: return "condition_variable";
        case wait_reason::semaphore: return "semaphore";
        case wait_reason::wait_group: return "wait_group";
        case wait_reason::latch: return "latch";
        case wait_reason::barrier: return "barrier";
        case wait_reason::once: return "call_once";
        case wait_reason::event: return "event";
        case wait_reason::network: return "network";
        case wait_reason::settle: return "settle";
        case wait_reason::turn: return "its turn to be ended";
    }
    return "?";
}

const char* name_of(retake r) noexcept {
    switch (r) {
        case retake::none: return "none";
        case retake::asked: return "asked";
        case retake::asked_to_yield: return "asked to yield";
        case retake::simulated: return "simulated";
        case retake::taken_call: return "taken in a call";
        case retake::taken_slice: return "taken at the end of a slice";
        case retake::taken_unguarded: return "taken in an unguarded call";
        case retake::taken_computing: return "taken from a computation";
        case retake::given: return "given";
        case retake::away: return "away";
    }
    return "?";
}

void retake_word::bad_step(retake now, retake to) noexcept {
    base::fatal("a thread's retake word is %s, which is not left for %s", name_of(now), name_of(to));
}

void g_state_word::bad_step(g_state now, g_state from, g_state to) const noexcept {
    const auto* g = reinterpret_cast<const G*>(reinterpret_cast<const char*>(this) - offsetof(G, state));
    base::fatal("goroutine %llu is %s, not %s, on its way to %s", static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)),
                name_of(now), name_of(from), name_of(to));
}

void P::bad_transition(p_status now, p_status from, p_status to) const noexcept {
    base::fatal("processor %u is %s, not %s, on its way to %s", id, name_of(now), name_of(from), name_of(to));
}

}  // namespace handoff::detail
