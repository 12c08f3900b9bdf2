// What the runtime says about single goroutines: names, unguarded calls, overflows.
#include "base/check.hpp"
#include "os/thread.hpp"
#include "sched/sched.hpp"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <new>

namespace handoff {

std::string goroutine_name::describe() const {
    std::string text = "goroutine " + std::to_string(id);
    if (!name.empty()) text += " \"" + name + "\"";
    if (!created.empty()) text += " (" + created + ")";
    return text;
}

}  // namespace handoff

namespace handoff::detail {

void code_address(const void* address, char* text, std::size_t size) noexcept {
    Dl_info where{};
    if (::dladdr(address, &where) == 0 || !where.dli_fname) {
        std::snprintf(text, size, "%p", address);
        return;
    }
    const char* object = std::strrchr(where.dli_fname, '/');
    std::snprintf(text, size, "%s+0x%lx", object ? object + 1 : where.dli_fname,
                  static_cast<unsigned long>(static_cast<const char*>(address) - static_cast<const char*>(where.dli_fbase)));
}

namespace {

// created_at writes where g was spawned, without allocating: it serves the overflow report too.
void created_at(const G* g, char* text, std::size_t size) noexcept {
    const void* site = g->site.load(std::memory_order_relaxed);
    const std::uint32_t line = g->site_line.load(std::memory_order_relaxed);
    text[0] = '\0';
    if (!site) return;
    if (line != 0) {
        const char* file = static_cast<const char*>(site);
        if (const char* slash = std::strrchr(file, '/')) file = slash + 1;
        std::snprintf(text, size, "%s:%u", file, line);
        return;
    }
    code_address(site, text, size);
}

std::string call_text(long call) {
    if (call < 0) return "page fault";
    if (const char* name = os::call_name(call)) return name;
    return "call " + std::to_string(call);
}

}  // namespace

goroutine_name g_store::describe(const G* g) {
    goroutine_name n;
    n.id = g->id.load(std::memory_order_relaxed);
    char created[160];
    created_at(g, created, sizeof created);
    n.created = created;
    base::lock_guard hold(names_lock);
    if (auto it = names.find(g); it != names.end()) n.name = it->second;
    return n;
}

goroutine_name g_store::describe_briefly(const G* g) noexcept {
    try {
        return describe(g);
    } catch (const std::bad_alloc&) {
        goroutine_name n;
        n.id = g->id.load(std::memory_order_relaxed);
        return n;
    }
}

// note_unguarded counts an unguarded call of g's that is over, and tells the program. In user code, on g. Without memory
// there is no more of it than the count in handoffs_unguarded.
void sched::note_unguarded(G* g, std::int64_t since, std::int64_t until, long call) {
    unguarded_call c;
    try {
        c = {store->describe(g), call_text(call), std::chrono::nanoseconds(until - since)};
        count_unguarded(c);
    } catch (const std::bad_alloc&) {
        return;
    }
    if (opts.on_unguarded_call) opts.on_unguarded_call(c);
}

void sched::count_unguarded(const unguarded_call& c) {
    {
        base::lock_guard hold(unguarded_lock);
        unguarded_site& site = unguarded[{c.who.created, c.call}];
        site.created = c.who.created;
        site.call = c.call;
        ++site.count;
        site.total += c.blocked;
        site.longest = std::max(site.longest, c.blocked);
    }
    if (debug.unguarded)
        base::warn("%s blocked %.1f ms in unguarded %s", c.who.describe().c_str(),
                   static_cast<double>(c.blocked.count()) / 1e6, c.call.c_str());
}

// describe_overflow runs in a signal handler: no allocation, and no lock that the interrupted code may hold.
bool describe_overflow(const void* address, char* text, std::size_t size) {
    M* m = current_m();
    G* g = m ? m->curg.load(std::memory_order_relaxed) : nullptr;
    if (!g || !g->stk) return false;
    const context::stack& st = *g->stk;
    const char* at = static_cast<const char*>(address);
    if (at < st.lo || at >= st.lo + context::page_size()) return false;
    char created[160], name[96] = "";
    created_at(g, created, sizeof created);
    sched* s = m->s;
    if (g->named && s->store->names_lock.try_lock()) {
        if (auto it = s->store->names.find(g); it != s->store->names.end())
            std::snprintf(name, sizeof name, " \"%s\"", it->second.c_str());
        s->store->names_lock.unlock();
    }
    std::snprintf(text, size,
                  "handoff: goroutine %llu%s (%s) has overflowed its stack of %zu KiB; options::stack_size or "
                  "spawn_options::stack_size sets it\n",
                  static_cast<unsigned long long>(g->id.load(std::memory_order_relaxed)), name, created,
                  st.pages * context::page_size() / 1024);
    return true;
}

}  // namespace handoff::detail
