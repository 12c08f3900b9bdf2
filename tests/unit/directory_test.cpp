// directory: names and types, batches, errors. temporary_directory: that it is there, and then is gone.
#include "files.hpp"

#include <filesystem>
#include <iterator>
#include <set>
#include <type_traits>

using handoff::directory;
using handoff::file_type;
using handoff::temporary_directory;
using handoff::write_file;
using namespace handoff_test;
namespace fs = std::filesystem;

namespace {

static_assert(!std::is_copy_constructible_v<directory> && std::is_nothrow_move_constructible_v<directory>);
static_assert(!std::is_copy_constructible_v<temporary_directory> && std::is_nothrow_move_assignable_v<temporary_directory>);
static_assert(std::input_iterator<directory::iterator>);

class directories : public with_files {};
INSTANTIATE_WITH_FILES(directories);

TEST_P(directories, have_names_and_types) {
    write_file(in("a"), "x");
    fs::create_directory(in("d"));
    fs::create_symlink("none", in("link"));
    ASSERT_EQ(::mkfifo(in("fifo").c_str(), 0600), 0);
    write_file(in(std::string(255, 'n')), "x");
    write_file(in("..."), "x");
    on_each(rt_, [&] {
        std::map<std::string, file_type> seen;
        for (const directory::entry& e : directory(dir_.path())) {
            EXPECT_TRUE(seen.emplace(e.name, e.type).second) << e.name;
            struct stat s {};
            ASSERT_EQ(::lstat(in(std::string(e.name)).c_str(), &s), 0);
            EXPECT_EQ(e.inode, s.st_ino);
            EXPECT_EQ(e.name.data()[e.name.size()], '\0');
        }
        const std::map<std::string, file_type> expected{
            {"a", file_type::regular},    {"d", file_type::directory},
            {"fifo", file_type::pipe},    {"link", file_type::symbolic_link},
            {"...", file_type::regular},  {std::string(255, 'n'), file_type::regular}};
        if (seen.count("a") && seen["a"] == file_type::unknown) GTEST_SKIP() << "this file system does not tell types";
        EXPECT_EQ(seen, expected);
    });
    on_each(rt_, [] {
        directory dev("/dev");
        while (const auto* e = dev.next())
            if (e->name == "null") {
                EXPECT_EQ(e->type, file_type::character_device);
            }
    });
}

// More than one batch, and from the beginning again.
TEST_P(directories, are_read_in_batches) {
    const std::size_t n = scaled(3000, 1500);
    for (std::size_t i = 0; i < n; ++i)
        write_file(in("a file with a long name, so that they fill batches " + std::to_string(i)), "");
    on_each(rt_, [&] {
        directory d(dir_.path());
        std::error_code ec;
        for (int round = 0; round < 2; ++round) {
            std::set<std::string> names;
            std::size_t entries = 0;
            const std::uint64_t before = guarded_calls(rt_);
            while (const directory::entry* e = d.next(ec)) {
                names.emplace(e->name);
                ++entries;
            }
            EXPECT_FALSE(ec);
            EXPECT_EQ(names.size(), n);
            EXPECT_EQ(entries, n);
            EXPECT_LT(guarded_calls(rt_) - before, 20u);
            EXPECT_EQ(d.next(), nullptr);
            d.rewind();
            EXPECT_NE(d.next(), nullptr);
            d.rewind();   // in the middle of a batch
        }
        EXPECT_NE(d.next(), nullptr);
        directory other = std::move(d);
        EXPECT_NE(other.next(), nullptr);
    });
}

TEST_P(directories, say_what_failed) {
    on_each(rt_, [&] {
        EXPECT_EQ(io_failure([&] { directory d(in("none")); }),
                  "handoff: open of directory " + in("none") + ": No such file or directory [0]");
        write_file(in("a"), "x");
        std::error_code ec;
        (void)directory::open(in("a"), ec);
        EXPECT_EQ(ec, std::errc::not_a_directory);
        (void)directory::open(std::string("/\0", 2), ec);
        EXPECT_EQ(ec, std::errc::invalid_argument);
        directory nothing;
        EXPECT_EQ(nothing.next(ec), nullptr);
        EXPECT_EQ(ec, std::errc::bad_file_descriptor);
        EXPECT_NE(io_failure([&] { nothing.next(); }), "nothing");
        EXPECT_NE(io_failure([&] { nothing.rewind(); }), "nothing");
        const directory d(dir_.path());
        EXPECT_EQ(::fcntl(d.native_handle(), F_GETFD), FD_CLOEXEC);
        EXPECT_EQ(d.name(), dir_.path());
    });
}

TEST_P(directories, may_be_temporary) {
    on_each(rt_, [&] {
        std::string path;
        write_file(in("outside"), "stays");
        {
            temporary_directory t(dir_.path());
            path = t.path();
            EXPECT_EQ(path.find(dir_.path() + "/handoff-"), 0u);
            EXPECT_EQ(fs::status(path).permissions(), fs::perms(0700));
            fs::create_directories(path + "/a/b/c");
            write_file(path + "/a/b/file", "x");
            fs::create_symlink(dir_.path(), path + "/a/link");
            EXPECT_NE(temporary_directory(dir_.path()).path(), path);
        }
        EXPECT_FALSE(fs::exists(path));
        EXPECT_TRUE(fs::exists(in("outside")));
    });
}

TEST_P(directories, that_are_temporary_belong_to_one) {
    on_each(rt_, [&] {
        temporary_directory a(dir_.path()), b(dir_.path());
        const std::string first = a.path(), second = b.path();
        a = std::move(b);
        EXPECT_FALSE(fs::exists(first));
        EXPECT_EQ(a.path(), second);
        EXPECT_EQ(b.path(), "");
        temporary_directory& same = a;
        a = std::move(same);
        temporary_directory c = std::move(a);
        EXPECT_TRUE(fs::exists(second));
        EXPECT_EQ(c.release(), second);
        c.remove();
        EXPECT_TRUE(fs::exists(second));
        fs::remove(second);
        temporary_directory d(dir_.path());
        const std::string third = d.path();
        d.remove();
        EXPECT_FALSE(fs::exists(third));
        EXPECT_EQ(d.path(), "");
        EXPECT_EQ(io_failure([&] { temporary_directory e(in("none")); }),
                  "handoff: temporary directory in " + in("none") + ": No such file or directory [0]");
        std::error_code ec;
        EXPECT_EQ(temporary_directory::make(std::string("a\0b", 3), ec).path(), "");
        EXPECT_EQ(ec, std::errc::invalid_argument);
        EXPECT_TRUE(fs::exists(temporary_directory::make(dir_.path(), ec).path()));
        EXPECT_FALSE(ec);
    });
}

}  // namespace
