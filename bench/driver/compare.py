"""Shows what got slower or faster between two files of bench/run --json.

A figure counts as changed only if it is past the tolerance *and* the rounds' extremes of the two runs do not overlap:
then even the best round of the one was worse than the worst of the other. Where both runs have one round only, the
tolerance alone decides.

Exit status: 0 nothing got slower, 1 something did, 2 the arguments or a file are of no use.
"""

import argparse
import re
import sys
from typing import NamedTuple

from figures import BadFile, amount, better_by, by_work_and_subject, load, overlap, spread
from report import text_table
from workloads import all_figures


class Change(NamedTuple):
    work: str
    old: dict
    new: dict
    percent: float   # above 0: worse; None: no ratio can be told
    verdict: str     # slower, faster, same, "not comparable"


def change_of(old, new, tolerance):
    """The Change from one entry to the other; tolerance is in per cent."""
    if old["unit"] != new["unit"] or old.get("procs") != new.get("procs"):
        return Change(old["work"], old, new, None, "not comparable")
    times_better = better_by(new["value"], old["value"], old["unit"])
    if times_better is None:
        same = old["value"] == new["value"] or overlap(old, new)
        return Change(old["work"], old, new, None, "same" if same else "not comparable")
    # A time of 120 after 100 is 20 % worse, and so is a rate of 100 after 120.
    percent = (1 / times_better - 1) * 100
    verdict = "same"
    if not overlap(old, new):
        if percent > tolerance:
            verdict = "slower"
        elif (times_better - 1) * 100 > tolerance:
            verdict = "faster"
    return Change(old["work"], old, new, percent, verdict)


def changes(old_run, new_run, subject, only, tolerance):
    """Changes of the workloads that both have, in the order of bench/run, and the names that only one of them has."""
    def of_subject(run):
        return {work: entry for (work, s), entry in by_work_and_subject(run["figures"]).items()
                if s == subject and (only is None or only.search(work))}

    old, new = of_subject(old_run), of_subject(new_run)
    order = {name: place for place, name in enumerate(all_figures())}
    both = sorted(old.keys() & new.keys(), key=lambda name: (order.get(name, len(order)), name))
    return ([change_of(old[name], new[name], tolerance) for name in both],
            sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys()))


def warnings_about(old_run, new_run):
    """What makes the two runs hard to compare."""
    result = []
    if old_run.get("quick") != new_run.get("quick"):
        result.append("one is a quick run and the other is not: they do not do the same amount of work")
    old, new = old_run.get("machine", {}), new_run.get("machine", {})
    for key in sorted((old.keys() | new.keys()) - {"versions", "memory_gib"}):
        if old.get(key) != new.get(key):
            result.append(f"different machines: {key} is {old.get(key, 'not told')!r} in the one, "
                          f"{new.get(key, 'not told')!r} in the other")
    return result


def percent_text(change):
    if change.percent is None:
        return ""
    return f"{change.percent:+.1f} %"


def print_table(all_changes):
    rows = [(c.work, amount(c.old["value"], c.old["unit"]), spread(c.old), amount(c.new["value"], c.new["unit"]),
             spread(c.new), percent_text(c), "" if c.verdict == "same" else c.verdict) for c in all_changes]
    print(text_table(("workload", "old", "spread", "new", "spread", "change", ""), rows))


def tolerance_value(text):
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no percentage of 0 or more")
    return value


def regex(text):
    try:
        return re.compile(text)
    except re.error as e:
        raise argparse.ArgumentTypeError(f"{text}: no regular expression: {e}")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--tolerance", type=tolerance_value, default=10.0, metavar="PERCENT", help="default: 10")
    parser.add_argument("--only", type=regex, metavar="REGEX", help="the workloads whose names contain a match")
    parser.add_argument("--subject", default="handoff", metavar="NAME", help="whose figures; default: handoff")
    return parser.parse_args(arguments)


def fail(text):
    print(f"bench/compare: {text}", file=sys.stderr)
    return 2


def main():
    arguments = parse_arguments()
    try:
        old_run, new_run = load(arguments.old), load(arguments.new)
    except BadFile as e:
        return fail(e)
    for path, run in ((arguments.old, old_run), (arguments.new, new_run)):
        subjects = sorted({entry["subject"] for entry in run["figures"]})
        if arguments.subject not in subjects:
            there = ", ".join(subjects) or "nobody"
            return fail(f"{path} has no figures of {arguments.subject}; it has those of {there}")
    compared, only_old, only_new = changes(old_run, new_run, arguments.subject, arguments.only, arguments.tolerance)
    for name in only_old:
        print(f"bench/compare: {name}: only in {arguments.old}", file=sys.stderr)
    for name in only_new:
        print(f"bench/compare: {name}: only in {arguments.new}", file=sys.stderr)
    if not compared:
        return fail("the files have no workload in common" + (f" that --only {arguments.only.pattern} matches"
                                                          if arguments.only else ""))
    for warning in warnings_about(old_run, new_run):
        print(f"bench/compare: {warning}", file=sys.stderr)
    print_table(compared)
    slower = [c.work for c in compared if c.verdict == "slower"]
    faster = [c.work for c in compared if c.verdict == "faster"]
    same = len(compared) - len(slower) - len(faster)
    print(f"\n{arguments.subject}: {len(slower)} slower, {len(faster)} faster, "
          f"{same} the same within {arguments.tolerance:g} % or the rounds' spread")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
