"""Mutations of files and directories."""

from mutations import mutation

# ---- Which reads are guarded ---------------------------------------------------------------------------------------

mutation(
    "cached_reads_are_guarded",
    "src/file/transfer.cpp",
    "    return is_short(v) ? detail::call(read) : detail::guarded",
    "    return detail::guarded",
    "file_waits.are_none_*",
)
mutation(
    "long_reads_are_not_guarded",
    "src/file/transfer.cpp",
    "        if (part.iov_len > left) return false;\n",
    "",
    "file_waits.of_long_reads_*",
)
mutation(
    "reads_for_the_disk_keep_the_processor",
    "src/file/transfer.cpp",
    "detail::guarded(handoff_policy::immediate, plain)",
    "detail::guarded(handoff_policy::sysmon, plain)",
    "file_waits.for_the_disk_*",
)
mutation(
    "reads_in_a_simulation_look_into_the_cache",
    "src/file/transfer.cpp",
    "std::memory_order_relaxed) || detail::in_simulation())",
    "std::memory_order_relaxed))",
    "file_waits.do_not_change_simulations",
)
mutation(
    "files_forget_that_nobody_knows_what_is_cached",
    "src/file/transfer.cpp",
    "    if (n >= 0) nowait_.store(false, std::memory_order_relaxed);\n",
    "",
    "broken_files.are_read_where_*",
    "handoff_fault",
)
mutation(
    "files_learn_from_reads_that_fail",
    "src/file/transfer.cpp",
    "    if (n >= 0) nowait_.store(false",
    "    nowait_.store(false",
    "broken_files.that_cannot_be_read_*",
    "handoff_fault",
)
mutation(
    "syncs_keep_the_processor",
    "src/file/file.cpp",
    "guarded(handoff_policy::immediate, [this] { return ::fsync",
    "guarded(handoff_policy::sysmon, [this] { return ::fsync",
    "file_waits.for_syncs_*",
)

# ---- Transfers -----------------------------------------------------------------------------------------------------

mutation(
    "interrupted_calls_on_files_fail",
    "src/file/calls.hpp",
    "        if (const int e = os::get_errno(); e != EINTR) return -e;",
    "        return -os::get_errno();",
    "broken_files.are_asked_again_*",
    "handoff_fault",
)
mutation(
    "rest_of_a_buffer_is_written_from_its_start",
    "src/file/transfer.cpp",
    "        copy_[0].iov_base = static_cast<char*>(copy_[0].iov_base) + done_of_first_;\n",
    "",
    "*files.that_fail_to_write_*",
)
mutation(
    "rest_is_read_from_the_same_place",
    "src/file/transfer.cpp",
    "        if (at != at_position) at += n;\n",
    "",
    "*files.take_any_number_*",
)
mutation(
    "more_buffers_than_a_call_takes",
    "src/file/transfer.cpp",
    "std::min<std::size_t>(v.size(), IOV_MAX)",
    "v.size()",
    "*files.take_any_number_*",
)
mutation(
    "early_end_is_no_error",
    "src/file/transfer.cpp",
    "    if (ended) ec = io_errc::end_of_file;\n",
    "",
    "*files.end*",
)
mutation(
    "nothing_is_written_for_ever",
    "src/file/transfer.cpp",
    "    return n == 0 ? -EIO : n;",
    "    return n;",
    "broken_files.that_take_nothing_*",
    "handoff_fault",
)
mutation(
    "files_stay_open",
    "src/file/file.cpp",
    "file::~file() {\n    if (is_open()) detail::close_descriptor(fd_);\n",
    "file::~file() {\n",
    "*files.belong_to_one*",
)
mutation(
    "locks_are_waited_for_in_a_simulation",
    "src/file/file.cpp",
    "    if (detail::in_simulation()) {",
    "    if (false) {",
    "*file_locks.are_not_waited_for_*",
)

# ---- Replacing -----------------------------------------------------------------------------------------------------

mutation(
    "replaced_files_lose_their_permissions",
    "src/file/whole.cpp",
    "    if (!ec && keeps) ec = r.copy_owner_and_permissions(old);\n",
    "",
    "*whole_files.keep_their_permissions*",
)
mutation(
    "replaced_files_are_not_synced",
    "src/file/whole.cpp",
    "        if (!ec) f_.sync(ec);\n",
    "",
    "broken_files.are_not_replaced_*",
    "handoff_fault",
)
mutation(
    "directory_of_a_replaced_file_is_not_synced",
    "src/file/whole.cpp",
    "    if (!ec) ec = sync_directory(directory);\n",
    "",
    "broken_files.are_in_place_*",
    "handoff_fault",
)
mutation(
    "failed_replacements_are_left",
    "src/file/whole.cpp",
    "        if (!name_.empty()) unlink_at(directory_.native_handle(), name_);\n",
    "",
    "broken_files.are_not_replaced_*",
    "handoff_fault",
)
mutation(
    "killed_replacements_are_left",
    "src/file/whole.cpp",
    "        if (can_be_named()) fd = ",
    "        if (false) fd = ",
    "*whole_files.leave_nothing_behind_*",
)
mutation(
    "links_are_replaced_themselves",
    "src/file/whole.cpp",
    "    return real ? real.get() : path;",
    "    return path;",
    "*whole_files.are_replaced_where_links_lead*",
)
mutation(
    "what_is_no_file_is_replaced",
    "src/file/whole.cpp",
    "    if (there == 0 && !keeps && !S_ISLNK(old.st_mode)) return code(std::errc::invalid_argument);\n",
    "",
    "*whole_files.refuse_to_replace_*",
)

# ---- Directories ---------------------------------------------------------------------------------------------------

mutation(
    "directories_contain_themselves",
    "src/file/directory.cpp",
    '        if (found == "." || found == "..") continue;\n',
    "",
    "*directories.have_names_*",
)
mutation(
    "directories_are_read_on_after_a_rewind",
    "src/file/directory.cpp",
    "    at_ = size_ = 0;\n    f_.seek",
    "    f_.seek",
    "*directories.are_read_in_batches*",
)
