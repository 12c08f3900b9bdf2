"""Mutations of deep code, floating point, counters, names, memory."""

from mutations import mutation

# ---- Faults, floating point, deep code -----------------------------------------------------------------------------

mutation(
    "fault_handler_goes_over_later_ones",
    "src/context/overflow.cpp",
    "    if (came_later) return;\n",
    "",
    "fault_handlers.one_that_came_later_keeps_its_place",
)
mutation(
    "fault_handler_passes_on_to_who_has_called_it",
    "src/context/overflow.cpp",
    "return ::sigaction(h.signal, nullptr, &now) == 0 && same_handler(now, h.before);",
    "return false;",
    "fault_handlers.one_installed_again_over_ours_is_called_once",
)
mutation(
    "fault_goes_round_in_a_longer_circle",
    "src/context/overflow.cpp",
    "    if (passing.info == info && frame < passing.frame) return true;\n",
    "",
    "fault_handlers.longer_circles_of_others_end",
)
mutation(
    "fault_handler_is_not_put_back_over_nobody",
    "src/context/overflow.cpp",
    "h.was_placed && !is_nobody(now) &&",
    "h.was_placed &&",
    "fault_handlers.overflow_is_reported_after_another_has_gone",
)
mutation(
    "fault_handlers_are_installed_unasked",
    "src/sched/sched.cpp",
    "if (opts.fault_handlers) context::install_overflow_handler",
    "context::install_overflow_handler",
    "fault_handlers.are_not_installed_by_who_must_not",
)
mutation(
    "float_mode_passes_to_the_next",
    "src/goroutine/goroutine_main.cpp",
    "    g->s->floats.begin();   // the last one on this thread may have left its own\n",
    "",
    "float_mode.of_one_that_ended_is_not_inherited",
)
mutation(
    "float_mode_forgets_the_x87",
    "src/context/float_mode.hpp",
    "if (x87 != x87_) [[unlikely]]",
    "if (false)",
    "float_mode.of_one_that_ended_is_not_inherited",
)
mutation(
    "guards_are_one_page",
    "src/context/stack.cpp",
    "std::max<std::size_t>(64 * 1024, page_size())",
    "page_size()",
    "stack_pool.guards_are_as_long_as_large_frames:overflow.of_a_large_frame_is_reported",
)
mutation(
    "deep_code_waits_on_g0",
    "src/sched/schedule.cpp",
    "if (G* tied = m->locked_g; tied && tied->deep)",
    "if (G* tied = m->locked_g; tied && tied->deep && tied->lock_depth == 0)",
    "thread_stack.frames_survive_waiting",
)
mutation(
    "deep_code_is_not_tied",
    "src/goroutine/thread_stack.cpp",
    "        m->locked_g = g;\n",
    "        g->locked.store(false, std::memory_order_relaxed);\n",
    "thread_stack.the_goroutine_keeps_its_thread:thread_stack.calls_nest",
)
mutation(
    "deep_code_may_untie_itself",
    "src/goroutine/this_goroutine.cpp",
    "g->lock_depth > (g->deep ? 1u : 0u)",
    "g->lock_depth > 0",
    "thread_stack.tie_is_not_the_callers_to_undo",
)
mutation(
    "deep_code_stays_tied",
    "src/goroutine/thread_stack.cpp",
    "        m_->locked_g = nullptr;\n",
    "",
    "thread_stack.the_goroutine_keeps_its_thread:thread_stack.calls_nest",
)
mutation(
    "threads_have_small_stacks",
    "src/os/thread.cpp",
    "::pthread_attr_setstacksize(&attr, room);",
    "::pthread_attr_setstacksize(&attr, size);",
    "thread_stack.has_the_room_of_a_thread",
)
mutation(
    "threads_insist_on_large_stacks",
    "src/os/thread.cpp",
    "if (e == EAGAIN && room > size && memory_is_short(room)) {",
    "if (false) {",
    "thread_stack.is_smaller_where_memory_is_short",
)
mutation(
    "overflow_of_the_threads_stack_has_no_name",
    "src/debug/report.cpp",
    "    const bool own = (g->deep ? g->deep->guards(at) : st.guards(at)) ||\n"
    "                     is_stepped_over(at, static_cast<const char*>(sp), g->deep ? g->deep->guard_hi : st.usable_lo());\n",
    "    const bool own = st.guards(at);\n",
    "thread_stack.overflow_is_reported_with_the_goroutine",
)
mutation(
    "end_of_a_thread_has_no_name",
    "src/goroutine/goroutine_main.cpp",
    "        g->exception = caught_exception();",
    "        g->exception = std::current_exception();",
    "thread_end.*",
)
mutation(
    "end_of_a_thread_in_a_group_has_no_name",
    "src/sync/task_group.cpp",
    "        e = caught_exception();",
    "        e = std::current_exception();",
    "thread_end.*",
)

