// Calls on files that the system refuses, or does not know.
#include "fault.hpp"

#include <handoff/directory.hpp>
#include <handoff/file.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace fault;
using handoff::file;
using handoff::io_error;
using handoff::open_mode;
using handoff::read_file;
using handoff::replace_file;

class broken_files : public testing::Test {
protected:
    std::string in(const std::string& name) const { return dir_.path() + '/' + name; }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& e : std::filesystem::directory_iterator(dir_.path())) all.push_back(e.path().filename());
        std::sort(all.begin(), all.end());
        return all;
    }
    // replace_file fails so, and neither has changed anything nor left anything.
    void expect_not_replaced(std::errc e) {
        std::error_code ec;
        replace_file(in("a"), "new", ec);
        EXPECT_EQ(ec, e);
        EXPECT_EQ(read_file(in("a")), "old");
        EXPECT_EQ(names(), std::vector<std::string>{"a"});
    }
    void expect_replaced() {
        replace_file(in("a"), "new");
        EXPECT_EQ(read_file(in("a")), "new");
        EXPECT_EQ(names(), std::vector<std::string>{"a"});
    }
    void SetUp() override { handoff::write_file(in("a"), "old"); }

    handoff::temporary_directory dir_;
};

// Where it is not known what is cached, the file is asked once.
TEST_F(broken_files, are_read_where_nobody_knows_what_is_cached) {
    for (const int error : {ENOSYS, EPERM, EOPNOTSUPP, EINVAL}) {
        file f = file::open(in("a"), open_mode::read);
        const injection refuse(site::cached_read, {.error = error});
        char b[2];
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(f.read_at(1, b), 2u) << error;
            EXPECT_EQ(std::string(b, 2), "ld");
        }
        EXPECT_EQ(f.read_to_end(), "old");
        EXPECT_EQ(refuse.calls(), 1u) << error;
        file moved = std::move(f);   // what was learnt moves with it
        EXPECT_EQ(moved.read_at(0, b), 2u);
        EXPECT_EQ(refuse.calls(), 1u);
        moved = file::open(in("a"), open_mode::read);
        EXPECT_EQ(moved.read_at(0, b), 2u);
        EXPECT_EQ(refuse.calls(), 2u);
    }
}

// An error of the read itself teaches nothing, nor does what is not in the cache.
TEST_F(broken_files, are_asked_again_after_other_errors) {
    file f = file::open(in("a"), open_mode::read);
    char b[2];
    {
        const injection not_cached(site::cached_read, {.error = EAGAIN});
        EXPECT_EQ(f.read_at(0, b), 2u);
        EXPECT_EQ(f.read_at(0, b), 2u);
        EXPECT_EQ(not_cached.met(), 2u);
    }
    {
        const injection broken(site::cached_read, {.error = EIO});
        std::error_code ec;
        EXPECT_EQ(f.read_at(0, b, ec), 0u);
        EXPECT_EQ(ec, std::errc::io_error);
    }
    const injection interrupted(site::cached_read, {.error = EINTR, .times = 3});
    EXPECT_EQ(f.read_at(0, b), 2u);
    EXPECT_EQ(interrupted.calls(), 4u);
}

// A refused read that fails anyway is not a file system that does not know the flag.
TEST_F(broken_files, that_cannot_be_read_teach_nothing) {
    file f = file::open(in("a"), open_mode::write);
    const injection refuse(site::cached_read, {.error = EINVAL});
    std::error_code ec;
    char b[2];
    f.read_at(0, b, ec);
    f.read_at(0, b, ec);
    EXPECT_EQ(ec, std::errc::bad_file_descriptor);
    EXPECT_EQ(refuse.calls(), 2u);
}

TEST_F(broken_files, that_take_nothing_are_not_written_for_ever) {
    file f = file::open(in("a"), open_mode::write);
    const injection takes_nothing(site::write, {.skip = 1, .pretend = true});
    f.write_all("12");
    try {
        f.write_all("34");
        ADD_FAILURE() << "nothing was written";
    } catch (const io_error& e) {
        EXPECT_EQ(e.code(), std::errc::io_error);
        EXPECT_EQ(e.transferred(), 0u);
    }
    const injection interrupted(site::write, {.error = EINTR, .times = 2});
    EXPECT_EQ(f.write_all("34"), 2u);
}

