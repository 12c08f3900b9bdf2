"""Runs the benchmark programs in turns, and puts their figures into a table. bench/run builds them and calls this."""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import namedtuple

# ---- What is measured ----------------------------------------------------------------------------------------------

# A Run is one process: it is asked for `work`, and prints a figure for each name in `figures`.
Run = namedtuple("Run", "subject work figures")


def run(subject, work, *more_figures):
    return Run(subject, work, (work, *more_figures))


# The runs of a group take turns.
GROUPS = [
    [run("handoff", "brackets"), run("go", "brackets")],
    [run("handoff", "yield"), run("go", "yield"), run("boost_fiber", "yield")],
    [run("handoff", "spawn"), run("go", "spawn"), run("boost_fiber", "spawn"), run("std_thread", "spawn")],
    [run("handoff", "chan_unbuffered"), run("go", "chan_unbuffered"), run("boost_fiber", "chan_unbuffered")],
    [run("handoff", "chan_buffered"), run("go", "chan_buffered"), run("boost_fiber", "chan_buffered")],
    [run("handoff", "chan_buffered_2p"), run("go", "chan_buffered_2p"), run("boost_fiber", "chan_buffered_2p")],
    [run("handoff", "select2"), run("go", "select2")],
    [
        run("handoff", "mutex_uncontended"),
        run("go", "mutex_uncontended"),
        run("boost_fiber", "mutex_uncontended"),
        run("std_mutex", "mutex_uncontended"),
    ],
    [run("handoff", "mutex_contended"), run("go", "mutex_contended"), run("boost_fiber", "mutex_contended")],
    [run("handoff", "rwmutex_read"), run("go", "rwmutex_read")],
    [run("handoff", "wait_group"), run("go", "wait_group")],
    [run("handoff", "skynet"), run("go", "skynet"), run("boost_fiber", "skynet")],
    [run("handoff", "sleep_100k"), run("go", "sleep_100k"), run("boost_fiber", "sleep_100k")],
    [
        run("handoff", "handoff_sysmon"),
        run("go", "handoff_sysmon"),
        run("handoff", "handoff_immediate"),
        run("handoff", "handoff_adaptive"),
        run("handoff", "handoff_unguarded"),
        run("linux", "futex_wake"),
    ],
    [
        run("handoff", "blocking_storm", "blocking_storm_warm"),
        run("go", "blocking_storm", "blocking_storm_warm"),
        run("std_thread", "blocking_storm", "blocking_storm_warm"),
    ],
    [run("handoff", "blocking_storm_busy"), run("go", "blocking_storm_busy")],
    [
        run("handoff", "parked_memory", "parked_page_tables"),
        run("go", "parked_memory", "parked_page_tables"),
    ],
]

# The subjects that handoff_bench itself measures.
IN_HANDOFF_BENCH = {"handoff", "std_thread", "std_mutex", "linux"}

# What Go has instead: all its blocking calls wait for sysmon.
GO_COUNTERPART = {"handoff_immediate": "handoff_sysmon", "handoff_adaptive": "handoff_sysmon"}

# At most so much, in the work's unit; at least so many times better than Go in the same run; at most so many times
# what std_mutex takes in it.
Goal = namedtuple("Goal", "most times_go most_std_mutex", defaults=[None])
GOALS = {
    "brackets": Goal(3, 4),
    "yield": Goal(15, 3.5),
    "spawn": Goal(25, 4.5),
    "chan_unbuffered": Goal(80, 3),
    "chan_buffered": Goal(15, 2),
    "select2": Goal(None, 2.5),
    "mutex_uncontended": Goal(None, 1, 1.3),
    "skynet": Goal(150, 4),
    "sleep_100k": Goal(40, 2),
    "handoff_sysmon": Goal(None, 3),
    "handoff_immediate": Goal(None, 15),
    "handoff_adaptive": Goal(None, 15),
    "blocking_storm": Goal(None, 12),
    "blocking_storm_busy": Goal(None, 12),
    "parked_memory": Goal(4400, None),
}

