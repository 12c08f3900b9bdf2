// read_file, write_file, replace_file, temporary_file: contents, permissions, and what is left after a failure.
#include "files.hpp"

#include <csignal>
#include <filesystem>
#include <thread>

using handoff::file;
using handoff::open_mode;
using handoff::read_file;
using handoff::replace_file;
using handoff::write_file;
using namespace handoff_test;
namespace fs = std::filesystem;

namespace {

class whole_files : public with_files {
protected:
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& e : fs::directory_iterator(dir_.path())) all.push_back(e.path().filename());
        std::sort(all.begin(), all.end());
        return all;
    }
    mode_t permissions(const std::string& name) const {
        struct stat s {};
        EXPECT_EQ(::stat(in(name).c_str(), &s), 0);
        return s.st_mode & 07777;
    }
};
INSTANTIATE_WITH_FILES(whole_files);

using names_type = std::vector<std::string>;

TEST_P(whole_files, hold_what_was_written) {
    on_each(rt_, [&] {
        for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 1'000'000u}) {
            const std::string first = pattern(size, 1), second = pattern(size / 2, 2);
            write_file(in("a"), first);
            EXPECT_TRUE(read_file(in("a")) == first) << size;
            write_file(in("a"), second);
            EXPECT_TRUE(read_file(in("a")) == second) << size;
            replace_file(in("a"), first);
            EXPECT_TRUE(read_file(in("a")) == first) << size;
        }
        EXPECT_EQ(names(), names_type{"a"});
    });
}

TEST_P(whole_files, say_what_failed) {
    on_each(rt_, [&] {
        const std::string none = in("none") + "/x", absent = ": No such file or directory [0]";
        EXPECT_EQ(io_failure([&] { (void)read_file(none); }), "handoff: open of " + none + absent);
        EXPECT_EQ(io_failure([&] { write_file(none, "x"); }), "handoff: open of " + none + absent);
        EXPECT_EQ(io_failure([&] { replace_file(none, "x"); }), "handoff: replacement of " + none + absent);
        EXPECT_EQ(io_failure([&] { write_file("/dev/full", "x"); }),
                  "handoff: write to /dev/full: No space left on device [0]");
        std::error_code ec;
        EXPECT_EQ(read_file(none, ec), "");
        EXPECT_EQ(ec, std::errc::no_such_file_or_directory);
        write_file(none, "x", ec);
        EXPECT_EQ(ec, std::errc::no_such_file_or_directory);
        write_file("/dev/full", "x", ec);
        EXPECT_EQ(ec, std::errc::no_space_on_device);
        EXPECT_EQ(read_file(dir_.path(), ec), "");
        EXPECT_EQ(ec, std::errc::is_a_directory);
        write_file(in("a"), "x", ec);
        EXPECT_FALSE(ec);
        EXPECT_EQ(read_file(in("a"), ec), "x");
        EXPECT_FALSE(ec);
    });
}

TEST_P(whole_files, refuse_to_replace_what_is_no_file) {
    on_each(rt_, [&] {
        const auto refused = [](const std::string& path) {
            std::error_code ec;
            replace_file(path, "x", ec);
            return ec;
        };
        fs::create_directory(in("d"));
        ::mkfifo(in("fifo").c_str(), 0600);
        EXPECT_EQ(refused(in("d")), std::errc::is_a_directory);
        EXPECT_EQ(refused(in("d/")), std::errc::is_a_directory);
        EXPECT_EQ(refused(in("d/.")), std::errc::is_a_directory);
        EXPECT_EQ(refused(in("d/..")), std::errc::is_a_directory);
        EXPECT_EQ(refused("/"), std::errc::is_a_directory);
        EXPECT_EQ(refused(in("fifo")), std::errc::invalid_argument);
        EXPECT_EQ(refused(""), std::errc::no_such_file_or_directory);
        EXPECT_EQ(refused(in("new/")), std::errc::is_a_directory);
        EXPECT_EQ(refused(std::string("a\0b", 3)), std::errc::invalid_argument);
        EXPECT_EQ(refused(in(std::string(300, 'x'))), std::errc::filename_too_long);
        write_file(in("f"), "x");
        EXPECT_EQ(refused(in("f/y")), std::errc::not_a_directory);
        EXPECT_EQ(names(), (names_type{"d", "f", "fifo"}));
        EXPECT_EQ(fs::status(in("fifo")).type(), fs::file_type::fifo);
    });
}

TEST_P(whole_files, keep_their_permissions) {
    on_each(rt_, [&] {
        fs::remove(in("a"));
        const mode_t before = ::umask(026);
        replace_file(in("a"), "new");
        ::umask(before);
        EXPECT_EQ(permissions("a"), 0640u);
        for (const mode_t mode : {0600u, 0644u, 0755u, 0777u, 04755u}) {
            ASSERT_EQ(::chmod(in("a").c_str(), mode), 0);
            replace_file(in("a"), std::to_string(mode));
            EXPECT_EQ(permissions("a"), mode);
            EXPECT_EQ(read_file(in("a")), std::to_string(mode));
        }
    });
}

TEST_P(whole_files, keep_their_owner) {
    if (::geteuid() != 0) GTEST_SKIP() << "only the superuser gives files away";
    write_file(in("a"), "old");
    ASSERT_EQ(::chown(in("a").c_str(), 12, 34), 0);
    ASSERT_EQ(::chmod(in("a").c_str(), 04711), 0);
    rt_.run([&] { replace_file(in("a"), "new"); });
    struct stat s {};
    ASSERT_EQ(::stat(in("a").c_str(), &s), 0);
    EXPECT_EQ(s.st_uid, 12u);
    EXPECT_EQ(s.st_gid, 34u);
    EXPECT_EQ(s.st_mode & 07777, 04711u);
}

