#include "layout.hpp"

#include "sched/sched.hpp"
#include "wait/parking_lot.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <sstream>
#include <unistd.h>

// The runtime's objects have no standard layout; both compilers know where their members are all the same.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace scaling {

using namespace handoff::detail;

namespace {

// A member's place, and the name of all from there to the next.
struct part {
    std::size_t offset;
    const char* name;
};

// The counts of idle Ps and of spinners are on the last line of idle_set.
constexpr std::size_t counts_of_idle = offsetof(sched, idle) + sizeof(idle_set) - 64;

constexpr part parts_of_sched[] = {
    {0, "sched: options"},
    {offsetof(sched, idle), "idle_set: lock, lists"},
    {counts_of_idle, "idle_set: counts"},
    {offsetof(sched, globq), "sched::globq, stackless"},
    {offsetof(sched, procs), "processors: counts"},
    {offsetof(sched, procs) + 2 * sizeof(std::uint32_t), "processors: all"},
    {offsetof(sched, predict), "prediction"},
    {offsetof(sched, workers), "sched::workers"},
    {offsetof(sched, coarse_now), "sched::coarse_now"},
    {offsetof(sched, life), "lifetime"},
    {offsetof(sched, life) + offsetof(lifetime, outsiders), "lifetime::outsiders"},
    {offsetof(sched, count), "counters"},
    {offsetof(sched, pool), "thread_pool"},
    {offsetof(sched, limit), "compute_limit"},
    {offsetof(sched, monitor), "monitor"},
    {offsetof(sched, load), "sched::load"},
    {offsetof(sched, stacks), "stack pool"},
    {offsetof(sched, unguarded), "sched: unguarded calls"},
    {sizeof(sched), ""},
};

constexpr part parts_of_p[] = {
    {0, "P: id, status, m"},
    {offsetof(P, schedtick), "P: schedtick, the owner's"},
    {offsetof(P, free_gs), "P: free Gs and stacks, ids"},
    {offsetof(P, runq), "P::runq head"},
    {offsetof(P, runq) + 64, "P::runq tail, next"},
    {offsetof(P, runq) + 128, "P::runq ring"},
    {offsetof(P, timers), "P::timers"},
    {offsetof(P, spawned), "P: counters"},
    {offsetof(P, latency_sysmon), "P: histograms"},
    {offsetof(P, watch), "P::watch"},
    {offsetof(P, idle_link), "P::idle_link"},
    {sizeof(P), ""},
};

constexpr part parts_of_m[] = {
    {0, "M: switcher"},
    {offsetof(M, section), "M::section"},
    {offsetof(M, taken), "M::taken"},
    {offsetof(M, call), "M::call"},
    {offsetof(M, p), "M: p, curg, counts"},
    {offsetof(M, held), "M: the owner's"},
    {offsetof(M, park), "M: park, orders"},
    {offsetof(M, idle_link), "M: idle_link"},
    {offsetof(M, computing_link), "M: for the monitor"},
    {sizeof(M), ""},
};

constexpr part parts_of_g[] = {
    {0, "G: context, links"},
    {offsetof(G, join_word), "G::join_word"},
    {offsetof(G, exception), "G: exception, scope, locals"},
    {offsetof(G, state), "G: state"},
    {offsetof(G, storage), "G: closure"},
    {sizeof(G), ""},
};

template <std::size_t N>
constexpr bool in_order(const part (&parts)[N]) {
    return std::is_sorted(parts, parts + N, [](const part& a, const part& b) { return a.offset < b.offset; });
}
static_assert(in_order(parts_of_sched) && in_order(parts_of_p) && in_order(parts_of_m) && in_order(parts_of_g),
              "each part ends where the next begins");

template <std::size_t N>
void add_parts(layout& names, const void* object, const part (&parts)[N]) {
    for (std::size_t i = 0; i + 1 < N; ++i)
        names.add(static_cast<const char*>(object) + parts[i].offset, parts[i + 1].offset - parts[i].offset, parts[i].name);
}

// A file of this project, as it is named from its top; empty if it is none.
std::string in_project(const std::string& path) {
    for (const char* top : {"/include/handoff/", "/src/", "/bench/scaling/"}) {
        const std::size_t at = path.rfind(top);
        if (at != std::string::npos) return path.substr(at + 1);
    }
    return {};
}

}  // namespace

void layout::add(const void* at, std::size_t size, std::string name) {
    const auto from = reinterpret_cast<std::uintptr_t>(at);
    regions_.push_back({from, from + size, std::move(name)});
    sorted_ = false;
}

void layout::add_runtime() {
    sched& s = *current_m()->s;
    add_parts(*this, &s, parts_of_sched);
    s.procs.for_each([this](P& p) { add_parts(*this, &p, parts_of_p); });
    handoff::base::lock_guard hold(s.idle.lock);
    s.pool.for_each([this](M& m) { add_parts(*this, &m, parts_of_m); });
    s.store->for_each([this](G& g) {
        add_parts(*this, &g, parts_of_g);
        // Read once: it may end meanwhile, and its stack goes back to the pool.
        if (const handoff::context::stack* st = g.stk)
            add(st->lo, st->pages * handoff::context::page_size(), "goroutines' stacks");
    });
    for (const bucket& b : buckets) add(&b, sizeof b, "parking lot's buckets");
}

std::string layout::name_of(std::uintptr_t address) const {
    if (!sorted_) {
        std::sort(regions_.begin(), regions_.end(), [](auto& a, auto& b) { return a.at < b.at; });
        sorted_ = true;
    }
    auto after = std::upper_bound(regions_.begin(), regions_.end(), address, [](auto a, auto& r) { return a < r.at; });
    if (after == regions_.begin()) return {};
    const region& r = *--after;
    return address < r.end ? r.name : std::string{};
}

std::unordered_map<const void*, std::string> places_of(const std::vector<const void*>& code) {
    std::unordered_map<const void*, std::string> places;
    // The address is that of the instruction after the call, maybe of another line.
    std::string command = "addr2line -a -i -f -C -e /proc/" + std::to_string(::getpid()) + "/exe";
    std::ostringstream addresses;
    for (const void* pc : code) addresses << ' ' << std::hex << "0x" << reinterpret_cast<std::uintptr_t>(pc) - 1;
    command += addresses.str() + " 2>/dev/null";
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> from(::popen(command.c_str(), "r"), ::pclose);
    if (!from) return places;
    char line[4096];
    const void* pc = nullptr;
    std::string function;
    for (bool is_function = true; std::fgets(line, sizeof line, from.get());) {
        std::string text(line);
        while (!text.empty() && (text.back() == '\n')) text.pop_back();
        if (text.compare(0, 2, "0x") == 0) {   // -a
            pc = reinterpret_cast<const void*>(std::stoull(text, nullptr, 16) + 1);
            is_function = true;
            continue;
        }
        if (is_function) {
            function = text.substr(0, text.find('('));
            is_function = false;
            continue;
        }
        is_function = true;
        const std::string file = in_project(text.substr(0, text.find(" (discriminator")));
        if (!file.empty()) places.emplace(pc, file + " " + function);   // the innermost: emplace keeps the first
    }
    return places;
}

}  // namespace scaling
