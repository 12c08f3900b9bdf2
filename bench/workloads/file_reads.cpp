// file_reads: 1,000 goroutines on 2 Ps read 4 random blocks of 4 KiB each, by pread of a file of 256 MiB that is not in
// the page cache; each block is dropped from it (posix_fadvise) before it is read, too. pread is under the default
// guard.
//
// The value is the time from the first spawn until all are joined per read, in microseconds. `p99_us` is of the time of
// one pread with its guard, `threads` the most threads that the process had. The file is in $TMPDIR, else /tmp.

#include "blocking.hpp"
#include "process_stats.hpp"
#include "registry.hpp"

#include <handoff/handoff.hpp>

namespace {

constexpr unsigned procs = 2;

std::vector<bench::figure> measure(const bench::settings& s) {
    const bench::reads_shape shape(s);
    const std::vector<std::size_t> numbers = shape.block_numbers();
    const bench::uncached_file file(shape.file_size);
    std::vector<double> times(shape.reads());
    bench::process_sampler sampler;
    handoff::runtime rt({.procs = procs});
    const double all = rt.run([&] {
        const double start = bench::now_ns();
        handoff::task_group readers;
        for (std::size_t first = 0; first < shape.reads(); first += shape.reads_each) {
            readers.go([&, first] {
                for (std::size_t i = first; i < first + shape.reads_each; ++i) {
                    file.drop(numbers[i]);   // does not wait
                    const double begun = bench::now_ns();
                    handoff::blocking_call([&] { file.read(numbers[i]); });
                    times[i] = bench::now_ns() - begun;
                }
            });
        }
        readers.wait();
        return bench::now_ns() - start;
    });
    return {bench::reads_figure("handoff", procs, all, times, sampler.stop().threads)};
}

const bench::register_workload registered({{"file_reads"}, "handoff", measure});

}  // namespace
