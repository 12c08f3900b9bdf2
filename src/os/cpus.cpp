// A quota may be set at any level above the process, and a container sees only the part of the hierarchy from some level
// down. /proc/self/cgroup names the group of the process; mountinfo says which group each mount shows at its top (its "root"
// field), and where. We read every level from the one to the other and take the smallest quota. Both versions of cgroups may
// exist at once (hybrid); the cpu controller is in one of them, and the other has no such files.
#include "os/cpus.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fcntl.h>
#include <limits>
#include <optional>
#include <sched.h>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace handoff::os {

namespace {

constexpr unsigned no_limit = std::numeric_limits<unsigned>::max();

struct group_mount {
    bool v2;
    std::string top;     // the group that the mount shows at `point`
    std::string point;
};

struct own_groups {
    std::optional<std::string> v2;
    std::optional<std::string> v1_cpu;
};

std::optional<std::string> read_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::nullopt;
    struct closer {
        int fd;
        ~closer() { ::close(fd); }
    } at_end{fd};
    std::string text;
    char buffer[4096];
    for (;;) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
        else if (n == 0) return text;
        else if (errno != EINTR) return std::nullopt;
    }
}

// next_field removes the part of `text` up to the next `separator`, and returns it.
std::string_view next_field(std::string_view& text, char separator) {
    const std::size_t end = text.find(separator);
    const std::string_view field = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return field;
}

bool list_has(std::string_view list, std::string_view word) {
    while (!list.empty())
        if (next_field(list, ',') == word) return true;
    return false;
}

// unescape undoes the kernel's \ooo escapes in a mountinfo field (space, tab, newline, backslash, and in newer kernels #).
std::string unescape(std::string_view field) {
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    std::string out;
    for (std::size_t i = 0; i < field.size(); ++i) {
        if (field[i] == '\\' && i + 3 < field.size() && octal(field[i + 1]) && octal(field[i + 2]) &&
            octal(field[i + 3])) {
            out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0'));
            i += 3;
        } else {
            out += field[i];
        }
    }
    return out;
}

// Lines of mountinfo: ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER_OPTIONS. Fields are separated by one
// space, and SOURCE may be empty.
std::vector<group_mount> parse_mounts(std::string_view mountinfo) {
    std::vector<group_mount> mounts;
    while (!mountinfo.empty()) {
        std::string_view line = next_field(mountinfo, '\n');
        for (int i = 0; i < 3; ++i) next_field(line, ' ');
        const std::string_view top = next_field(line, ' ');
        const std::string_view point = next_field(line, ' ');
        next_field(line, ' ');
        while (!line.empty() && next_field(line, ' ') != "-") {
        }
        const std::string_view type = next_field(line, ' ');
        next_field(line, ' ');
        const bool v2 = type == "cgroup2";
        const bool v1 = type == "cgroup" && list_has(line, "cpu");
        if (v1 || v2) mounts.push_back({v2, unescape(top), unescape(point)});
    }
    return mounts;
}

// Lines of /proc/self/cgroup: HIERARCHY:CONTROLLER,…:PATH. The line of v2 has number 0 and no controllers. PATH isn't
// escaped and may contain colons.
own_groups parse_groups(std::string_view cgroup) {
    own_groups groups;
    while (!cgroup.empty()) {
        std::string_view line = next_field(cgroup, '\n');
        const std::string_view hierarchy = next_field(line, ':');
        const std::string_view controllers = next_field(line, ':');
        if (line.empty() || line.front() != '/') continue;
        if (hierarchy == "0" && controllers.empty()) groups.v2 = line;
        else if (list_has(controllers, "cpu")) groups.v1_cpu = line;
    }
    return groups;
}

// below returns the path from group `top` down to `group`: "" if they are the same, otherwise "/…". It returns nothing if
// `group` isn't under `top`, as seen by a process outside of its cgroup namespace ("/../x").
std::optional<std::string> below(const std::string& group, std::string top) {
    if (top == "/") top.clear();
    if (group.compare(0, top.size(), top) != 0) return std::nullopt;
    std::string rest = group.substr(top.size());
    if (rest == "/") rest.clear();
    if (!rest.empty() && rest.front() != '/') return std::nullopt;
    if (rest == "/.." || rest.compare(0, 4, "/../") == 0) return std::nullopt;
    return rest;
}

