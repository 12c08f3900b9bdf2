#include "debug/report.hpp"

#include "base/check.hpp"
#include "os/thread.hpp"
#include "sched/sched.hpp"

#include <cstdio>
#include <cstring>
#include <new>

namespace handoff::detail {

namespace {

// is_stepped_over says whether a large frame has moved the stack pointer beyond the end of the stack at `lo`, and the fault
// lies in that frame.
bool is_stepped_over(const char* at, const char* sp, const char* lo) noexcept {
    constexpr std::ptrdiff_t largest_frame = 64 << 20, below_frame = 64 << 10;   // below sp: a push, a call, a probe
    return sp && sp < lo && lo - sp < largest_frame && at < lo && sp - at < below_frame;
}

std::string call_text(long call) {
    if (call == page_fault) return "page fault";
    if (call == unknown_call) return "unknown call";
    if (const char* name = os::call_name(call)) return name;
    return "call " + std::to_string(call);
}

void count_unguarded(sched& s, const unguarded_call& c) {
    std::uint64_t nth;
    {
        base::lock_guard hold(s.unguarded.lock);
        unguarded_site& site = s.unguarded.sites[{c.who.created, c.call}];
        site.created = c.who.created;
        site.call = c.call;
        nth = ++site.count;
        site.total += c.blocked;
        site.longest = std::max(site.longest, c.blocked);
    }
    if (s.debug.unguarded)
        base::warn_nth(nth, "%s blocked %.1f ms in unguarded %s", c.who.describe().c_str(),
                       static_cast<double>(c.blocked.count()) / 1e6, c.call.c_str());
}

}  // namespace

// Without memory the call is only counted in handoffs_unguarded, and not reported.
void unguarded_call_ended(sched& s, G* g, std::int64_t since, std::int64_t until, long call) {
    unguarded_call c;
    try {
        c = {s.store->describe(g), call_text(call), std::chrono::nanoseconds(until - since)};
        count_unguarded(s, c);
    } catch (const std::bad_alloc&) {
        return;
    }
    if (s.opts.on_unguarded_call) s.opts.on_unguarded_call(c);
}

// Allocates nothing, and waits for no lock that the interrupted code may hold.
bool describe_overflow(const void* address, const void* sp, char* text, std::size_t size) {
    M* m = current_m();
    G* g = m ? m->curg.load(std::memory_order_relaxed) : nullptr;
    if (!g || !g->stk) return false;
    const context::stack& st = *g->stk;
    const char* at = static_cast<const char*>(address);
    const bool own = (g->deep ? g->deep->guards(at) : st.guards(at)) ||
                     is_stepped_over(at, static_cast<const char*>(sp), g->deep ? g->deep->guard_hi : st.usable_lo());
    if (!own && !m->s->stacks.guards(at)) return false;
    char created[160], name[96] = "";
    created_at(*g, created, sizeof created);
    sched* s = m->s;
    if (g->named && s->store->names_lock.try_lock()) {
        if (auto it = s->store->names.find(g); it != s->store->names.end())
            std::snprintf(name, sizeof name, " \"%s\"", it->second.name.c_str());
        s->store->names_lock.unlock();
    }
    const auto id = static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed));
    if (!own) {
        std::snprintf(text, size,
                      "handoff: goroutine %llu%s (%s) has touched the guard of a stack that is not its own: by a frame larger than its "
                      "stack, which -fstack-clash-protection finds in time, or by a stray pointer\n",
                      id, name, created);
        return true;
    }
    std::snprintf(text, size,
                  "handoff: goroutine %llu%s (%s) has overflowed its %s of %zu KiB; %s sets it\n",
                  id, name, created,
                  g->deep ? "thread's stack" : "stack", (g->deep ? g->deep->size : st.asked_size()) / 1024,
                  g->deep ? "the process's limit (ulimit -s)" : "options::stack_size or spawn_options::stack_size");
    return true;
}

}  // namespace handoff::detail
