// file: opening, positions, reading and writing, and what errors say.
#include "files.hpp"
#include "signals.hpp"

#include <array>
#include <csignal>
#include <filesystem>
#include <thread>
#include <type_traits>

using handoff::const_buffer;
using handoff::file;
using handoff::io_errc;
using handoff::io_error;
using handoff::mutable_buffer;
using handoff::open_mode;
using handoff::seek_from;
using namespace handoff_test;

namespace {

static_assert(!std::is_copy_constructible_v<file> && std::is_nothrow_move_constructible_v<file>);
static_assert(std::is_nothrow_move_assignable_v<file> && std::is_nothrow_default_constructible_v<file>);
static_assert(std::is_nothrow_copy_constructible_v<io_error>);

// What can be read into, and what can be written.
template <class T>
constexpr bool is_read_into = std::is_convertible_v<T, mutable_buffer>;
template <class T>
constexpr bool is_written = std::is_convertible_v<T, const_buffer>;
static_assert(is_read_into<std::string&> && is_read_into<char (&)[4]> && is_read_into<std::vector<std::byte>&>);
static_assert(is_read_into<std::span<unsigned char>> && is_read_into<std::array<std::byte, 4>&>);
static_assert(!is_read_into<const std::string&> && !is_read_into<std::span<const char>> && !is_read_into<std::vector<int>&>);
static_assert(is_written<const std::string&> && is_written<const char*> && is_written<std::string_view>);
static_assert(is_written<mutable_buffer>);
static_assert(is_written<std::span<const std::byte>> && is_written<const std::vector<unsigned char>&>);
static_assert(!is_written<char (&)[4]> && !is_written<std::vector<int>&> && !is_written<int*>);
static_assert(const_buffer("text").size() == 4 && const_buffer(std::string_view("a\0b", 3)).size() == 3);

constexpr open_mode both = open_mode::read | open_mode::write | open_mode::create;

class files : public with_files {};
INSTANTIATE_WITH_FILES(files);

TEST_P(files, are_written_and_read_back) {
    on_each(rt_, [&] {
        file f = file::open(in("a"), both | open_mode::truncate);
        EXPECT_EQ(f.name(), in("a"));
        EXPECT_EQ(f.write_all("one two three"), 13u);
        EXPECT_EQ(f.write_some(std::string(" four")), 5u);
        EXPECT_EQ(f.tell(), 18u);
        EXPECT_EQ(f.size(), 18u);
        char word[5];
        EXPECT_EQ(f.read_at(8, word), 5u);
        EXPECT_EQ(std::string_view(word, 5), "three");
        EXPECT_EQ(f.tell(), 18u);
        EXPECT_EQ(f.write_at(4, "TWO"), 3u);
        EXPECT_EQ(f.seek(-9, seek_from::end), 9u);
        EXPECT_EQ(f.seek(-5, seek_from::current), 4u);
        EXPECT_EQ(f.read_some(word), 5u);
        EXPECT_EQ(std::string_view(word, 5), "TWO t");
        EXPECT_EQ(f.read_to_end(), "hree four");
        EXPECT_EQ(f.read_to_end(), "");
        EXPECT_EQ(f.seek(0), 0u);
        EXPECT_EQ(f.read_to_end(), "one TWO three four");
        f.close();
        EXPECT_FALSE(f.is_open());
    });
}

// Less than was asked for is the end.
TEST_P(files, end) {
    on_each(rt_, [&] {
        file f = file::open(in("a"), both | open_mode::truncate);
        f.write_all(pattern(10'000));
        std::string b(4096, '\0');
        EXPECT_EQ(f.read_at(8192, b), 10'000u - 8192);
        EXPECT_EQ(f.read_at(10'000, b), 0u);
        EXPECT_EQ(f.read_at(1 << 30, b), 0u);
        f.seek(9'990);
        std::error_code ec = std::make_error_code(std::errc::io_error);
        EXPECT_EQ(f.read_exactly(mutable_buffer(b.data(), 4), ec), 4u);
        EXPECT_FALSE(ec);
        EXPECT_EQ(f.read_exactly(b, ec), 6u);
        EXPECT_EQ(ec, io_errc::end_of_file);
        EXPECT_EQ(f.read_some(b, ec), 0u);
        EXPECT_FALSE(ec);
        EXPECT_EQ(io_failure([&] { f.read_exactly(b); }),
                  "handoff: read of " + in("a") + ": the data ended too early [0]");
        EXPECT_EQ(f.read_exactly(mutable_buffer()), 0u);
        EXPECT_EQ(f.read_some(mutable_buffer()), 0u);
        EXPECT_EQ(f.write_all(const_buffer()), 0u);
    });
}

TEST_P(files, are_opened_as_the_mode_says) {
    on_each(rt_, [&] {
        const std::string a = in("a"), b = in("b");
        std::filesystem::remove(a);
        std::filesystem::remove(b);
        std::error_code ec;
        EXPECT_FALSE(file::open(a, open_mode::read, ec).is_open());
        EXPECT_EQ(ec, std::errc::no_such_file_or_directory);
        const mode_t before = ::umask(027);
        file::open(a, open_mode::write | open_mode::create | open_mode::exclusive, 0666).write_all("first");
        ::umask(before);
        struct stat s;
        ASSERT_EQ(::stat(a.c_str(), &s), 0);
        EXPECT_EQ(s.st_mode & 07777, 0640u);
        EXPECT_FALSE(file::open(a, both | open_mode::exclusive, ec).is_open());
        EXPECT_EQ(ec, std::errc::file_exists);
        file end = file::open(a, open_mode::append | open_mode::read, ec);
        EXPECT_FALSE(ec);
        end.write_all(" last");
        EXPECT_EQ(end.seek(0), 0u);
        end.write_all("!");
        end.seek(0);
        EXPECT_EQ(end.read_to_end(), "first last!");
        file::open(a, open_mode::write).write_all("FIRST");
        EXPECT_EQ(handoff::read_file(a), "FIRST last!");
        file::open(a, open_mode::write | open_mode::truncate).write_all("x");
        EXPECT_EQ(handoff::read_file(a), "x");
        std::filesystem::create_symlink(a, b);
        EXPECT_EQ(file::open(b, open_mode::read).size(), 1u);
        EXPECT_FALSE(file::open(b, open_mode::read | open_mode::no_follow, ec).is_open());
        EXPECT_EQ(ec, std::errc::too_many_symbolic_link_levels);
        EXPECT_EQ(::fcntl(end.native_handle(), F_GETFD), FD_CLOEXEC);
    });
}

TEST_P(files, are_not_opened_in_senseless_ways) {
    on_each(rt_, [&] {
        std::error_code ec;
        for (const open_mode m : {open_mode{}, open_mode::create, open_mode::read | open_mode::truncate,
                                  open_mode::write | open_mode::exclusive, open_mode::truncate | open_mode::create}) {
            EXPECT_FALSE(file::open(in("a"), m, ec).is_open());
            EXPECT_EQ(ec, std::errc::invalid_argument) << static_cast<unsigned>(m);
        }
        EXPECT_FALSE(file::open(in("a"), both, 010000, ec).is_open());
        EXPECT_EQ(ec, std::errc::invalid_argument);
        EXPECT_FALSE(file::open(std::string("/dev/null\0x", 11), open_mode::read, ec).is_open());
        EXPECT_EQ(ec, std::errc::invalid_argument);
        EXPECT_FALSE(std::filesystem::exists(in("a")));
    });
}

TEST_P(files, say_what_failed) {
    on_each(rt_, [&] {
        EXPECT_EQ(io_failure([&] { file::open(in("none"), open_mode::read); }),
                  "handoff: open of " + in("none") + ": No such file or directory [0]");
        file f = file::open(in("a"), open_mode::write | open_mode::create);
        char b[4];
        const std::string bad = in("a") + ": Bad file descriptor [0]";
        EXPECT_EQ(io_failure([&] { f.read_some(b); }), "handoff: read of " + bad);
        EXPECT_EQ(io_failure([&] { f.read_to_end(); }), "handoff: read of " + bad);
        EXPECT_EQ(io_failure([&] { f.read_at(0, b); }), "handoff: read of " + bad);
        EXPECT_EQ(io_failure([&] { f.seek(-1); }), "handoff: seek in " + in("a") + ": Invalid argument [0]");
        EXPECT_EQ(io_failure([&] { f.resize(~std::uint64_t{0}); }),
                  "handoff: resizing of " + in("a") + ": Invalid argument [0]");
        EXPECT_EQ(io_failure([&] { f.write_at(std::uint64_t{1} << 63, "x"); }),
                  "handoff: write to " + in("a") + ": Invalid argument [0]");
        EXPECT_EQ(io_failure([&] { f.read_at(~std::uint64_t{0}, b); }),
                  "handoff: read of " + in("a") + ": Invalid argument [0]");
        EXPECT_EQ(io_failure([&] { f.allocate(0, 0); }), "handoff: allocation in " + in("a") + ": Invalid argument [0]");
        file full = file::open("/dev/full", open_mode::write);
        EXPECT_EQ(io_failure([&] { full.write_all("x"); }), "handoff: write to /dev/full: No space left on device [0]");
        EXPECT_EQ(io_failure([&] { full.write_some("x"); }), "handoff: write to /dev/full: No space left on device [0]");
        EXPECT_EQ(io_failure([] { file::open("/", open_mode::read).read_to_end(); }), "handoff: read of /: Is a directory [0]");
    });
}

TEST_P(files, that_are_not_open_fail) {
    on_each(rt_, [&] {
        file f;
        char b[4];
        const std::string bad = " a file that is not open: Bad file descriptor [0]";
        EXPECT_EQ(io_failure([&] { f.read_some(b); }), "handoff: read of" + bad);
        EXPECT_EQ(io_failure([&] { f.write_all("x"); }), "handoff: write to" + bad);
        EXPECT_EQ(io_failure([&] { f.sync(); }), "handoff: sync of" + bad);
        EXPECT_EQ(io_failure([&] { f.sync_data(); }), "handoff: sync of" + bad);
        EXPECT_EQ(io_failure([&] { (void)f.size(); }), "handoff: size of" + bad);
        EXPECT_EQ(io_failure([&] { f.lock(); }), "handoff: lock of" + bad);
        EXPECT_EQ(io_failure([&] { f.try_lock(); }), "handoff: lock of" + bad);
        EXPECT_EQ(io_failure([&] { f.unlock(); }), "handoff: unlock of" + bad);
        EXPECT_EQ(io_failure([&] { f.close(); }), "handoff: close of" + bad);
        file lost = file::adopt(-1);
        EXPECT_EQ(io_failure([&] { lost.sync(); }), "handoff: sync of descriptor -1: Bad file descriptor [0]");
    });
}

TEST_P(files, belong_to_one) {
    const std::size_t before = own_descriptor_count();
    {
        file f = file::open(in("a"), both);
        const int fd = f.native_handle();
        file g = std::move(f);
        EXPECT_FALSE(f.is_open());
        EXPECT_EQ(g.native_handle(), fd);
        g = file::open(in("b"), both);   // closes a
        EXPECT_EQ(own_descriptor_count(), before + 1);
        file& same = g;
        g = std::move(same);
        EXPECT_TRUE(g.is_open());
        const int released = g.release();
        EXPECT_EQ(g.native_handle(), -1);
        g = file::adopt(released, "mine");
        EXPECT_EQ(g.name(), "mine");
        EXPECT_EQ(file::adopt(-1).name(), "descriptor -1");
        EXPECT_EQ(own_descriptor_count(), before + 1);
    }
    EXPECT_EQ(own_descriptor_count(), before);
    file f = file::open(in("a"), both);
    ::close(f.native_handle());
    EXPECT_EQ(io_failure([&] { f.close(); }), "handoff: close of " + in("a") + ": Bad file descriptor [0]");
    EXPECT_FALSE(f.is_open());
}

TEST_P(files, are_resized_and_synced) {
    on_each(rt_, [&] {
        file f = file::open(in("a"), both | open_mode::truncate);
        f.write_all("0123456789");
        f.resize(4);
        EXPECT_EQ(f.size(), 4u);
        f.resize(6);
        EXPECT_EQ(handoff::read_file(in("a")), std::string("0123\0\0", 6));
        EXPECT_EQ(f.tell(), 10u);
        std::error_code ec;
        f.allocate(0, 100'000, ec);
        if (ec != std::errc::operation_not_supported) {
            EXPECT_FALSE(ec);
            EXPECT_EQ(f.size(), 100'000u);
        }
        f.sync();
        f.sync_data();
        f.sync(ec);
        EXPECT_FALSE(ec);
    });
}

// ---- Transfers of all shapes ------------------------------------------------------------------------------------------

// Buffers of random sizes over `all`, some of them empty.
std::vector<iovec> cut(std::string& all, std::mt19937_64& random) {
    std::vector<iovec> parts;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t n = std::min<std::size_t>(random() % 4 == 0 ? 0 : random() % 700, all.size() - at);
        parts.push_back({all.data() + at, n});
        at += n;
    }
    return parts;
}

TEST_P(files, hold_what_was_written_in_any_shape) {
    auto random = seeded_random("files in any shape");
    on_each(rt_, [&] {
        file f = file::open(in("a"), both | open_mode::truncate);
        std::string model;
        for (int round = 0; round < 60; ++round) {
            std::string data = pattern(random() % 100'000, random());
            const std::size_t at = random() % (model.size() + 1);
            auto parts = cut(data, random);
            if (round % 3 == 0) {
                EXPECT_EQ(f.write_at(at, parts), data.size());
            } else if (round % 3 == 1) {
                f.seek(static_cast<std::int64_t>(at));
                EXPECT_EQ(f.write_all(parts), data.size());
                EXPECT_EQ(f.tell(), at + data.size());
            } else {
                EXPECT_EQ(f.write_at(at, data), data.size());
            }
            if (model.size() < at + data.size()) model.resize(at + data.size());
            std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(at));

            const std::size_t from = random() % (model.size() + 1), n = random() % 200'000;
            const std::string expected = model.substr(from, n);
            std::string got(n, '\0');
            parts = cut(got, random);
            EXPECT_EQ(f.read_at(from, parts), expected.size());
            EXPECT_EQ(got.compare(0, expected.size(), expected), 0);
            got.assign(expected.size(), '\0');
            parts = cut(got, random);
            f.seek(static_cast<std::int64_t>(from));
            EXPECT_EQ(f.read_exactly(parts), expected.size());
            EXPECT_TRUE(got == expected);
        }
        EXPECT_TRUE(handoff::read_file(in("a")) == model);
    });
}

// More buffers than one call takes.
TEST_P(files, take_any_number_of_buffers) {
    on_each(rt_, [&] {
        file f = file::open(in("a"), both | open_mode::truncate);
        std::string data = pattern(5000), got(5000, '\0');
        std::vector<iovec> out, into;
        for (std::size_t i = 0; i < data.size(); ++i) {
            out.push_back({&data[i], 1});
            into.push_back({&got[i], 1});
        }
        EXPECT_EQ(f.write_all(out), 5000u);
        EXPECT_EQ(f.read_at(0, into), 5000u);
        EXPECT_EQ(got, data);
        f.seek(0);
        EXPECT_EQ(f.read_some(into), 1024u);
        EXPECT_EQ(f.write_some(out), 1024u);
    });
}

// ---- Pipes and other descriptors ----------------------------------------------------------------------------------------

struct pipe_files {
    pipe_files() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
        in = file::adopt(ends[0], "the pipe");
        out = file::adopt(ends[1], "the pipe");
    }
    file in, out;
};

// Also with one processor: a read that waits does not keep the writer from running.
TEST_P(files, may_be_pipes) {
    pipe_files p;
    auto reader = rt_.go([&] {
        std::string b(10, '\0');
        std::size_t n = p.in.read_some(b);
        EXPECT_EQ(b.substr(0, n), "abc");
        EXPECT_EQ(p.in.read_exactly(b), 10u);
        EXPECT_EQ(b, "0123456789");
        EXPECT_EQ(p.in.read_to_end(), "the rest");
    });
    rt_.run([&] {
        handoff::this_goroutine::sleep_for(2ms);
        p.out.write_all("abc");
        handoff::this_goroutine::sleep_for(2ms);
        p.out.write_all("01234");
        handoff::this_goroutine::sleep_for(2ms);
        p.out.write_all("56789the ");
        handoff::this_goroutine::sleep_for(2ms);
        p.out.write_all("rest");
        p.out.close();
    });
    reader.join();
    char b[1];
    EXPECT_EQ(io_failure([&] { p.in.read_at(0, b); }), "handoff: read of the pipe: Illegal seek [0]");
    EXPECT_EQ(io_failure([&] { p.in.seek(0); }), "handoff: seek in the pipe: Illegal seek [0]");
}

TEST_P(files, in_non_blocking_mode_do_not_wait) {
    pipe_files p;
    ASSERT_EQ(::fcntl(p.in.native_handle(), F_SETFL, O_NONBLOCK), 0);
    on_each(rt_, [&] {
        std::error_code ec;
        char b[4];
        EXPECT_EQ(p.in.read_some(b, ec), 0u);
        EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
        p.out.write_all("ab");
        EXPECT_EQ(p.in.read_exactly(b, ec), 2u);   // tells how much it had read
        EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
    });
}

// A write to a pipe that is full goes on as somebody reads, and a failed one tells how much was taken.
TEST_P(files, that_fail_to_write_tell_how_much_was_written) {
    pipe_files p;
    ASSERT_GT(::fcntl(p.out.native_handle(), F_SETPIPE_SZ, 4096), 0);
    const std::string data = pattern(50'000);
    auto writer = rt_.go([&] { EXPECT_EQ(p.out.write_all(data), data.size()); });
    std::string got(data.size(), '\0');
    rt_.run([&] { EXPECT_EQ(p.in.read_exactly(got), data.size()); });
    writer.join();
    EXPECT_TRUE(got == data);

    ASSERT_EQ(::fcntl(p.out.native_handle(), F_SETFL, O_NONBLOCK), 0);
    const auto room = static_cast<std::size_t>(::fcntl(p.out.native_handle(), F_GETPIPE_SZ));
    try {
        p.out.write_all(data);
        ADD_FAILURE() << "there was room for all of it";
    } catch (const io_error& e) {
        EXPECT_EQ(e.transferred(), room);
        EXPECT_EQ(e.code(), std::errc::resource_unavailable_try_again);
    }
}

TEST_P(files, of_proc_are_read) {
    on_each(rt_, [&] {
        EXPECT_NE(handoff::read_file("/proc/self/status").find("\nThreads:"), std::string::npos);
        file maps = file::open("/proc/self/maps", open_mode::read);   // longer than a page
        EXPECT_NE(maps.read_to_end().find("[stack]"), std::string::npos);
        char first[4];
        EXPECT_EQ(maps.read_at(0, first), 4u);
    });
}

// Calls that signals end are made again.
TEST_P(files, are_read_on_through_signals) {
    pipe_files p;
    const signal_storm storm(5000, false);
    const std::uint64_t before = signal_storm::delivered();
    std::thread writer([&] {
        for (int i = 0; i < 20; ++i) {
            const timespec pause{0, 2'000'000};
            ::nanosleep(&pause, nullptr);
            p.out.write_all("0123456789");
        }
    });
    std::string b(200, '\0');
    rt_.run([&] { EXPECT_EQ(p.in.read_exactly(b), 200u); });
    writer.join();
    EXPECT_EQ(b.substr(190), "0123456789");
    EXPECT_GT(signal_storm::delivered(), before);
}

// ---- Limits -----------------------------------------------------------------------------------------------------------

bool runs_out_of_descriptors(const std::string& path) {
    file::open(path, both);
    const rlimit limit{descriptor_count(), descriptor_count()};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<file> open;
    std::error_code ec;
    for (int i = 0; i < 100 && !ec; ++i) open.push_back(file::open(path, open_mode::read, ec));
    if (ec != std::errc::too_many_files_open) return false;
    open.clear();
    return file::open(path, open_mode::read).is_open();
}
TEST_P(files, may_be_too_many) { EXPECT_EQ(in_child([&] { return runs_out_of_descriptors(in("a")); }), 0); }

bool runs_out_of_room(const std::string& path) {
    ::signal(SIGXFSZ, SIG_IGN);
    limit_file_size(10'000);
    file f = file::open(path, both);
    std::error_code ec;
    if (f.write_all(pattern(50'000), ec) != 10'000 || ec != std::errc::file_too_large) return false;
    if (f.write_at(5'000, pattern(50'000), ec) != 5'000 || ec != std::errc::file_too_large) return false;
    try {
        f.seek(9'000);
        f.write_all(pattern(50'000));
    } catch (const io_error& e) {
        return e.transferred() == 1'000;
    }
    return false;
}
TEST_P(files, may_be_too_large) { EXPECT_EQ(in_child([&] { return runs_out_of_room(in("a")); }), 0); }

// A cancelled group changes nothing: these are no cancellation points.
TEST_P(files, are_used_by_cancelled_goroutines) {
    rt_.run([&] {
        handoff::task_group g;
        g.go([&] {
            g.cancel();
            EXPECT_TRUE(handoff::this_goroutine::cancelled());
            file f = file::open(in("a"), both);
            f.write_all("as ever");
            f.sync();
            f.seek(0);
            EXPECT_EQ(f.read_to_end(), "as ever");
            f.close();
        });
        EXPECT_NO_THROW(g.wait());
    });
}

}  // namespace
