"""Mutations of datagrams, pipes, and waits for other people's descriptors, and of the poller that they found wanting."""

from mutations import mutation

mutation(
    "poller_leaves_its_wakeup_there",
    "src/sched/poller.cpp",
    "        if (take_wakeup(into)) wakeup_.drain();\n",
    "        take_wakeup(into);\n",
    "*pollers.*",
)
mutation(
    "poller_of_several_shards_leaves_its_wakeup_there",
    "src/sched/poller.cpp",
    "    wakeup_.drain();\n    unsigned from = 0;",
    "    unsigned from = 0;",
    "*pollers.*",
)
mutation(
    "poller_asks_one_shard_of_several",
    "src/sched/poller.cpp",
    "    for (unsigned i = 0; i < count_ && into.count == 0; ++i)",
    "    for (unsigned i = 0; i < 1; ++i)",
    "*pollers.*",
)
mutation(
    "poller_sleeps_on_with_events",
    "src/sched/poller.cpp",
    "    return note.end_poll();",
    "    note.end_poll();\n    return false;",
    "*pollers.*",
)

# ---- Datagrams -----------------------------------------------------------------------------------------------------

mutation(
    "datagrams_are_cut_without_a_word",
    "src/net/datagram.cpp",
    "MSG_DONTWAIT | MSG_TRUNC",
    "MSG_DONTWAIT",
    "*datagrams.are_cut_*",
)
mutation(
    "short_datagrams_are_taken_for_the_last",
    "src/net/open.cpp",
    "type != SOCK_STREAM ? carries::messages : ",
    "",
    "*datagrams.go_to_one_*",
)
mutation(
    "short_datagrams_of_a_pair_are_taken_for_the_last",
    "src/net/unix_datagram.cpp",
    "unix_datagram b(own(fds[1], carries::messages, ec));",
    "unix_datagram b(own(fds[1], carries::bytes, ec));",
    "*datagrams.that_came_together_*",
)
mutation(
    "datagrams_to_a_full_receiver_wait_for_an_event",
    "src/net/datagram.cpp",
    "to->is_unix()) errno = ENOBUFS;",
    "to->is_unix()) errno = EAGAIN;",
    "*datagrams.wait_until_the_receiver_*",
)
mutation(
    "sender_is_told_after_an_error",
    "src/net/datagram.cpp",
    "    if (n < 0) return {};\n",
    "",
    "*datagrams.are_waited_for_until_a_deadline*",
)
mutation(
    "hops_are_not_set_for_mapped_peers",
    "src/net/udp.cpp",
    "    if (!ec) set_option(h, IPPROTO_IP, v4, value, none);\n",
    "",
    "*datagrams.of_ipv6/*",
)
mutation(
    "group_is_joined_without_its_scope",
    "src/net/udp.cpp",
    "interface != 0 ? interface : a.scope();",
    "interface;",
    "*datagrams.of_ipv6_groups*",
)

# ---- Pipes ---------------------------------------------------------------------------------------------------------

mutation(
    "packets_are_taken_for_the_last",
    "src/net/pipe.cpp",
    "return access == O_WRONLY; }",
    "return access >= 0; }",
    "*pipes.of_packets_*",
)
mutation(
    "fifo_ends_before_it_has_begun",
    "src/net/pipe.cpp",
    "        if (p.revents != 0) return 0;\n        errno = EAGAIN;\n        return -1;\n",
    "        return 0;\n",
    "*pipes.with_a_path_do_not_end_*",
)
mutation(
    "broken_pipe_is_a_signal",
    "src/net/quiet_write.cpp",
    "    const sigpipe_blocked block;\n    const ssize_t written = sys::writev(fd, v, n);\n    if (written < 0 && errno == EPIPE) block.take_back();\n    return written;",
    "    return sys::writev(fd, v, n);",
    "*pipes.that_nobody_reads_*",
)
mutation(
    "signal_of_a_broken_pipe_comes_later",
    "src/net/quiet_write.cpp",
    "if (written < 0 && errno == EPIPE) block.take_back();",
    "",
    "*pipes.that_nobody_reads_*",
)
mutation(
    "signal_of_another_is_taken_back",
    "src/net/quiet_write.cpp",
    "        if (was_pending_) return;\n",
    "",
    "quiet_write.*",
)
mutation(
    "standard_streams_are_taken",
    "src/net/pipe.cpp",
    "    if (fd <= STDERR_FILENO) {",
    "    if (false) {",
    "*pipes.that_are_standard_streams_*",
)

# ---- Other people's descriptors ------------------------------------------------------------------------------------

mutation(
    "borrowed_descriptor_wakes_readers_alone",
    "src/net/descriptor.cpp",
    "bits |= descriptor_word::readable | descriptor_word::writable;\n        if",
    "bits |= descriptor_word::readable;\n        if",
    "*poll_fds.that_were_borrowed_wait_*",
)
mutation(
    "same_descriptor_is_polled_for_its_last_entry",
    "src/net/poll_fd.cpp",
    "e.add(p.fd, all_events(fds, p.fd), 0);",
    "e.add(p.fd, for_epoll(p.events), 0);",
    "*poll_fds.are_polled_together_with_*",
)
mutation(
    "file_is_waited_for",
    "src/net/poll_fd.cpp",
    "    return error == 0;\n}",
    "    return error == 0 || error == EPERM;\n}",
    "*poll_fds.refuse_*",
)

# ---- Registrations -------------------------------------------------------------------------------------------------

mutation(
    "registrations_are_guarded",
    "src/net/descriptor.cpp",
    "    else if (!refused) error = add_to_poller(*s, d, event_data(h));\n",
    "    else if (!refused) {\n        leave_current(m);\n"
    "        error = blocking_call([&] { return add_to_poller(*s, d, event_data(h)); });\n"
    "        m = enter_current();\n    }\n",
    "socket.registrations_keep_the_processor",
)
mutation(
    "closes_are_guarded",
    "src/net/descriptor.cpp",
    "    if (waits || sys::is_simulated(fd)) {",
    "    if (fd >= 0) {",
    "socket.registrations_keep_the_processor",
)
