#include "os/cpus.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace os = handoff::os;
namespace fs = std::filesystem;

namespace {

// A directory that stands in for "/".
class fake_root : public testing::Test {
protected:
    fake_root() {
        std::string pattern = fs::temp_directory_path() / "handoff-cpus-XXXXXX";
        if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
        root_ = pattern;
    }
    ~fake_root() override {
        std::error_code ignored;
        fs::remove_all(root_, ignored);
    }

    void write(const std::string& path, const std::string& text) {
        const fs::path file = root_ + path;
        fs::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
    }
    void mountinfo(const std::string& text) { write("/proc/self/mountinfo", text); }
    void cgroup(const std::string& text) { write("/proc/self/cgroup", text); }
    void v1_quota(const std::string& dir, const std::string& quota, const std::string& period = "100000\n") {
        write(dir + "/cpu.cfs_quota_us", quota);
        write(dir + "/cpu.cfs_period_us", period);
    }
    unsigned limit() const { return os::cgroup_cpu_limit(root_); }

    std::string root_;
};

constexpr auto v2_mount = "24 1 0:22 / /proc rw,nosuid - proc proc rw\n"
                          "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr auto v1_mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
                           "33 31 0:30 / /sys/fs/cgroup/cpuset rw shared:11 - cgroup cgroup rw,cpuset\n"
                           "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n";

class cgroup_v2 : public fake_root {
protected:
    cgroup_v2() { mountinfo(v2_mount); }
};

class cgroup_v1 : public fake_root {
protected:
    cgroup_v1() { mountinfo(v1_mounts); }
};

TEST_F(fake_root, NoFilesNoLimit) { EXPECT_EQ(limit(), 0u); }

TEST_F(fake_root, GarbageNoLimit) {
    for (const std::string text :
         {"", "\n", "\n\n\n", "-", " - ", "a b c", "30 1 0:26 / /sys/fs/cgroup rw",
          "30 1 0:26 / /sys/fs/cgroup rw - cgroup2", "\\", ":::", "0::", "0:cpu", "\xff\xfe"}) {
        mountinfo(text);
        cgroup(text);
        EXPECT_EQ(limit(), 0u) << text;
        cgroup("0::/a\n");
        EXPECT_EQ(limit(), 0u) << text;
    }
    mountinfo(v2_mount);
    for (const std::string text :
         {"", "\n", ":", "::", ":::", "0::", "0::a\n", "0:cpu:/a\n", "00::/a\n", "\\", "\xff"}) {
        cgroup(text);
        write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
        EXPECT_EQ(limit(), 0u) << text;
    }
}

TEST_F(cgroup_v2, OwnLevel) {
    cgroup("0::/a/b\n");
    write("/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n");
    EXPECT_EQ(limit(), 3u);
}

TEST_F(cgroup_v2, RoundsUp) {
    cgroup("0::/a\n");
    const struct {
        const char* text;
        unsigned cpus;
    } cases[] = {
        {"100000 100000\n", 1}, {"100001 100000\n", 2}, {"199999 100000\n", 2}, {"200000 100000\n", 2},
        {"1000 100000\n", 1},   {"1 1000000\n", 1},     {"250000 50000\n", 5},  {"150000 100000", 2},
        {"18446744073709551615 1000000\n", 4294967295u},   // no limit, in effect: may not wrap to a small one
    };
    for (const auto& c : cases) {
        write("/sys/fs/cgroup/a/cpu.max", c.text);
        EXPECT_EQ(limit(), c.cpus == 4294967295u ? 0 : c.cpus) << c.text;
    }
}

TEST_F(cgroup_v2, TighterParentWins) {
    cgroup("0::/slice/pod/container\n");
    write("/sys/fs/cgroup/slice/cpu.max", "800000 100000\n");
    write("/sys/fs/cgroup/slice/pod/cpu.max", "150000 100000\n");
    write("/sys/fs/cgroup/slice/pod/container/cpu.max", "400000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(cgroup_v2, TighterChildWins) {
    cgroup("0::/slice/pod\n");
    write("/sys/fs/cgroup/slice/cpu.max", "800000 100000\n");
    write("/sys/fs/cgroup/slice/pod/cpu.max", "400000 100000\n");
    EXPECT_EQ(limit(), 4u);
}

TEST_F(cgroup_v2, SiblingsAndChildrenDontCount) {
    cgroup("0::/a\n");
    write("/sys/fs/cgroup/a/cpu.max", "500000 100000\n");
    write("/sys/fs/cgroup/ab/cpu.max", "100000 100000\n");
    write("/sys/fs/cgroup/a/child/cpu.max", "100000 100000\n");
    EXPECT_EQ(limit(), 5u);
}

TEST_F(cgroup_v2, LimitAtTheMountRoot) {   // as in a container with a cgroup namespace
    cgroup("0::/\n");
    write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
    cgroup("0::/x/y\n");   // no files there
    EXPECT_EQ(limit(), 2u);
}

TEST_F(cgroup_v2, MaxIsNoLimit) {
    cgroup("0::/a/b\n");
    write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    EXPECT_EQ(limit(), 0u);
    write("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
    write("/sys/fs/cgroup/a/cpu.max", "max\n");
    EXPECT_EQ(limit(), 0u);
}

TEST_F(cgroup_v2, MalformedLevelIsSkipped) {
    cgroup("0::/a/b\n");
    write("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    for (const std::string text :
         {"", "\n", "x", "100000", "100000\n", "100000 ", "100000 0\n", "0 100000\n", "-1 100000\n", "100000 -1\n",
          "100000 100000 1\n", "1e5 100000\n", "100000x 100000\n", "100000 100000x\n", " 100000 100000\n",
          "99999999999999999999999 100000\n", "max max\n", "\xff\xff 1\n"}) {
        write("/sys/fs/cgroup/a/b/cpu.max", text);
        EXPECT_EQ(limit(), 3u) << text;
    }
    fs::remove(root_ + "/sys/fs/cgroup/a/b/cpu.max");
    fs::create_directory(root_ + "/sys/fs/cgroup/a/b/cpu.max");   // opens, but can't be read
    EXPECT_EQ(limit(), 3u);
}

TEST_F(cgroup_v2, PathWithColonsAndSpaces) {
    cgroup("0::/a:b c/d\\e\n");   // not escaped in this file
    write("/sys/fs/cgroup/a:b c/d\\e/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(cgroup_v2, DeletedGroupStillHasParents) {
    cgroup("0::/a/b (deleted)\n");
    write("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(cgroup_v2, OutsideOfTheNamespace) {   // what is mounted is not above us
    for (const std::string path : {"0::/..\n", "0::/../other\n"}) {
        cgroup(path);
        write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
        write("/sys/fs/other/cpu.max", "100000 100000\n");
        EXPECT_EQ(limit(), 0u);
    }
    cgroup("0::/..dots\n");   // an ordinary name
    EXPECT_EQ(limit(), 1u);
}

TEST_F(fake_root, MountRootOfAContainer) {
    mountinfo("30 1 0:26 /docker/4f5e /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    cgroup("0::/docker/4f5e/inner\n");
    write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
    write("/sys/fs/cgroup/inner/cpu.max", "100000 100000\n");
    EXPECT_EQ(limit(), 1u);
    cgroup("0::/docker/4f5e\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(fake_root, MountRootAboveTheNamespace) {
    mountinfo("30 1 0:26 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    cgroup("0::/../a\n");
    write("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(fake_root, MountRootIsOnlyAPrefixOfTheName) {   // /docker/4f is not above /docker/4f5e
    mountinfo("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
              "31 1 0:26 /docker/4f /mnt/other rw - cgroup2 cgroup rw\n");
    cgroup("0::/docker/4f5e\n");
    write("/sys/fs/cgroup/docker/4f5e/cpu.max", "300000 100000\n");
    write("/mnt/other/cpu.max", "100000 100000\n");
    EXPECT_EQ(limit(), 3u);
}

TEST_F(fake_root, MountRootByAnotherName) {   // the mount by the host's name, the group by the namespace's
    mountinfo("30 1 0:26 /docker/4f5e /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
    cgroup("4:cpu:/\n");
    v1_quota("/sys/fs/cgroup/cpu", "200000\n");
    EXPECT_EQ(limit(), 2u);
    cgroup("4:cpu:/../else\n");
    EXPECT_EQ(limit(), 0u);
}

TEST_F(fake_root, AllMountsOfOneHierarchyCount) {
    mountinfo("30 1 0:26 /a/b /mnt/low rw - cgroup2 cgroup rw\n"
              "31 1 0:26 / /mnt/high rw - cgroup2 cgroup rw\n");
    cgroup("0::/a/b\n");
    write("/mnt/low/cpu.max", "500000 100000\n");
    write("/mnt/high/a/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(fake_root, EscapesInMountinfo) {
    mountinfo("30 1 0:26 /my\\040group\\134x /mnt/c\\040g\\011t\\012n\\134b\\043 rw -  cgroup2  rw\n"
              "31 1 0:26 /my\\040group\\134x /mnt/c\\040g\\011t\\012n\\134b\\043 rw - cgroup2  rw\n");
    cgroup("0::/my group\\x/y\n");
    write("/mnt/c g\tt\nn\\b#/cpu.max", "300000 100000\n");
    EXPECT_EQ(limit(), 3u);
    write("/mnt/c g\tt\nn\\b#/y/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(fake_root, HalfEscapesStayAsTheyAre) {
    mountinfo("30 1 0:26 / /mnt/\\04\\9\\0 rw - cgroup2 x rw\n");
    cgroup("0::/\n");
    write("/mnt/\\04\\9\\0/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(cgroup_v1, OwnLevelAndParents) {
    cgroup("12:cpuset:/set\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n");
    v1_quota("/sys/fs/cgroup/cpu,cpuacct/a/b", "350000\n");
    EXPECT_EQ(limit(), 4u);
    v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", "100000\n", "50000\n");
    EXPECT_EQ(limit(), 2u);
    v1_quota("/sys/fs/cgroup/cpu,cpuacct", "50000\n");
    EXPECT_EQ(limit(), 1u);
}

TEST_F(cgroup_v1, MinusOneIsNoLimit) {
    cgroup("4:cpuacct,cpu:/a\n");
    v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", "-1\n");
    EXPECT_EQ(limit(), 0u);
}

TEST_F(cgroup_v1, MalformedLevelIsSkipped) {
    cgroup("4:cpu,cpuacct:/a\n");
    v1_quota("/sys/fs/cgroup/cpu,cpuacct", "300000\n");
    for (const std::string text : {"", "x\n", "max\n", "100000 100000\n", "0\n"}) {
        v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", text);
        EXPECT_EQ(limit(), 3u) << text;
        v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", "100000\n", text);
        EXPECT_EQ(limit(), 3u) << text;
    }
    fs::remove(root_ + "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us");
    EXPECT_EQ(limit(), 3u);
}

TEST_F(cgroup_v1, OtherControllersDontCount) {
    cgroup("12:cpuset:/a\n13:cpuacct:/a\n14:name=cpu:/a\n");
    v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", "100000\n");
    v1_quota("/sys/fs/cgroup/cpuset/a", "100000\n");
    EXPECT_EQ(limit(), 0u);
}

TEST_F(cgroup_v1, ContainerWithTheHostsNames) {
    mountinfo("32 31 0:29 /docker/4f5e /sys/fs/cgroup/cpu,cpuacct ro master:10 - cgroup cgroup rw,cpu,cpuacct\n");
    cgroup("4:cpu,cpuacct:/docker/4f5e\n");
    v1_quota("/sys/fs/cgroup/cpu,cpuacct", "200000\n");
    EXPECT_EQ(limit(), 2u);
}

TEST_F(fake_root, Hybrid) {   // the cpu controller is in v1, and v2 is there for systemd alone
    mountinfo(std::string(v1_mounts) + "38 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    cgroup("4:cpu,cpuacct:/a\n0::/b\n");
    write("/sys/fs/cgroup/unified/b/cgroup.procs", "1\n");
    EXPECT_EQ(limit(), 0u);
    v1_quota("/sys/fs/cgroup/cpu,cpuacct/a", "300000\n");
    EXPECT_EQ(limit(), 3u);
    // Nothing forbids looking at both; the tighter wins.
    write("/sys/fs/cgroup/unified/b/cpu.max", "200000 100000\n");
    EXPECT_EQ(limit(), 2u);
    write("/sys/fs/cgroup/unified/a/cpu.max", "100000 100000\n");   // the v1 path in the v2 tree
    EXPECT_EQ(limit(), 2u);
}

TEST(AvailableCpus, IsSane) {
    EXPECT_GE(os::available_cpus(), 1u);
    EXPECT_LE(os::available_cpus(), os::affinity_cpus());
    if (const unsigned quota = os::cgroup_cpu_limit()) {
        EXPECT_LE(os::available_cpus(), quota);
    }
}

TEST(AvailableCpus, FollowAffinity) {
    cpu_set_t before;
    CPU_ZERO(&before);
    if (::sched_getaffinity(0, sizeof before, &before) != 0) GTEST_SKIP() << "more CPUs than a cpu_set_t holds";
    struct restorer {
        cpu_set_t& set;
        ~restorer() { ::sched_setaffinity(0, sizeof set, &set); }
    } at_end{before};
    EXPECT_EQ(os::affinity_cpus(), static_cast<unsigned>(CPU_COUNT(&before)));

    // Add the CPUs back one by one.
    cpu_set_t some;
    CPU_ZERO(&some);
    unsigned n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &before)) continue;
        CPU_SET(cpu, &some);
        ++n;
        ASSERT_EQ(::sched_setaffinity(0, sizeof some, &some), 0);
        EXPECT_EQ(os::affinity_cpus(), n);
        EXPECT_LE(os::available_cpus(), n);
    }
}

}  // namespace
