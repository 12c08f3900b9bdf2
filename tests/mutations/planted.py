"""Faults that tests/mutants plants for the checks that take another compiler, a sanitizer or a build of their own.

Each has the command that must fail, for bash in the directory of the changed copy, and a pattern for what it says then:
it has to fail for this reason.
"""

from collections import namedtuple

from mutations import MUTATIONS, replacing

Planted = namedtuple("Planted", "name file apply command shows")
PLANTED = []


def planted(name, file, apply, command, shows):
    PLANTED.append(Planted(name, file, apply, command, shows))


def as_in(name):
    """What the mutation of that name does to the file."""
    return next(m.apply for m in MUTATIONS if m.name == name)


def build(directory, target, options="", compiler=""):
    """What builds `target` alone, in a directory beside the copy."""
    return (
        f"{compiler} cmake -S . -B ../{directory} -G Ninja -DCMAKE_BUILD_TYPE= -DHANDOFF_BUILD_BENCH=OFF {options} && "
        f"cmake --build ../{directory} --target {target}"
    )


UNIT_TESTS = build("build", "handoff_unit")   # the directory of the other mutations
CLANG = "CXX=clang++ CC=clang"

# ---- Programs that are run in a way of their own -------------------------------------------------------------------

planted(
    "signals_end_sleeps",
    "src/os/note.cpp",
    as_in("signals_end_waits"),
    f"{UNIT_TESTS} && HANDOFF_TEST_SIGNALS=1000 ../build/handoff_unit --gtest_filter='sleep.*'",
    r"FAILED  \] sleep\.\w+",
)
planted(
    "races_are_not_found",
    "src/sim/simulator.cpp",
    as_in("simulation_never_interleaves"),
    f"{build('build', 'find_races')} && tests/examples/check ../build/find_races",
    r"not found with 1000 seeds",
)
planted(
    "sleep_compares_what_nobody_set",
    "src/goroutine/sleep.cpp",
    replacing(
        "void sleep_until_ns(std::int64_t when, const std::stop_token* stop) {\n",
        "void sleep_until_ns(std::int64_t when, const std::stop_token* stop) {\n"
        "    volatile std::int64_t unset;\n    if (when == unset) ++when;\n",
    ),
    f"{UNIT_TESTS} && valgrind --error-exitcode=1 --fair-sched=try ../build/handoff_unit --gtest_filter='sleep.*'",
    r"depends on uninitialised value",
)

# ---- The preloaded check of held mutexes ----------------------------------------------------------------------------


def unchecked(name, file, old, new, test):
    planted(
        name,
        file,
        replacing(old, new),
        f"{build('build', 'handoff_preloaded handoff_mutex_check')} && "
        f"LD_PRELOAD=../build/libhandoff_mutex_check.so ../build/handoff_preloaded --gtest_filter='held_mutexes.*{test}*'",
        r"FAILED  \] held_mutexes\.\w+",
    )


unchecked(
    "held_mutexes_are_reported_each_time",
    "src/mutex_check/reports.cpp",
    "if (!ours) return false;",
    "if (!ours) return true;",
    "of_one_site",
)
unchecked(
    "sites_of_held_mutexes_are_only_the_innermost_call",
    "src/mutex_check/notes.cpp",
    "return w.n == call_path::most ?",
    "return w.n == 1 ?",
    "of_two_sites",
)
unchecked(
    "moves_with_a_held_mutex_are_not_noticed",
    "src/mutex_check/notes.cpp",
    "if (h.thread == thread_id(t) || h.told_moved) continue;",
    "if (h.thread != 0 || h.told_moved) continue;",
    "goroutine_moves",
)
unchecked(
    "held_mutexes_are_forgotten_at_a_switch",
    "src/mutex_check/notes.cpp",
    "    if (g) keep(*g, t.holds);\n",
    "",
    "goroutine_moves",
)
unchecked(
    "held_mutexes_are_left_to_the_next_goroutine",
    "src/mutex_check/notes.cpp",
    "    if (t.holds.n == 0) return;",
    "    if (t.holds.n == 0 || !g) return;",
    "has_ended",
)
unchecked(
    "held_mutexes_are_watched_until_the_first_start",
    "src/sched/schedule.cpp",
    "    p->handoff = handoff_cause::watched;\n",
    "",
    "without_a_switch",
)
unchecked(
    "held_mutexes_are_not_locked_again_by_a_wait",
    "src/mutex_check/wrappers.cpp",
    "    note_relocked(m);\n",
    "    (void)m;\n",
    "the_last_wait",
)
unchecked(
    "tied_goroutines_may_not_hold_mutexes",
    "src/debug/held_mutexes.cpp",
    "parks && !tied ?",
    "parks && (tied || !tied) ?",
    "tied_to_its_thread",
)
unchecked(
    "condition_variables_of_held_mutexes_are_forgotten",
    "src/mutex_check/notes.cpp",
    "if (h.lock != lock) continue;",
    "if (h.lock == lock) h.lock = nullptr;",
    "after_a_condition_variable",
)

# ---- Fuzz targets, and the sanitizers that they are built with ------------------------------------------------------

