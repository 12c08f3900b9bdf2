#include "report.hpp"

#include "lines.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>

namespace scaling {

namespace {

constexpr std::size_t most_things = 12, most_places = 3;
constexpr char separator = '\x1f', list_separator = '\x1e';

std::string format(const char* how, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* how, ...) {
    char text[512];
    std::va_list args;
    va_start(args, how);
    std::vsnprintf(text, sizeof text, how, args);
    va_end(args);
    return text;
}

// Three digits that mean something; what is too rare to matter is 0.
std::string number(double x) {
    if (x < 0.0005) return "0";
    if (x < 0.0995) return format("%.3f", x);
    if (x < 9.95) return format("%.2f", x);
    if (x < 99.5) return format("%.1f", x);
    return format("%.0f", x);
}

struct group {
    transfers count;
    std::map<std::uintptr_t, std::uint64_t> lines;
    std::map<const void*, std::uint64_t> code;
};

std::map<std::string, group> by_name(const layout& names) {
    std::map<std::string, group> groups;
    std::vector<const void*> unnamed;
    for (const auto& [s, n] : memory.by_site())
        if (names.name_of(s.address).empty()) unnamed.push_back(s.code);
    const auto places = places_of(unnamed);
    for (const auto& [s, n] : memory.by_site()) {
        std::string name = names.name_of(s.address);
        if (name.empty()) {
            const auto place = places.find(s.code);
            name = place == places.end() ? "stacks and heap" : "other, by " + place->second;
        }
        group& g = groups[name];
        g.count.reads += n.reads;
        g.count.writes += n.writes;
        g.lines[s.address / line_size] += n.reads + n.writes;
        g.code[s.code] += n.reads + n.writes;
    }
    return groups;
}

std::vector<const void*> busiest(const group& g) {
    std::vector<const void*> code;
    for (const auto& [pc, n] : g.code) code.push_back(pc);
    std::sort(code.begin(), code.end(), [&](auto a, auto b) { return g.code.at(a) > g.code.at(b); });
    code.resize(std::min(code.size(), most_places));
    return code;
}

}  // namespace

result measure(const work& w, unsigned procs, std::uint64_t seed, ps transfer) {
    the.begin(procs, seed);
    the.cost().transfer = transfer;
    const outcome out = w.run(procs, w.total);
    const totals& t = memory.all();
    const double per_op = 1 / std::max(out.operations, 1.0);
    result r;
    r.work = w.name;
    r.procs = procs;
    r.operations = out.operations;
    r.accesses = static_cast<double>(t.accesses) * per_op;
    r.locked = static_cast<double>(t.locked) * per_op;
    r.visits = static_cast<double>(t.visits) * per_op;
    r.time = static_cast<double>(t.ended - t.began) / ns * per_op * procs;
    r.threads = the.threads_made();
    std::map<std::uintptr_t, std::uint64_t> lines;
    std::vector<const void*> code;
    const auto groups = by_name(out.names);
    for (const auto& [name, g] : groups) {
        r.reads += static_cast<double>(g.count.reads) * per_op;
        r.writes += static_cast<double>(g.count.writes) * per_op;
        shared_thing thing{name, static_cast<double>(g.count.reads) * per_op,
                           static_cast<double>(g.count.writes) * per_op, 0, {}};
        for (const auto& [line, n] : g.lines) {
            thing.hottest = std::max(thing.hottest, static_cast<double>(n) * per_op);
            r.hottest = std::max(r.hottest, static_cast<double>(lines[line] += n) * per_op);
        }
        r.things.push_back(std::move(thing));
        for (const void* pc : busiest(g)) code.push_back(pc);
    }
    const auto places = places_of(code);
    for (shared_thing& thing : r.things)
        for (const void* pc : busiest(groups.at(thing.name)))
            if (const auto place = places.find(pc); place != places.end()) thing.places.push_back(place->second);
    std::sort(r.things.begin(), r.things.end(),
              [](auto& a, auto& b) { return a.reads + a.writes > b.reads + b.writes; });
    r.things.resize(std::min(r.things.size(), most_things));
    return r;
}

std::string to_line(const result& r) {
    std::ostringstream to;
    to.precision(12);
    to << r.work << separator << r.procs << separator << r.operations << separator << r.accesses << separator << r.locked
       << separator << r.visits << separator << r.reads << separator << r.writes << separator << r.time << separator
       << r.hottest << separator << r.threads;
    for (const shared_thing& t : r.things) {
        to << separator << t.name << list_separator << t.reads << list_separator << t.writes << list_separator << t.hottest;
        for (const std::string& p : t.places) to << list_separator << p;
    }
    return to.str();
}

result from_line(const std::string& line) {
    result r;
    std::istringstream from(line);
    std::string field;
    const auto next = [&] {
        std::getline(from, field, separator);
        return field;
    };
    r.work = next();
    r.procs = static_cast<unsigned>(std::stoul(next()));
    for (double* x : {&r.operations, &r.accesses, &r.locked, &r.visits, &r.reads, &r.writes, &r.time, &r.hottest})
        *x = std::stod(next());
    r.threads = static_cast<unsigned>(std::stoul(next()));
    while (std::getline(from, field, separator)) {
        std::istringstream parts(field);
        shared_thing t;
        std::string part;
        std::getline(parts, t.name, list_separator);
        for (double* x : {&t.reads, &t.writes, &t.hottest}) {
            std::getline(parts, part, list_separator);
            *x = std::stod(part);
        }
        while (std::getline(parts, part, list_separator)) t.places.push_back(part);
        r.things.push_back(std::move(t));
    }
    return r;
}

std::string heading() {
    return format("%-18s %5s %8s %8s %7s %7s %8s %8s %8s %9s  %s\n", "work", "procs", "ops", "accesses", "locked",
                  "visits", "reads", "writes", "hottest", "ns", "most shared");
}

std::string row(const result& r) {
    return format("%-18s %5u %8.0f %8s %7s %7s %8s %8s %8s %9s  %s\n", r.work.c_str(), r.procs, r.operations,
                  number(r.accesses).c_str(), number(r.locked).c_str(), number(r.visits).c_str(),
                  number(r.reads).c_str(), number(r.writes).c_str(), number(r.hottest).c_str(), number(r.time).c_str(),
                  r.things.empty() ? "" : r.things.front().name.c_str());
}

std::string details(const result& r) {
    std::string text;
    for (const shared_thing& t : r.things) {
        text += format("    %8s reads %8s writes %8s hottest line  %s\n", number(t.reads).c_str(),
                       number(t.writes).c_str(), number(t.hottest).c_str(), t.name.c_str());
        for (const std::string& p : t.places) text += "        " + p + "\n";
    }
    return text;
}

std::string json(const std::vector<result>& all) {
    std::ostringstream to;
    const auto quoted = [](const std::string& s) {
        std::string q = "\"";
        for (char c : s) {
            if (c == '"' || c == '\\') q += '\\';
            q += c;
        }
        return q + '"';
    };
    to << "[";
    for (const result& r : all) {
        to << (&r == all.data() ? "\n" : ",\n") << "{\"work\": " << quoted(r.work) << ", \"procs\": " << r.procs
           << ", \"operations\": " << r.operations << ", \"accesses\": " << r.accesses << ", \"locked\": " << r.locked
           << ", \"visits\": " << r.visits << ", \"shared_reads\": " << r.reads << ", \"shared_writes\": " << r.writes
           << ", \"hottest_line\": " << r.hottest << ", \"ns\": " << r.time << ", \"threads\": " << r.threads
           << ", \"shared\": [";
        for (const shared_thing& t : r.things) {
            to << (&t == r.things.data() ? "" : ", ") << "{\"what\": " << quoted(t.name) << ", \"reads\": " << t.reads
               << ", \"writes\": " << t.writes << ", \"hottest_line\": " << t.hottest << ", \"where\": [";
            for (const std::string& p : t.places) to << (&p == t.places.data() ? "" : ", ") << quoted(p);
            to << "]}";
        }
        to << "]}";
    }
    to << "\n]\n";
    return to.str();
}

std::string markdown(const std::vector<result>& all) {
    std::set<unsigned> procs;
    std::vector<std::string> names;
    std::map<std::pair<std::string, unsigned>, const result*> at;
    for (const result& r : all) {
        procs.insert(r.procs);
        if (std::find(names.begin(), names.end(), r.work) == names.end()) names.push_back(r.work);
        at[{r.work, r.procs}] = &r;
    }
    std::string text;
    const auto table = [&](const char* title, auto value) {
        text += format("\n**%s**\n\n| work |", title);
        for (unsigned p : procs) text += format(" %u |", p);
        text += "\n|---|";
        for (std::size_t i = 0; i < procs.size(); ++i) text += "---|";
        for (const std::string& name : names) {
            text += "\n| " + name + " |";
            for (unsigned p : procs) {
                const auto r = at.find({name, p});
                text += " " + (r == at.end() ? std::string("–") : value(*r->second)) + " |";
            }
        }
        text += "\n";
    };
    table("Shared writes an operation", [](const result& r) { return number(r.writes); });
    table("Shared reads an operation", [](const result& r) { return number(r.reads); });
    table("Transfers of the hottest line, an operation", [](const result& r) { return number(r.hottest); });
    table("Lines visited an operation", [](const result& r) { return number(r.visits); });
    table("Simulated time that a P spends on an operation, ns", [](const result& r) { return number(r.time); });
    return text;
}

}  // namespace scaling
