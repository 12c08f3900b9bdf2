// How many CPUs the process may use: those that its affinity allows, limited by the CPU quota of its control groups.
#pragma once

#include <string>

namespace handoff::os {

// available_cpus is the number of CPUs that this process can keep busy, at least 1: the smaller of affinity_cpus and
// cgroup_cpu_limit. It reads files, so it is for start-up. Throws std::bad_alloc.
unsigned available_cpus();

// affinity_cpus counts the CPUs on which the calling thread may run, at least 1. Cpusets are taken into account.
unsigned affinity_cpus() noexcept;

// cgroup_cpu_limit is the tightest CPU quota of the process's cgroup and of all its parents up to the root of the mount (v2:
// cpu.max; v1: cpu.cfs_quota_us over cpu.cfs_period_us), rounded up to whole CPUs; 0 if there is none. A file that can't be
// read or parsed sets no limit at its level. `root` is prepended to every file name, so that tests can use a tree of their
// own.
unsigned cgroup_cpu_limit(const std::string& root = {});

}  // namespace handoff::os