# A row of the table: its label, the work and key on handoff's side and on Go's. Without a key it is the value.
Row = namedtuple("Row", "label work key go_work go_key")
DETAILS = {
    "brackets": [
        Row("brackets, both: the pair alone", "brackets", "value", "brackets", "bare"),
        Row("brackets, both: around getppid", "brackets", "around_getppid", "brackets", "value"),
    ],
    "handoff_sysmon": [
        Row("handoff_sysmon, without pauses", "handoff_sysmon", "back_to_back", "handoff_sysmon", "back_to_back"),
        Row("handoff_sysmon, p99", "handoff_sysmon", "p99", "handoff_sysmon", "p99"),
    ],
    "handoff_immediate": [
        Row("handoff_immediate, without pauses", "handoff_immediate", "back_to_back", "handoff_sysmon", "back_to_back"),
    ],
    "handoff_adaptive": [
        Row("handoff_adaptive, without pauses", "handoff_adaptive", "back_to_back", "handoff_sysmon", "back_to_back"),
    ],
}

ROUNDS, QUICK_ROUNDS = 5, 3
PARKED, QUICK_PARKED = 1_000_000, 200_000
PARKED_BYTES = 6_500   # to have at hand for each goroutine
TIMEOUT = 300          # seconds, for one process


def all_works():
    return list(dict.fromkeys(name for group in GROUPS for r in group for name in r.figures))


# ---- The command line ----------------------------------------------------------------------------------------------


def writable_file(path):
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise argparse.ArgumentTypeError(f"there is no directory {directory}")
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else directory, os.W_OK):
        raise argparse.ArgumentTypeError(f"can't write {path}")
    return path


def selecting_regex(text):
    try:
        regex = re.compile(text)
    except re.error as e:
        raise argparse.ArgumentTypeError(f"{text}: no regular expression: {e}")
    if not any(regex.search(name) for name in all_works()):
        raise argparse.ArgumentTypeError(f"{text} matches no work; they are {', '.join(all_works())}")
    return regex


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def program(text):
    subject, _, path = text.partition("=")
    return subject, path


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/run", add_help=False, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=positive)
    parser.add_argument("--only", type=selecting_regex, default=re.compile(""))
    parser.add_argument("--json", type=writable_file)
    parser.add_argument("--markdown", type=writable_file)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true", help="only look at the arguments")
    parser.add_argument("--program", type=program, action="append", default=[], help="SUBJECT=PATH")
    parser.usage = "see bench/run --help"
    return parser.parse_args()


def selected(groups, only, subjects):
    """The groups with the runs that `only` asks for, and Go's counterparts of them."""
    wanted = {name for name in all_works() if only.search(name)}
    for_go = wanted | {GO_COUNTERPART[name] for name in wanted if name in GO_COUNTERPART}
    for group in groups:
        runs = [r for r in group if r.subject in subjects and (for_go if r.subject == "go" else wanted) & set(r.figures)]
        if runs:
            yield runs


# ---- Measuring -----------------------------------------------------------------------------------------------------


