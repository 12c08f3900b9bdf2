"""Mutations of descriptors, of what waits for them, and of the network of simulations, which simulated runs must find."""

from mutations import mutation


def found_by_simulation(name, file, old, new, tests="*"):
    mutation(name, file, old, new, f"simulated_network.{tests}")


# ---- The word ------------------------------------------------------------------------------------------------------

WORD = "src/net/descriptor_word.cpp"
found_by_simulation(
    "short_reads_lose_the_end",
    WORD,
    "                (found == call_result::drained && d == direction::read && (seen & read_end) != 0);",
    "                (found == call_result::drained && d == direction::read && false);",
    "the_end_comes_with_the_last_bytes",
)
found_by_simulation(
    "full_reads_find_nothing_more",
    WORD,
    "        ready = found == call_result::more ||\n",
    "        ready =\n",
)
found_by_simulation(
    "nobody_is_woken_for_the_rest",
    WORD,
    "    return {ready && (seen & parked_bit(d)) != 0, is_last(next)};",
    "    return {false, is_last(next)};",
    "one_edge_wakes_all_whom_it_is_for",
)
found_by_simulation(
    "waiters_park_beside_what_is_ready",
    WORD,
    "        if (generation_of(seen) != generation || (seen & (closing | ready_bit(d))) != 0) return false;",
    "        if (generation_of(seen) != generation || (seen & closing) != 0) return false;",
)
found_by_simulation(
    "operations_reach_the_next_descriptor",
    WORD,
    "        if (generation_of(seen) != generation || (seen & closing) != 0) return begun::closed;",
    "        if ((seen & closing) != 0) return begun::closed;",
    "nothing_of_a_closed_socket_reaches_the_next",
)
found_by_simulation(
    "room_wakes_nobody",
    WORD,
    "    if ((bits & writable) != 0) wakes |= bits_of(seen) & write_parked;\n",
    "",
)

# ---- Waiters -------------------------------------------------------------------------------------------------------

DESCRIPTOR = "src/net/descriptor.cpp"
found_by_simulation(
    "close_wakes_readers_alone",
    DESCRIPTOR,
    "wake(d, descriptor_word::read_parked | descriptor_word::write_parked, true);",
    "wake(d, descriptor_word::read_parked, true);",
    "close_ends_all_waits",
)
found_by_simulation(
    "new_deadlines_wake_nobody",
    "src/net/io_object.cpp",
    "    wake_all(*of);   // who waits looks again\n",
    "",
    "deadlines_*",
)
found_by_simulation(
    "waiters_keep_the_deadline_that_they_saw",
    DESCRIPTOR,
    "            return d.limit[static_cast<int>(dir)].load(std::memory_order_relaxed) == own && d.word",
    "            return d.word",
    "deadlines_*",
)
found_by_simulation(
    "events_go_to_selects",
    DESCRIPTOR,
    "            if (waiting.release(*n, 0, won) && calls) break;",
    "            if (waiting.release(*n, 0, won)) break;\n            (void)calls;",
    "selects_take_no_event_from_others",
)
found_by_simulation(
    "events_go_to_who_gave_up",
    DESCRIPTOR,
    "            if (waiting.release(*n, 0, won) && calls) break;",
    "            waiting.release(*n, 0, won);\n            if (calls) break;",
    "who_gives_up_takes_no_event_along",
)
found_by_simulation(
    "others_are_forgotten_when_one_is_woken",
    DESCRIPTOR,
    "        if (waiting.empty()) d.word.nobody_parked(dir);",
    "        d.word.nobody_parked(dir);",
)
found_by_simulation(
    "selects_believe_what_woke_them",
    "src/net/select.cpp",
    "    asks_when_woken = true;",
    "    asks_when_woken = false;",
    "selects_take_no_event_from_others",
)
found_by_simulation(
    "connecting_to_a_full_backlog_is_tried_once",
    "src/net/unix.cpp",
    "    do connect_handle(s.handle_, to, d, ec);\n",
    "    connect_handle(s.handle_, to, d, ec);\n    do;\n",
    "a_full_backlog_lets_others_wait",
)
found_by_simulation(
    "accepts_pause_ignores_the_deadline",
    "src/net/open.cpp",
    "        if (own() <= now || (d.steady() <= now && d.over())) {",
    "        if (d.steady() <= now && d.over()) {",
    "accept_passes_over_failures",
)

# ---- The network itself --------------------------------------------------------------------------------------------

found_by_simulation(
    "simulated_room_stays_away",
    "src/sim/stream.cpp",
    "        f->withheld = 0;\n",
    "",
)
found_by_simulation(
    "simulated_networks_have_no_seed",
    "src/sim/network.cpp",
    "rng_(seed ^ of_networks) {}",
    "rng_(reinterpret_cast<std::uintptr_t>(this) ^ static_cast<std::uint64_t>(os::nanotime()) ^ seed) {}",
    "same_seed_same_run",
)
found_by_simulation(
    "simulated_sockets_outlive_their_run",
    "src/sim/network.cpp",
    "        if (n && n->of) descriptor_handle(n->of, n->generation).close();",
    "        if (false) descriptor_handle(n->of, n->generation).close();",
    "sockets_are_closed_when_the_run_ends",
)