TEST_F(broken_files, are_replaced_without_unnamed_files) {
    for (const int error : {EOPNOTSUPP, EISDIR, EINVAL, ENOENT}) {
        const injection none(site::unnamed_file, {.error = error});
        replace_file(in("a"), "old");
        {
            const injection full(site::write, {.error = ENOSPC});
            expect_not_replaced(std::errc::no_space_on_device);
        }
        {
            const injection refuse(site::rename, {.error = EACCES});
            expect_not_replaced(std::errc::permission_denied);
        }
        const injection taken(site::named_file, {.error = EEXIST, .times = 2});
        expect_replaced();
        EXPECT_EQ(taken.met(), 2u);
        EXPECT_GT(none.met(), 0u);
    }
}

TEST_F(broken_files, are_not_replaced_without_room_or_rights) {
    {
        const injection full(site::write, {.error = ENOSPC});
        expect_not_replaced(std::errc::no_space_on_device);
    }
    {
        const injection lost(site::sync, {.error = EIO});
        expect_not_replaced(std::errc::io_error);
    }
    {
        const injection refuse(site::rename, {.error = EACCES});
        expect_not_replaced(std::errc::permission_denied);
    }
    {
        const injection refuse(site::unnamed_file, {.error = EROFS});
        expect_not_replaced(std::errc::read_only_file_system);
    }
    {
        const injection none(site::unnamed_file, {.error = EOPNOTSUPP}), refuse(site::named_file, {.error = EROFS});
        expect_not_replaced(std::errc::read_only_file_system);
    }
    expect_replaced();
}

TEST_F(broken_files, get_a_name_that_is_not_taken) {
    const injection none(site::unnamed_file, {.error = EOPNOTSUPP, .times = 0});
    replace_file(in("a"), "old");
    if (none.calls() == 0) GTEST_SKIP() << "there is no /proc to name them through";
    {
        const injection taken(site::link, {.error = EEXIST});
        expect_not_replaced(std::errc::file_exists);
        EXPECT_EQ(taken.calls(), 100u);
    }
    const injection taken(site::link, {.error = EEXIST, .times = 5});
    expect_replaced();
    EXPECT_EQ(taken.calls(), 6u);
}

// The directory comes second. Then the new contents are there, though maybe not after a crash; some file systems sync none.
TEST_F(broken_files, are_in_place_when_the_directory_is_not_synced) {
    {
        const injection cannot(site::sync, {.error = EINVAL, .skip = 1});
        expect_replaced();
        EXPECT_EQ(cannot.met(), 1u);
    }
    const injection lost(site::sync, {.error = EIO, .skip = 1});
    std::error_code ec;
    replace_file(in("a"), "newer", ec);
    EXPECT_EQ(ec, std::errc::io_error);
    EXPECT_EQ(read_file(in("a")), "newer");
}

TEST_F(broken_files, may_be_temporary_without_unnamed_files) {
    const injection none(site::unnamed_file, {.error = EOPNOTSUPP});
    {
        const injection taken(site::named_file, {.error = EEXIST, .times = 2});
        file f = handoff::temporary_file(dir_.path());
        EXPECT_EQ(names(), std::vector<std::string>{"a"});
        f.write_all("kept here");
        f.seek(0);
        EXPECT_EQ(f.read_to_end(), "kept here");
    }
    const injection refuse(site::named_file, {.error = EROFS});
    std::error_code ec;
    EXPECT_FALSE(handoff::temporary_file(dir_.path(), ec).is_open());
    EXPECT_EQ(ec, std::errc::read_only_file_system);
}

TEST_F(broken_files, in_directories_that_cannot_be_read) {
    handoff::directory d(dir_.path());
    {
        const injection broken(site::directory_read, {.error = EIO});
        std::error_code ec;
        EXPECT_EQ(d.next(ec), nullptr);
        EXPECT_EQ(ec, std::errc::io_error);
        try {
            d.next();
            ADD_FAILURE() << "it was read";
        } catch (const io_error& e) {
            EXPECT_EQ(e.what(), "handoff: reading of directory " + dir_.path() + ": Input/output error");
        }
    }
    const injection interrupted(site::directory_read, {.error = EINTR, .times = 2});
    const auto* e = d.next();
    ASSERT_NE(e, nullptr);
    EXPECT_EQ(e->name, "a");
    EXPECT_EQ(d.next(), nullptr);
}

}  // namespace
