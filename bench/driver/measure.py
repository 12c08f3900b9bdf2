"""Runs the benchmark programs in turns, and hands their figures to the report. bench/run builds them and calls this."""

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time

import figures
import machine
import report
from workloads import COUNTERPARTS, IN_HANDOFF_BENCH, MOST_PARKED, PARKED, QUICK_PARKED, SUBJECTS, all_figures, turns

ROUNDS, QUICK_ROUNDS = 5, 3
# Seconds after which no further round begins of anything, counted from the start of bench/run: with what is under way
# and the report a whole run stays under 40 minutes, a quick one under 3.
BUDGET, QUICK_BUDGET = 37 * 60, 165
# But so long it may measure, however long the building took.
LEAST_BUDGET, LEAST_QUICK_BUDGET = 30 * 60, 75
TIMEOUT = 120          # seconds, for one process
PARKED_BYTES = 6_500   # to have at hand for each goroutine
SMALL = 10_000         # so many goroutines always fit

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
    if not any(regex.search(name) for name in all_figures()):
        raise argparse.ArgumentTypeError(f"{text} matches no workload; they are {', '.join(all_figures())}")
    return regex


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def pair(text):
    subject, equals, value = text.partition("=")
    if not equals or subject not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"{text} is no SUBJECT=VALUE")
    return subject, value


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(prog="bench/run", add_help=False, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=positive)
    parser.add_argument("--only", type=selecting_regex)
    parser.add_argument("--json", type=writable_file)
    parser.add_argument("--markdown", type=writable_file)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true", help="only look at the arguments")
    parser.add_argument("--root", default=".", help="the repository, where reports go")
    parser.add_argument("--began", type=float, default=time.time(), help="when bench/run began, in seconds")
    parser.add_argument("--flags", default="", help="what handoff and the C++ peers were compiled with")
    parser.add_argument("--program", type=pair, action="append", default=[], help="SUBJECT=PATH")
    parser.add_argument("--left-out", type=pair, action="append", default=[], help="SUBJECT=REASON")
    parser.usage = "see bench/run --help"
    return parser.parse_args(arguments)


def wanted_runs(all_turns, only, subjects):
    """The turns with the Runs that `only` asks for, and their counterparts."""
    def is_wanted(run):
        names = set(run.figures)
        names |= {ours for (ours, peer), theirs in COUNTERPARTS.items()
                  if peer == run.subject and theirs in run.figures}
        return run.subject in subjects and (only is None or any(only.search(name) for name in names))

    chosen = ([run for run in turn if is_wanted(run)] for turn in all_turns)
    return [turn for turn in chosen if turn]


def print_list(only):
    for turn in turns():
        for name in turn[0].figures:
            if only is None or only.search(name):
                print(name, ",".join(run.subject for run in turn))


# ---- What is under way ---------------------------------------------------------------------------------------------