planted(
    "fuzzer_loses_a_senders_value",
    "src/sync/channel.cpp",
    as_in("receiver_loses_a_senders_value"),
    "tests/fuzz/run --only channels --seconds 180",
    r"not so: .*",
)
planted(
    "fuzzed_paths_with_an_at_become_abstract",
    "src/net/endpoint.cpp",
    as_in("paths_with_an_at_become_abstract"),
    "tests/fuzz/run --only addresses --seconds 180",
    r"not so: .*",
)
planted(
    "fuzzed_heap_sifts_down_to_the_first_child",
    "src/timer/timer_heap.cpp",
    as_in("heap_sifts_down_to_the_first_child"),
    "tests/fuzz/run --only timers --seconds 300",
    r"WRONG: .*",
)
planted(
    "heap_holds_no_reference",
    "src/sync/timer.cpp",
    replacing("    refs.fetch_add(1, std::memory_order_relaxed);\n    try {\n        if (m)", "    try {\n        if (m)"),
    "tests/fuzz/run --only timers",
    r"AddressSanitizer: heap-use-after-free",
)
planted(
    "timers_with_functions_leak",
    "src/sync/timer.cpp",
    replacing("std::memory_order_acq_rel) == 1) delete this;", "std::memory_order_acq_rel) == 1 && !f) delete this;"),
    "tests/fuzz/run --only timers",
    r"LeakSanitizer: detected memory leaks",
)
planted(
    "tickers_overflow",
    "src/sync/timer.cpp",
    replacing("period < last_deadline - last ? last + period : last_deadline", "last + (INT64_MAX - period / 2)"),
    "tests/fuzz/run --only timers",
    r"signed integer overflow",
)
planted(
    "note_orders_nothing",
    "src/os/note.cpp",
    lambda text: text.replace("std::memory_order_acquire", "std::memory_order_relaxed"),
    f"{build('thread', 'handoff_unit', '-DHANDOFF_SANITIZE=thread')} && "
    "setarch $(uname -m) -R ../thread/handoff_unit --gtest_filter='sleep.*'",
    r"ThreadSanitizer: data race",
)
planted(
    "group_looks_at_a_link_without_the_lock",
    "src/sync/task_group.cpp",
    replacing("    if (!in_group_) {", "    if (!scope->link.is_linked()) {"),
    f"{build('thread', 'handoff_unit', '-DHANDOFF_SANITIZE=thread')} && "
    "setarch $(uname -m) -R ../thread/handoff_unit --gtest_filter='*task_groups.begin_while_others*'",
    r"ThreadSanitizer: data race",
)

# ---- Compilers, linkers and what reads the source -------------------------------------------------------------------

planted(
    "timer_is_removed_without_the_lock",
    "src/timer/timer_heap.cpp",
    replacing(
        "bool timer_heap::remove(timer* t) noexcept {\n    base::lock_guard hold(lock_);",
        "bool timer_heap::remove(timer* t) noexcept {",
    ),
    build("clang", "handoff", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", CLANG),
    r"requires holding mutex",
)
planted(
    "null_is_a_number",
    "src/timer/timer_heap.cpp",
    replacing("    timer* head = nullptr;", "    timer* head = 0;"),
    "cmake -S . -B ../tidy -G Ninja -DHANDOFF_BUILD_TESTS=OFF -DHANDOFF_BUILD_EXAMPLES=OFF -DHANDOFF_BUILD_BENCH=OFF && "
    "clang-tidy -p ../tidy --quiet --warnings-as-errors='*' src/timer/timer_heap.cpp",
    r"modernize-use-nullptr",
)
planted(
    "clock_is_not_exported",
    "include/handoff/detail/time.hpp",
    replacing("HANDOFF_API std::int64_t clock_now() noexcept;", "std::int64_t clock_now() noexcept;"),
    build("shared", "rate_limiter", "-DBUILD_SHARED_LIBS=ON"),
    r"undefined reference to .*clock_now",
)
planted(
    "fence_is_for_another_processor",
    "src/base/atomic.hpp",
    replacing('"dmb ish"', '"mfence"'),
    "tests/run --all --only AArch64",
    r"unknown mnemonic",
)
planted(
    "jump_is_called_by_its_c_name",
    "src/context/context.hpp",
    replacing('"jmp *%[target]\\n"', '"jmp jump_fcontext@PLT\\n"'),
    "tests/install/run",
    r"undefined reference to `jump_fcontext'",
)
planted(
    "sched_includes_sync",
    "src/sched/handover.cpp",
    replacing('#include "sched/slice.hpp"\n', '#include "sched/slice.hpp"\n#include "sync/channel.hpp"\n'),
    "tests/layers",
    r"src/sched/handover\.cpp:\d+: a file of layer sched includes .*of layer sync above it",
)
planted(
    "header_is_not_installed",
    "CMakeLists.txt",
    replacing('FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")', 'FILES_MATCHING PATTERN "*.hpp" PATTERN "time.hpp" EXCLUDE)'),
    "tests/install/run",
    r"time\.hpp: No such file",
)

# ---- What the compilers say ----------------------------------------------------------------------------------------

planted(
    "wrong_calls_are_valid",
    "include/handoff/detail/misuse.hpp",
    replacing("#define HANDOFF_MISUSE(sentence) __attribute__((unavailable(sentence)))", "#define HANDOFF_MISUSE(sentence)"),
    "tests/compile/check g++",
    r"g\+\+ accepts it",
)
planted(
    "go_does_not_ask_for_copies",
    "include/handoff/goroutine.hpp",
    replacing("(std::constructible_from<std::decay_t<Call>, Call> && ...) &&\n", ""),
    "tests/compile/check g++",
    r"not one error of \d lines, of which the first three say: std::move\(x\) for what can't be copied",
)
planted(
    "refused_call_is_preferred",
    "include/handoff/goroutine.hpp",
    replacing("        requires(!made_options<F>)\n", ""),
    "tests/compile/check g++",
    r"right_uses\.cpp: g\+\+ refuses it",
)
