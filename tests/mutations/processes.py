"""Mutations of signals that are waited for, and of child processes."""

from mutations import mutation

# ---- Signals -------------------------------------------------------------------------------------------------------

mutation(
    "signals_that_the_thread_lets_through_are_waited_for",
    "src/net/signal_set.cpp",
    "        if (sigismember(&here, number) != 1)",
    "        if (false)",
    "*signal_sets.refuse_by_name_what_is_not_*",
)
mutation(
    "signals_that_the_runtime_lets_through_are_waited_for",
    "src/net/signal_set.cpp",
    "        else if (runtime && sigismember(runtime, number) != 1)",
    "        else if (false)",
    "*signal_sets.refuse_by_name_what_is_not_*",
)
mutation(
    "signals_are_blocked_on_one_thread_of_a_runtime",
    "src/net/signal_set.cpp",
    "    if (current_m()) throw usage_error(",
    "    if (false) throw usage_error(",
    "*signal_sets.refuse_by_name_what_is_not_*",
)
mutation(
    "signals_that_cannot_be_waited_for_are_not_told_from_others",
    "src/net/signal_set.cpp",
    "is_refused(number) || ",
    "",
    "*signal_sets.refuse_by_name_what_cannot_*",
)
mutation(
    "no_signal_is_an_error",
    "src/net/signal_set.cpp",
    "    if (ec == std::errc::resource_unavailable_try_again) ec.clear();\n",
    "",
    "*signal_sets.tell_who_*",
)
mutation(
    "signals_are_waited_for_in_a_simulation",
    "src/net/signal_set.cpp",
    '    if (in_simulation()) refuse_in_simulation("a signal_set");\n',
    "",
    "signal_set.is_refused_*",
)

# ---- Child processes -----------------------------------------------------------------------------------------------

mutation(
    "end_of_a_child_is_told_to_one",
    "src/net/child.cpp",
    "    has_ended_ = true;\n",
    "",
    "*processes.tell_all_*",
)
mutation(
    "children_outlive_their_objects",
    "src/net/process.cpp",
    "    if (child_) child_->end();\n",
    "",
    "*processes.end_with_their_*",
)
mutation(
    "children_that_are_killed_stay_zombies",
    "src/net/child.cpp",
    "    wait_now(end, WEXITED);\n",
    "",
    "*processes.end_with_their_*",
)
mutation(
    "assigned_process_forgets_its_child",
    "src/net/process.cpp",
    "    process old(std::move(*this));\n    child_ = std::move(other.child_);",
    "    (void)child_.release();\n    child_ = std::move(other.child_);",
    "*processes.end_with_their_*",
)
mutation(
    "signal_to_a_child_that_is_gone_is_an_error",
    "src/net/child.cpp",
    "    if (r != 0 && os::get_errno() != ESRCH)",
    "    if (r != 0)",
    "*processes.whose_end_was_*",
)
mutation(
    "streams_of_children_overwrite_each_other",
    "src/net/spawn.cpp",
    "    if (fd < 0 || fd > STDERR_FILENO) return fd;",
    "    return fd;",
    "started_process.of_a_program_without_*",
)
mutation(
    "given_descriptors_overwrite_each_other",
    "src/net/spawn.cpp",
    "fd = ::fcntl(s.fd_, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); break;",
    "fd = s.fd_; break;",
    "*started_processes.may_have_exchanged_*",
)
mutation(
    "children_inherit_their_pipes_twice",
    "src/net/spawn.cpp",
    "::pipe2(ends, O_CLOEXEC)",
    "::pipe2(ends, 0)",
    "*started_processes.have_no_pipe_*",
)
mutation(
    "children_have_the_mask_of_the_thread",
    "src/net/spawn.cpp",
    "short{POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF}",
    "short{POSIX_SPAWN_SETSIGDEF}",
    "*started_processes.have_the_usual_*",
)
mutation(
    "children_ignore_sigpipe",
    "src/net/spawn.cpp",
    "        sigaddset(&pipe, SIGPIPE);\n",
    "",
    "*started_processes.have_the_usual_*",
)
mutation(
    "children_work_where_the_program_does",
    "src/net/spawn.cpp",
    "        if (!o.directory.empty()) add(",
    "        if (false) add(",
    "*started_processes.get_arguments_*",
)
mutation(
    "children_have_the_environment_of_the_program",
    "src/net/spawn.cpp",
    "o.environment ? environment.data() : environ);",
    "environ);",
    "*started_processes.get_arguments_*",
)
mutation(
    "start_that_fails_leaves_descriptors",
    "src/net/spawn.hpp",
    "        if (fd_ >= 0) ::close(fd_);\n",
    "",
    "*started_processes.that_do_not_start_*",
)
mutation(
    "run_is_not_bounded",
    "src/net/process.cpp",
    "        if (n > room) ec =",
    "        if (n > room + 100) ec =",
    "*started_processes.are_run_within_*",
)
mutation(
    "run_waits_for_the_end_of_the_pipes",
    "src/net/process.cpp",
    "        if (end) {\n",
    "        if (end && of[0].fd < 0) {\n",
    "*started_processes.are_run_until_*/1",
)
mutation(
    "children_are_started_in_a_simulation",
    "src/net/process.cpp",
    '    if (in_simulation()) refuse_in_simulation("a child process");\n',
    "",
    "process.is_refused_*",
)