// next_number parses a positive number, and removes it and the white space after it from `text`.
std::optional<std::uint64_t> next_number(std::string_view& text) {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || n == 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::size_t space = std::min(text.find_first_not_of(" \n"), text.size());
    if (space == 0 && !text.empty()) return std::nullopt;
    text.remove_prefix(space);
    return n;
}

unsigned whole_cpus(std::optional<std::uint64_t> quota, std::optional<std::uint64_t> period) {
    if (!quota || !period) return no_limit;
    const std::uint64_t cpus = *quota / *period + (*quota % *period != 0);
    return static_cast<unsigned>(std::min<std::uint64_t>(cpus, no_limit));
}

// The limit that one directory sets. "max", -1 and everything else that is not a number mean no limit.
unsigned limit_v2(const std::string& dir) {
    const auto text = read_file(dir + "/cpu.max");
    if (!text) return no_limit;
    std::string_view rest = *text;
    const auto quota = next_number(rest);
    const auto period = next_number(rest);
    return rest.empty() ? whole_cpus(quota, period) : no_limit;
}

unsigned limit_v1(const std::string& dir) {
    const auto number_in = [&](const char* name) -> std::optional<std::uint64_t> {
        const auto text = read_file(dir + name);
        if (!text) return std::nullopt;
        std::string_view rest = *text;
        const auto n = next_number(rest);
        return rest.empty() ? n : std::nullopt;
    };
    return whole_cpus(number_in("/cpu.cfs_quota_us"), number_in("/cpu.cfs_period_us"));
}

// The tightest limit of all levels from `way` under the mount up to the top directory of the mount.
unsigned limit_of_levels(const group_mount& mount, const std::string& root, std::string way) {
    unsigned limit = no_limit;
    for (;;) {
        std::string dir = root;
        dir.append(mount.point).append(way);
        limit = std::min(limit, mount.v2 ? limit_v2(dir) : limit_v1(dir));
        if (way.empty()) return limit;
        way.resize(way.rfind('/'));
    }
}

unsigned limit_of_version(const std::vector<group_mount>& mounts, bool v2, const std::string& root,
                          const std::optional<std::string>& group) {
    if (!group) return no_limit;
    unsigned limit = no_limit;
    bool found = false;
    for (const group_mount& m : mounts) {
        if (m.v2 != v2) continue;
        if (const auto way = below(*group, m.top)) {
            found = true;
            limit = std::min(limit, limit_of_levels(m, root, *way));
        }
    }
    if (found || group->compare(0, 3, "/..") == 0) return limit;
    // In some containers the mounts and /proc/self/cgroup name the group differently (one by the host's names, the other by
    // the namespace's). Then the container's own group is still at the top of the mount.
    for (const group_mount& m : mounts)
        if (m.v2 == v2 && m.top != "/") limit = std::min(limit, limit_of_levels(m, root, {}));
    return limit;
}

}  // namespace

unsigned available_cpus() {
    const unsigned cpus = affinity_cpus();
    const unsigned limit = cgroup_cpu_limit();
    return limit ? std::min(cpus, limit) : cpus;
}

unsigned affinity_cpus() noexcept {
    // The kernel refuses a set that is smaller than its own; the largest configuration today has 8,192 CPUs.
    for (int size = CPU_SETSIZE; size <= 1024 * CPU_SETSIZE; size *= 2) {
        cpu_set_t* set = CPU_ALLOC(size);
        if (!set) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(size);
        const bool ok = ::sched_getaffinity(0, bytes, set) == 0;
        const int error = errno;
        const int count = ok ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) return static_cast<unsigned>(count);
        if (ok || error != EINVAL) break;
    }
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? static_cast<unsigned>(online) : 1;
}

unsigned cgroup_cpu_limit(const std::string& root) {
    const auto mountinfo = read_file(root + "/proc/self/mountinfo");
    const auto cgroup = read_file(root + "/proc/self/cgroup");
    if (!mountinfo || !cgroup) return 0;
    const std::vector<group_mount> mounts = parse_mounts(*mountinfo);
    const own_groups groups = parse_groups(*cgroup);
    const unsigned limit = std::min(limit_of_version(mounts, true, root, groups.v2),
                                    limit_of_version(mounts, false, root, groups.v1_cpu));
    return limit == no_limit ? 0 : limit;
}

}  // namespace handoff::os