def note(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


class Progress:
    """What is under way: one line that is overwritten on a terminal, elsewhere a line for each group."""

    def __init__(self):
        self.live = sys.stderr.isatty()

    def group(self, runs, rounds):
        if not self.live:
            works = ", ".join(dict.fromkeys(r.work for r in runs))
            note(f"{rounds} round{'s' if rounds > 1 else ''}: {works} ({', '.join(dict.fromkeys(r.subject for r in runs))})")

    def run(self, r, n, rounds):
        if self.live:
            note(f"\r\033[Kround {n} of {rounds}: {r.work}, {r.subject} …", end="")

    def clear(self):
        if self.live:
            note("\r\033[K", end="")


def available_bytes():
    with open("/proc/meminfo") as meminfo:
        for line in meminfo:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def parked_goroutines(quick):
    wanted = QUICK_PARKED if quick else PARKED
    fit = available_bytes() // PARKED_BYTES
    if fit >= wanted:
        return wanted
    fit = max(1000, fit // 1000 * 1000)
    note(f"bench/run: memory for {wanted:,} parked goroutines is not there; taking {fit:,}")
    return fit


def measure_once(r, path, extra_arguments):
    """The figures that one process prints. Raises RuntimeError with the reason if there are none."""
    command = [path, "--work", r.work, *extra_arguments]
    if r.subject in IN_HANDOFF_BENCH:
        command += ["--subject", r.subject]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"did not end within {TIMEOUT} s")
    said = f": {done.stderr.strip()}" if done.stderr.strip() else ""
    if done.returncode < 0:
        raise RuntimeError(f"died of {signal.Signals(-done.returncode).name}{said}")
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}{said}")
    try:
        figures = [json.loads(line) for line in done.stdout.splitlines()]
    except json.JSONDecodeError:
        raise RuntimeError(f"printed no JSON: {done.stdout.strip()[:200]}")
    if {f["work"] for f in figures} != set(r.figures):
        raise RuntimeError(f"printed figures of {[f['work'] for f in figures]}")
    return figures


def measure(groups, programs, rounds, quick):
    """All figures, by (work, subject), a list of one per round; and what failed."""
    figures, failures = {}, []
    progress = Progress()
    for group in groups:
        failed = set()
        arguments = ["--quick"] if quick else []
        if any(r.work == "parked_memory" for r in group):
            arguments += ["--goroutines", str(parked_goroutines(quick))]
        progress.group(group, rounds)
        for n in range(rounds):
            for r in group:
                if r in failed:
                    continue
                progress.run(r, n + 1, rounds)
                try:
                    for f in measure_once(r, programs[r.subject], arguments):
                        figures.setdefault((f["work"], r.subject), []).append(f)
                except (RuntimeError, OSError) as e:
                    progress.clear()
                    note(f"bench/run: {r.work} of {r.subject}: {e}")
                    failures.append((r.work, r.subject))
                    failed.add(r)
                    for name in r.figures:
                        figures.pop((name, r.subject), None)
    progress.clear()
    return figures, failures


def over_rounds(figures):
    """One entry for the rounds of a (work, subject)."""
    first = figures[0]
    values = [f["value"] for f in figures]
    entry = {key: first[key] for key in ("work", "subject", "procs")}
    entry["value"] = statistics.median(values)
    entry["unit"] = first["unit"]
    entry.update(rounds=len(values), min=min(values), max=max(values))
    for key, value in first.items():
        if key not in entry:
            entry[key] = value if isinstance(value, str) else statistics.median(f[key] for f in figures)
    return entry


# ---- The table -----------------------------------------------------------------------------------------------------


def amount(value, unit):
    """The value with a unit that suits its size."""
    if unit == "ns" and abs(value) >= 1e6:
        value, unit = value / 1e6, "ms"
    elif unit == "ns" and abs(value) >= 1e3:
        value, unit = value / 1e3, "µs"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def goal_text(goal, unit, value, ratio, std_mutex):
    parts = []
    if goal.most is not None:
        parts.append(f"≤ {goal.most:,} {unit}: {'met' if value <= goal.most else 'missed'}")
    if goal.times_go is not None:
        verdict = "?" if ratio is None else "met" if ratio >= goal.times_go else "missed"
        parts.append(f"≥ {goal.times_go:g}x: {verdict}")
    if goal.most_std_mutex is not None:
        verdict = "?" if std_mutex is None else "met" if value <= goal.most_std_mutex * std_mutex else "missed"
        parts.append(f"≤ {goal.most_std_mutex:g}x std_mutex: {verdict}")
    return ", ".join(parts)


