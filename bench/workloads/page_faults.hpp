// The shape of page_faults, for all subjects that are written in C++: see page_faults.cpp.
#pragma once

#include "blocking.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <system_error>

namespace bench {

struct faults_shape {
    std::size_t walkers = 64;
    std::size_t pages_at_a_time = 16;   // then a walker yields
    std::size_t file_size;
    beside_shape beside;   // those who compute

    explicit faults_shape(const settings& s)
        : file_size((s.quick ? 64 : 256) * std::size_t{1024} * 1024), beside(s) {}

    std::size_t pages_each() const { return file_size / reads_shape::block / walkers; }
};

// mapped_file is an uncached_file in memory. Each touch of one of its pages waits for the device.
class mapped_file {
public:
    explicit mapped_file(std::size_t size) : file_(size), size_(size) {
        void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file_.descriptor(), 0);
        if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        pages_ = static_cast<char*>(at);
        ::madvise(pages_, size, MADV_RANDOM);   // or the kernel would read ahead
    }
    ~mapped_file() { ::munmap(pages_, size_); }
    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    // touch waits for the page; throws unless it is that page.
    void touch(std::size_t number) const {
        std::uint64_t found;
        std::memcpy(&found, pages_ + number * reads_shape::block, sizeof found);
        if (found != number) throw std::runtime_error("page " + std::to_string(number) + " of the file is another one");
    }

    // drop makes pages that were touched cold again.
    void drop(std::size_t first, std::size_t count) const {
        ::madvise(pages_ + first * reads_shape::block, count * reads_shape::block, MADV_DONTNEED);
        file_.drop(first, count);
    }

private:
    uncached_file file_;
    std::size_t size_;
    char* pages_;
};

// walker goes over its part of the file. Should it come to the end, it drops that part and starts anew.
class walker {
public:
    walker(const faults_shape& shape, const mapped_file& file, std::size_t number)
        : file_(file), at_a_time_(shape.pages_at_a_time), begin_(number * shape.pages_each()),
          end_(begin_ + shape.pages_each()), next_(begin_) {}

    // step touches the next few pages, and returns their number. The walker should yield then.
    std::size_t step() {
        const std::size_t first = next_, last = std::min(first + at_a_time_, end_);
        for (; next_ < last; ++next_) file_.touch(next_);
        if (next_ == end_) {
            file_.drop(begin_, end_ - begin_);
            next_ = begin_;
        }
        return last - first;
    }

private:
    const mapped_file& file_;
    const std::size_t at_a_time_, begin_, end_;
    std::size_t next_;
};

// faults_figure puts together what a subject has measured: the slices computed without and with walkers, and the pages
// that these touched.
inline figure faults_figure(const char* subject, unsigned procs, const faults_shape& shape, double alone, double beside,
                            std::size_t pages, unsigned threads) {
    return {"page_faults",
            subject,
            procs,
            100 * beside / alone,
            "%",
            {{"pages_per_s", static_cast<double>(pages) * 1e9 / shape.beside.for_ns}, {"threads", threads}}};
}

}  // namespace bench