def note(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


def minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Progress:
    """One line that is overwritten on a terminal; elsewhere a line now and then."""

    EVERY = 15   # seconds, where it is no terminal

    def __init__(self, rounds):
        self.live = sys.stderr.isatty()
        self.rounds = rounds
        self.start = time.monotonic()
        self.last = -self.EVERY

    def show(self, run, round_number, remaining):
        now = time.monotonic()
        if not self.live and now - self.last < self.EVERY:
            return
        self.last = now
        left = "" if remaining is None else f", about {minutes(remaining)} left"
        name = run.figures[0]
        text = f"round {round_number} of {self.rounds}: {name}, {run.subject} … {minutes(now - self.start)} gone{left}"
        if self.live:
            note(f"\r\033[K{text}", end="")
        else:
            note(text)

    def clear(self):
        if self.live:
            note("\r\033[K", end="")


# ---- Measuring -----------------------------------------------------------------------------------------------------


class NoSuchWorkload(Exception):
    """The program does not have the workload."""


def available_bytes():
    value = machine.proc_value("/proc/meminfo", "MemAvailable")
    return int(value.split()[0]) * 1024 if value else 0


def parked_goroutines(quick):
    """How many for parked_memory, and why not as many as usual."""
    wanted = QUICK_PARKED if quick else PARKED
    fit = available_bytes() // PARKED_BYTES
    if fit >= wanted:
        return wanted, None
    fit = max(1000, fit // 1000 * 1000)
    return fit, f"memory for {wanted:,} parked goroutines was not there; {fit:,} were taken"


def command_of(run, programs, quick, parked):
    command = [programs[run.subject], "--work", run.work]
    if quick:
        command.append("--quick")
    goroutines = min(parked, MOST_PARKED.get(run.subject, parked)) if run.work == "parked_memory" else run.goroutines
    if goroutines is not None:
        command += ["--goroutines", str(goroutines)]
    if run.subject in IN_HANDOFF_BENCH:
        command += ["--subject", run.subject]
    elif run.client and "handoff" in programs:
        command += ["--client", programs["handoff"]]
    return command


def output_of(command):
    """What the process prints. Raises NoSuchWorkload, or RuntimeError with the reason if it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"did not end within {TIMEOUT} s")
    said = f": {done.stderr.strip()}" if done.stderr.strip() else ""
    if done.returncode < 0:
        raise RuntimeError(f"died of {signal.Signals(-done.returncode).name}{said}")
    if done.returncode == 2:   # all programs end so when they don't know the workload
        raise NoSuchWorkload(f"ended with status 2{said}")
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}{said}")
    return done.stdout


def figures_in(output, run):
    """The figures of a process's output, named as in run.figures. Raises RuntimeError if they are not what they should
    be."""
    try:
        found = [json.loads(line) for line in output.splitlines()]
    except json.JSONDecodeError:
        raise RuntimeError(f"printed no JSON: {output.strip()[:200]}")
    suffix = "" if run.goroutines is None else f"_{run.goroutines}"
    try:
        for f in found:
            f["work"] += suffix
            if isinstance(f["value"], bool) or not isinstance(f["value"], (int, float)):
                raise RuntimeError(f"printed the value {f['value']!r} for {f['work']}")
            f["procs"], f["unit"]   # raises if one is not there
    except (KeyError, TypeError) as e:
        raise RuntimeError(f"printed no figure: {output.strip()[:200]} ({e})")
    if sorted(f["work"] for f in found) != sorted(run.figures):
        raise RuntimeError(f"printed figures of {[f['work'] for f in found]} and not of {list(run.figures)}")
    return [f | {"subject": run.subject} for f in found]


class Measurement:
    """Runs all turns for some rounds, and collects what they say."""

    def __init__(self, all_turns, programs, quick, deadline=None):
        self.turns, self.programs, self.quick, self.deadline = all_turns, programs, quick, deadline
        self.printed = {}       # lists of what each round printed, by (work, subject)
        self.failures = []      # texts
        self.not_there = []     # (figure, subject): the program does not know the workload
        self.notes = []
        self.out = set()        # Runs that are not tried again
        self.seconds = {}       # that the last process of a Run took
        self.parked = 0

    def measure(self, rounds):
        self.parked, why = parked_goroutines(self.quick)
        if why and any(run.work == "parked_memory" for turn in self.turns for run in turn):
            self.notes.append(why)
        self.leave_out_what_does_not_fit()
        progress = Progress(rounds)
        for n in range(1, rounds + 1):
            plan = self.turns if n == 1 else self.affordable()
            for i, turn in enumerate(plan):
                if n > 1 and self.deadline is not None and time.time() > self.deadline:
                    break   # what came before took longer than the last time
                for run in turn:
                    if run not in self.out:
                        progress.show(run, n, self.remaining(plan[i:], rounds - n))
                        self.once(run, progress)
        progress.clear()

    def leave_out_what_does_not_fit(self):
        most = max(SMALL, available_bytes() // PARKED_BYTES)
        sizes = sorted({run.goroutines for turn in self.turns for run in turn if (run.goroutines or 0) > most})
        for size in sizes:
            self.notes.append(f"memory for {size:,} goroutines was not there; they are left out")
        self.turns = [turn for turn in self.turns if (turn[0].goroutines or 0) <= most]

    def once(self, run, progress):
        start = time.monotonic()
        try:
            output = output_of(command_of(run, self.programs, self.quick, self.parked))
            for f in figures_in(output, run):
                self.printed.setdefault((f["work"], run.subject), []).append(f)
        except NoSuchWorkload as e:
            if run.subject == "handoff":
                self.fail(run, e, progress)
            else:
                self.out.add(run)
                self.not_there.append((run.figures[0], run.subject))
        except (RuntimeError, OSError) as e:
            self.fail(run, e, progress)
        self.seconds[run] = time.monotonic() - start

    def fail(self, run, error, progress):
        progress.clear()
        text = f"{run.figures[0]} of {run.subject}: {error}"
        note(f"bench/run: {text}")
        self.failures.append(text)
        self.out.add(run)
        for name in run.figures:
            self.printed.pop((name, run.subject), None)

    def cost(self, turn):
        return sum(self.seconds.get(run, 0) for run in turn if run not in self.out)

    def affordable(self):
        """The turns for one more round: the shorter ones first, as long as the time suffices."""
        if self.deadline is None:
            return self.turns
        left, chosen = self.deadline - time.time(), []
        for turn in sorted(self.turns, key=self.cost):
            left -= self.cost(turn)
            if left < 0:
                break
            chosen.append(turn)
        return [turn for turn in self.turns if turn in chosen]

    def remaining(self, rest_of_plan, further_rounds):
        """Seconds, estimated from what has run so far; None as long as that is too little to tell."""
        if len(self.seconds) < 10:
            return None
        mean = sum(self.seconds.values()) / len(self.seconds)

        def expected(all_turns):
            return sum(self.seconds.get(run, mean) for turn in all_turns for run in turn if run not in self.out)

        total = expected(rest_of_plan) + further_rounds * expected(self.turns)
        if self.deadline is None:
            return total
        return max(expected(rest_of_plan), min(total, self.deadline - time.time()))


class OthersWatch:
    """Tells how much CPU time processes other than ours have used since it was made."""

    def __init__(self):
        self.wall, self.busy, self.ours = time.monotonic(), self.busy_seconds(), self.our_seconds()

    @staticmethod
    def busy_seconds():
        with open("/proc/stat", encoding="utf-8") as stat:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def our_seconds():
        return sum(os.times()[:4])

    def warning(self):
        others = self.busy_seconds() - self.busy - (self.our_seconds() - self.ours)
        share = others / max(time.monotonic() - self.wall, 0.01)
        return f"other processes used {share:.0%} of a CPU meanwhile; figures may be off" if share > 0.1 else None


# ---- All of it -----------------------------------------------------------------------------------------------------


def deadline_of(arguments):
    if arguments.rounds:
        return None
    whole, least = (QUICK_BUDGET, LEAST_QUICK_BUDGET) if arguments.quick else (BUDGET, LEAST_BUDGET)
    return max(arguments.began + whole, time.time() + least)


def measured(arguments):
    """The run, as figures.py describes it."""
    programs = dict(arguments.program)
    chosen = wanted_runs(turns(arguments.quick), arguments.only, programs)
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    measurement = Measurement(chosen, programs, arguments.quick, deadline_of(arguments))
    watch = OthersWatch()
    measurement.measure(rounds)
    warning = watch.warning()
    if warning:
        note(f"bench/run: {warning}")
        measurement.notes.append(warning)
    entries = [figures.over_rounds(f) for f in measurement.printed.values()]
    described = machine.describe(flags=arguments.flags.strip())
    described["versions"] = machine.versions(entries)
    return {
        "date": date,
        "quick": arguments.quick,
        "rounds": rounds,
        "machine": described,
        "left_out": dict(arguments.left_out),
        "not_there": measurement.not_there,
        "failures": measurement.failures,
        "notes": measurement.notes,
        "figures": entries,
    }


def report_path(arguments):
    """Where the report goes: only a whole run of everything is fit to be the documentation."""
    if arguments.markdown:
        return arguments.markdown
    whole = arguments.only is None and not arguments.quick
    directory = "docs" if whole else os.path.join("build-bench", "report")
    path = os.path.join(arguments.root, directory, "benchmarks.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def main():
    arguments = parse_arguments()
    if arguments.list:
        print_list(arguments.only)
        return 0
    if arguments.check:
        return 0
    run = measured(arguments)
    if not run["figures"]:
        note("bench/run: nothing could be measured")
        return 1
    if arguments.json:
        figures.save(arguments.json, run)
    print(report.as_text(run))
    path = report_path(arguments)
    for warning in report.write(run, path):
        note(f"bench/run: {warning}")
    note(f"bench/run: the report is in {os.path.relpath(path)}")
    for text in run["failures"]:
        note(f"bench/run: failed: {text}")
    return 1 if run["failures"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        note("")
        sys.exit(130)
