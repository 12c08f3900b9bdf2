// How many threads of the whole machine want a core at this moment.
#pragma once

namespace handoff::os {

// load_file keeps a descriptor of /proc/loadavg open. That file tells how many threads run or wait for a core at this
// moment, those of other processes included. A look takes half a microsecond. Any thread.
class load_file {
public:
    load_file() noexcept;
    load_file(const load_file&) = delete;
    load_file& operator=(const load_file&) = delete;
    ~load_file();

    // has_room says whether there are no more such threads than CPUs. Then the caller, which is one of them, takes no core
    // away from another. True if it is not known. (A container may see the numbers of the machine on which it runs.)
    bool has_room() const noexcept;

private:
    const int fd_;
    const long cpus_;   // online
};

}  // namespace handoff::os
