// How many CPUs the process may use: what affinity leaves it, limited by the CPU quota of its control groups.
#pragma once

#include <string>

namespace handoff::os {

// available_cpus is the number of CPUs that this process can keep busy, at least 1: the smaller of affinity_cpus and
// cgroup_cpu_limit. Reads files; for start-up. Throws std::bad_alloc.
unsigned available_cpus();

// affinity_cpus counts the CPUs that the calling thread may run on, at least 1. Cpusets are part of it.
unsigned affinity_cpus() noexcept;

// cgroup_cpu_limit is the tightest CPU quota of the process's cgroup and of all its parents up to the root of the
// mount (v2: cpu.max; v1: cpu.cfs_quota_us over cpu.cfs_period_us), rounded up to whole CPUs; 0 if there is none. A
// file that can't be read or understood sets no limit at its level. `root` is put in front of every file name, so
// that tests can have a tree of their own.
unsigned cgroup_cpu_limit(const std::string& root = {});

}  // namespace handoff::os