TEST_P(whole_files, are_replaced_where_links_lead) {
    on_each(rt_, [&] {
        fs::remove_all(in("d"));
        fs::remove(in("link"));
        fs::remove(in("nowhere"));
        fs::create_directory(in("d"));
        write_file(in("d/a"), "old");
        fs::create_symlink("d/a", in("link"));
        replace_file(in("link"), "new");
        EXPECT_TRUE(fs::is_symlink(in("link")));
        EXPECT_EQ(read_file(in("d/a")), "new");
        fs::create_symlink("none", in("nowhere"));
        replace_file(in("nowhere"), "here");
        EXPECT_FALSE(fs::is_symlink(in("nowhere")));
        EXPECT_EQ(read_file(in("nowhere")), "here");
        EXPECT_EQ(names(), (names_type{"d", "link", "nowhere"}));
    });
}

bool replaces_in_the_working_directory(const std::string& dir) {
    if (::chdir(dir.c_str()) != 0) return false;
    replace_file("here", "1");
    replace_file("here", "2");
    replace_file("./here", "3");
    return read_file(dir + "/here") == "3";
}
TEST_P(whole_files, are_replaced_in_the_working_directory) {
    EXPECT_EQ(in_child([&] { return replaces_in_the_working_directory(dir_.path()); }), 0);
    EXPECT_EQ(names(), names_type{"here"});
}

// Who opens it sees one of the contents, in full.
TEST_P(whole_files, are_replaced_at_once) {
    constexpr std::size_t size = 100'000;
    const unsigned rounds = static_cast<unsigned>(scaled(100, 20));
    const std::string contents[2] = {pattern(size, 1), pattern(size + 1, 2)};
    replace_file(in("a"), contents[0]);
    std::atomic<bool> over{false};
    std::atomic<unsigned> reads{0}, mixtures{0};
    const auto read = [&] {
        while (!over) {
            const std::string seen = read_file(in("a"));
            if (seen != contents[0] && seen != contents[1]) ++mixtures;
            ++reads;
        }
    };
    std::thread thread(read);
    auto goroutine = rt_.go(read);
    rt_.run([&] {
        for (unsigned i = 1; i <= rounds; ++i) {
            replace_file(in("a"), contents[i % 2]);
            handoff::this_goroutine::yield();
        }
        EXPECT_EVENTUALLY(reads > 2);
        over = true;
    });
    thread.join();
    goroutine.join();
    EXPECT_EQ(mixtures, 0u);
    EXPECT_EQ(names(), names_type{"a"});
}

// It fails in the middle of the write: nothing has changed.
bool has_no_room_to_replace(const std::string& path) {
    ::signal(SIGXFSZ, SIG_IGN);
    limit_file_size(10'000);
    std::error_code ec;
    replace_file(path, pattern(50'000), ec);
    if (ec != std::errc::file_too_large) return false;
    return io_failure([&] { replace_file(path, pattern(50'000)); }) ==
           "handoff: replacement of " + path + ": File too large [0]";
}
TEST_P(whole_files, stay_if_they_are_not_replaced) {
    write_file(in("a"), "old");
    EXPECT_EQ(in_child([&] { return has_no_room_to_replace(in("a")); }), 0);
    EXPECT_EQ(read_file(in("a")), "old");
    EXPECT_EQ(names(), names_type{"a"});
}

// The process is killed in the middle of the write: likewise.
bool dies_while_it_replaces(const std::string& path) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    limit_file_size(10'000);
    replace_file(path, pattern(50'000));
    return true;
}
TEST_P(whole_files, leave_nothing_behind_when_the_process_dies) {
    write_file(in("a"), "old");
    EXPECT_EQ(in_child([&] { return dies_while_it_replaces(in("a")); }), -SIGXFSZ);
    EXPECT_EQ(read_file(in("a")), "old");
    const int unnamed = ::open(dir_.path().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (unnamed < 0) GTEST_SKIP() << "this file system has no files without a name";
    ::close(unnamed);
    EXPECT_EQ(names(), names_type{"a"});
}

TEST_P(whole_files, may_be_temporary) {
    on_each(rt_, [&] {
        const std::size_t before = own_descriptor_count();
        {
            file f = handoff::temporary_file(dir_.path());
            EXPECT_EQ(f.name(), "a temporary file in " + dir_.path());
            EXPECT_EQ(names(), names_type{});
            f.write_all("kept here");
            f.seek(0);
            EXPECT_EQ(f.read_to_end(), "kept here");
            EXPECT_EQ(::fcntl(f.native_handle(), F_GETFD), FD_CLOEXEC);
            struct stat s {};
            ASSERT_EQ(::fstat(f.native_handle(), &s), 0);
            EXPECT_EQ(s.st_mode & 07777, 0600u);
            EXPECT_EQ(s.st_nlink, 0u);
        }
        EXPECT_EQ(own_descriptor_count(), before);
        EXPECT_EQ(io_failure([&] { handoff::temporary_file(in("none")); }),
                  "handoff: temporary file in " + in("none") + ": No such file or directory [0]");
        std::error_code ec;
        EXPECT_FALSE(handoff::temporary_file(std::string("a\0b", 3), ec).is_open());
        EXPECT_EQ(ec, std::errc::invalid_argument);
    });
}

TEST_P(whole_files, are_temporary_where_the_environment_says) {
    const environment_variable there("TMPDIR", dir_.path().c_str());
    EXPECT_EQ(handoff::temporary_file().name(), "a temporary file in " + dir_.path());
    const environment_variable empty("TMPDIR", "");
    EXPECT_EQ(handoff::temporary_file().name(), "a temporary file in /tmp");
}

}  // namespace