def table(entries):
    """Rows of (label, handoff, go, ratio, goal)."""
    by_key = {(e["work"], e["subject"]): e for e in entries}

    def cells(row, goal=None):
        ours = by_key.get((row.work, "handoff"), {})
        go = by_key.get((row.go_work, "go"), {})
        value, go_value = ours.get(row.key), go.get(row.go_key)
        std_mutex = by_key.get((row.work, "std_mutex"), {}).get("value")
        ratio = go_value / value if value is not None and go_value is not None and value > 0 else None
        return (
            row.label,
            "–" if value is None else amount(value, ours["unit"]),
            "–" if go_value is None else amount(go_value, go["unit"]),
            "–" if ratio is None else f"{ratio:.1f}x" if ratio >= 1 else f"{ratio:.2f}x",
            goal_text(goal, ours["unit"], value, ratio, std_mutex) if goal and value is not None else "",
        )

    rows = []
    for work in all_works():
        if (work, "handoff") not in by_key and (work, "go") not in by_key:
            continue
        go_work = GO_COUNTERPART.get(work, work)
        rows.append(cells(Row(work, work, "value", go_work, "value"), GOALS.get(work)))
        rows += [c for c in map(cells, DETAILS.get(work, [])) if "–" not in c[1:3]]
    return rows


def peer_table(entries):
    """Rows of (work, subject, figure, times handoff's)."""
    ours = {e["work"]: e["value"] for e in entries if e["subject"] == "handoff"}
    rows = []
    for e in entries:
        if e["subject"] in ("handoff", "go"):
            continue
        base = ours.get(e["work"])
        rows.append((e["work"], e["subject"], amount(e["value"], e["unit"]), f"{e['value'] / base:.1f}x" if base else ""))
    return rows


HEAD = ("work", "handoff", "go", "go / handoff", "goal")
PEER_HEAD = ("work", "peer", "figure", "peer / handoff")


def as_text(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        padded = [c.rjust(w) if 1 <= i <= 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
        return "   ".join(padded).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, rows)])


def as_markdown(head, rows):
    def line(row):
        return "| " + " | ".join(row) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def describe_machine(entries):
    go = next((f", {e['version']}" for e in entries if e["subject"] == "go"), "")
    rounds = max(e["rounds"] for e in entries)
    return f"{os.cpu_count()} CPUs, Linux {os.uname().release}, {os.uname().machine}{go}; medians of {rounds} round{'s' if rounds > 1 else ''}"


def report(entries, form):
    tables = [(HEAD, table(entries)), (PEER_HEAD, peer_table(entries))]
    return "\n\n".join([describe_machine(entries), *(form(head, rows) for head, rows in tables if rows)])


# ---- All of it -----------------------------------------------------------------------------------------------------


class OthersWatch:
    """Tells how much CPU time processes other than ours have used since it was made."""

    def __init__(self):
        self.wall, self.busy, self.ours = time.monotonic(), self.busy_seconds(), self.our_seconds()

    @staticmethod
    def busy_seconds():
        with open("/proc/stat") as stat:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def our_seconds():
        return sum(os.times()[:4])

    def warn(self):
        others = self.busy_seconds() - self.busy - (self.our_seconds() - self.ours)
        share = others / (time.monotonic() - self.wall)
        if share > 0.1:
            note(f"bench/run: other processes used {share:.0%} of a CPU meanwhile; figures may be off")


def main():
    arguments = parse_arguments()
    if arguments.list:
        for name in all_works():
            if arguments.only.search(name):
                print(name, ",".join(r.subject for group in GROUPS for r in group if name in r.figures))
        return 0
    if arguments.check:
        return 0

    programs = dict(arguments.program)
    groups = list(selected(GROUPS, arguments.only, programs))
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    watch = OthersWatch()
    figures, failures = measure(groups, programs, rounds, arguments.quick)
    watch.warn()
    entries = [over_rounds(f) for f in figures.values()]
    if not entries:
        note("bench/run: nothing could be measured")
        return 1

    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(entries, out, indent=1)
            out.write("\n")
    print(report(entries, as_text))
    if arguments.markdown:
        with open(arguments.markdown, "w") as out:
            print(report(entries, as_markdown), file=out)
    for work, subject in failures:
        note(f"bench/run: {work} of {subject} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