# ---- Counters, names, locals and memory ------------------------------------------------------------------------------

mutation(
    "own_exits_are_a_difference",
    "src/debug/stats.cpp",
    "            if (ended > others) m.own_told = std::max(m.own_told, ended - others);\n",
    "            m.own_told = ended - others;\n",
    "inspected_counts.*",
)
mutation(
    "calls_that_lose_their_processor_count_as_own",
    "src/goroutine/syscall.cpp",
    "    m->calls_not_own.add();\n    m->calls_without.add();\n    count_call(m);\n",
    "    m->calls_without.add();\n    count_call(m);\n",
    "procs/counts.are_exact_once_all_is_quiet/*",
)
mutation(
    "snapshots_keep_the_lock",
    "src/debug/snapshot.cpp",
    "        for (std::size_t i = 0; i < n; ++i) all.goroutines.push_back(with_name(*s.store, some[i]));\n",
    "        base::lock_guard still(s.idle.lock);\n        at = s.store->visit(at < s.store->places() ? at : 0, [](const G&) {});\n"
    "        std::array<seen, 64> none;\n        s.store->for_each([&](const G& g) {\n"
    "            const g_state state = g.state.seen();\n"
    "            if (state == g_state::idle || state == g_state::dead) return;\n            none[0] = look_at(g, state);\n"
    "            all.goroutines.push_back(with_name(*s.store, none[0]));\n        });\n        break;\n",
    "inspection_of_counts.snapshots_let_others_on",
)
mutation(
    "names_are_of_memory",
    "src/sched/g_store.cpp",
    "it != names.end() && it->second.id == id ?",
    "it != names.end() && id != 0 ?",
    "g_store.names_are_of_one_goroutine",
)
mutation(
    "memory_of_goroutines_stays",
    "src/sched/g_cache.cpp",
    "    if (g_store::chunk_bytes % context::page_size() == 0) ::madvise(gs, g_store::chunk_bytes, MADV_DONTNEED);\n",
    "    (void)gs;\n",
    "goroutine_memory.goes_back_when_idle",
)
mutation(
    "gs_of_whole_chunks_are_given_out_again",
    "src/sched/g_store.cpp",
    "    if (!whole.empty()) std::erase_if(lent, [&count](const G* g) { return count[g->chunk] == chunk_size; });\n",
    "",
    "g_store.whole_chunks_rest_and_come_back",
)
mutation(
    "locals_of_threads_end_once",
    "src/goroutine/goroutine_local.cpp",
    "    if (pthread_key_t key; find_key(key) && ::pthread_setspecific(key, of_thread) != 0) throw std::bad_alloc();\n",
    "",
    "procs/goroutine_locals.of_threads_*:procs/goroutine_locals.that_pthread_keys_use*",
)
mutation(
    "locals_of_the_main_thread_end_once",
    "src/goroutine/goroutine_local.cpp",
    "        if (std::atexit(destroy_those_of_thread) != 0) throw std::bad_alloc();\n",
    "",
    "goroutine_locals_at_exit.*",
)
mutation(
    "locals_of_dropped_results_stay",
    "src/goroutine/goroutine_main.cpp",
    "    drop_outcome(g, *g->s->store);\n    if (g->locals) [[unlikely]] destroy_locals(g->locals);\n",
    "    drop_outcome(g, *g->s->store);\n",
    "procs/goroutine_locals.that_a_dropped_result_uses*",
)
mutation(
    "groups_start_a_runtime",
    "src/sched/sched.cpp",
    "    if (sched* s = of_default_runtime.load(std::memory_order_acquire)) return s;   // with its store: all of it\n",
    "    if (sched* s = hooks.default_sched()) return s;\n",
    "default_runtime.is_started_by_no_group_or_timer",
)
mutation(
    "groups_run_where_go_is_called",
    "src/sync/task_group.cpp",
    "    if (!m || m->s->link != g->home) {\n",
    "    if (!g) {\n",
    "procs/named_runtime.*",
)
mutation(
    "timers_forget_their_runtime",
    "src/sync/timer.cpp",
    "(of ? of : sched_of_maker(",
    "(sched_of_maker(",
    "procs/named_runtime.has_timers/*",
)
