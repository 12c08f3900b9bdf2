// What is said of a schedule that failed.
#include "explore_engine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <unistd.h>

namespace explore {

namespace {

const char* name_of(operation o) noexcept {
    switch (o) {
        case operation::load: return "load";
        case operation::store: return "store";
        case operation::drain: return "is seen";
        case operation::exchange: return "exchange";
        case operation::compare_exchange: return "cas";
        case operation::fetch_add: return "add";
        case operation::fetch_sub: return "sub";
        case operation::fetch_and: return "and";
        case operation::fetch_or: return "or";
        case operation::fence: return "fence";
        case operation::barrier: return "membarrier";
        case operation::relax: return "yield";
        case operation::lock: return "lock";
        case operation::unlock: return "unlock";
        case operation::futex_wait: return "futex_wait";
        case operation::futex_wake: return "futex_wake";
        case operation::sleep: return "sleep";
        case operation::starts: return "starts";
        case operation::ends: return "ends";
        case operation::join: return "join";
    }
    return "?";
}

const char* order_name(int order) noexcept {
    switch (order) {
        case __ATOMIC_RELAXED: return "rlx";
        case __ATOMIC_ACQUIRE: return "acq";
        case __ATOMIC_RELEASE: return "rel";
        case __ATOMIC_ACQ_REL: return "a+r";
        case __ATOMIC_SEQ_CST: return "s_c";
    }
    return "";
}

// The source lines of return addresses, by addr2line: all of them in one call.
class source_lines {
public:
    void want(const void* pc) { lines_[pc]; }
    void look_up() {
        char self[1024];
        const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1);
        if (n <= 0 || lines_.empty()) return;
        self[n] = '\0';
        std::string command = "addr2line -i -e '" + std::string(self) + "' -a";
        char text[32];
        for (const auto& [pc, line] : lines_) {
            // The call itself, not what follows it.
            std::snprintf(text, sizeof text, " %#lx", reinterpret_cast<unsigned long>(pc) - 1);
            command += text;
        }
        command += " 2>/dev/null";
        std::FILE* f = ::popen(command.c_str(), "r");
        if (!f) return;
        char line[2048];
        std::string* into = nullptr;
        while (std::fgets(line, sizeof line, f)) {
            line[std::strcspn(line, "\n")] = '\0';
            if (std::strncmp(line, "0x", 2) == 0) {
                const auto pc = reinterpret_cast<const void*>(std::stoul(line, nullptr, 16) + 1);
                into = &lines_[pc];
            } else if (into && !is_seam(line) && std::count(into->begin(), into->end(), '<') < 2) {
                const char* src = std::strstr(line, "/src/");
                const char* slash = std::strrchr(line, '/');
                if (char* extra = std::strstr(line, " (discriminator")) *extra = '\0';
                *into += std::string(into->empty() ? "" : " < ") + (src ? src + 5 : slash ? slash + 1 : line);
            }
        }
        ::pclose(f);
    }
    const std::string& operator[](const void* pc) { return lines_[pc]; }

private:
    static bool is_seam(const char* line) noexcept {
        return std::strstr(line, "/seam/") || std::strstr(line, "base/mutex.hpp") || std::strstr(line, "/c++/");
    }
    std::map<const void*, std::string> lines_;
};

}  // namespace

void engine::record(operation what, const void* at, std::uint64_t before, std::uint64_t value, int order,
                    const void* pc) noexcept {
    if (!tracing) return;
    const bool was = active;
    active = false;   // its memory is not the schedule's
    trace.push_back({steps, value, before, at, pc, what, static_cast<std::uint8_t>(current->number),
                     static_cast<std::uint8_t>(order)});
    active = was;
}

std::string engine::describe_threads() const {
    static const char* const names[] = {"unused", "can go on", "in futex", "wants mutex", "asleep", "joins", "has ended"};
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
        const model_thread& t = threads[i];
        char line[160], address[40];
        std::snprintf(line, sizeof line, "  t%-2u %s %s%s, %u stores pending%s\n", i,
                      names[static_cast<int>(t.state)],
                      describe_address(t.waits_for, address, sizeof address),
                      t.deadline == no_deadline ? "" : " with a deadline", t.buffered, &t == current ? "   <- at work" : "");
        text += line;
    }
    return text;
}

void print_trace(const options& o) {
    const auto& all = the.trace;
    const std::size_t first = all.size() > o.last ? all.size() - o.last : 0;
    source_lines lines;
    for (std::size_t i = first; i < all.size(); ++i)
        if (all[i].pc) lines.want(all[i].pc);
    lines.look_up();
    std::printf("strategy: %s, switch every %u, %u changes of priority, stores drained every %u%s, %lld ns a step\n",
                the.how.by_priority ? "by priority" : "random walk", the.how.switch_every, the.how.changes,
                the.how.drain_every, the.how.stores_overtake ? " in any order" : "", static_cast<long long>(the.how.step_ns));
    std::printf("    step thread  what        address        value\n");
    for (std::size_t i = first; i < all.size(); ++i) {
        const traced& t = all[i];
        char address[40] = "", values[64];
        const char* const place = describe_address(t.at, address, sizeof address);
        if (t.what >= operation::exchange && t.what <= operation::fetch_or)
            std::snprintf(values, sizeof values, "%#llx -> %#llx", static_cast<unsigned long long>(t.before),
                          static_cast<unsigned long long>(t.value));
        else std::snprintf(values, sizeof values, "%#llx", static_cast<unsigned long long>(t.value));
        const bool has_order = t.what == operation::load || t.what == operation::store;
        std::printf("%8llu %*st%-2u  %-10s %-3s %-14s %-18s %s\n", static_cast<unsigned long long>(t.step),
                    2 * (t.thread % 8), "", t.thread, name_of(t.what), has_order ? order_name(t.order) : "", place, values,
                    t.pc ? lines[t.pc].c_str() : "");
    }
    std::printf("%s", the.describe_threads().c_str());
}

}  // namespace explore
