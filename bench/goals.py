"""Tells which goals a run meets."""

from typing import NamedTuple

from figures import amount, better_by
from works import HIGHER_IS_BETTER, counterpart, goal_of


class Verdict(NamedTuple):
    name: str
    goal: str
    figure: str
    compared_with: str
    verdict: str   # met, missed, "missed, though not in every round", "not measured"


def judge(is_met, best_case):
    if is_met:
        return "met"
    return "missed, though not in every round" if best_case else "missed"


def against_limit(entry, most):
    return Verdict(entry["work"], f"≤ {amount(most, entry['unit'])}", amount(entry["value"], entry["unit"]), "",
                   judge(entry["value"] <= most, entry["min"] <= most))


def theirs_text(name, other):
    return f"{name}: {amount(other['value'], other['unit'])}"


def against(entry, other, name, least_ratio, goal):
    """Whether the entry is least_ratio times better than the other, which may be missing."""
    value = amount(entry["value"], entry["unit"])
    if other is None:
        return Verdict(entry["work"], goal, value, f"no {name}", "not measured")
    if entry.get("capped"):   # by the work's own patience
        return Verdict(entry["work"], goal, f"not within {value}", theirs_text(name, other), "not measured")
    ratio = better_by(entry["value"], other["value"], entry["unit"])
    theirs = theirs_text(name, other)
    if ratio is None:   # a difference that is not above 0: there is only the better and the worse
        better = (entry["value"] >= other["value"] if entry["unit"] in HIGHER_IS_BETTER
                  else entry["value"] <= other["value"])
        return Verdict(entry["work"], goal, value, theirs, judge(better, False))
    best = max(better_by(a, b, entry["unit"]) or 0
               for a in (entry["min"], entry["max"]) for b in (other["min"], other["max"]))
    verdict = judge(ratio >= least_ratio, best >= least_ratio)
    return Verdict(entry["work"], goal, value, f"{theirs}, {ratio:.2f}x", verdict)


def verdicts(found, name):
    """The verdicts on handoff's figure of that name. `found` has entries by (work, subject)."""
    entry, goal = found.get((name, "handoff")), goal_of(name)
    if entry is None:
        return []
    result = []
    if goal.most is not None:
        result.append(against_limit(entry, goal.most))
    go = found.get((counterpart(name, "go"), "go"))
    # That there is no Go to compare with only tells something where the goal is more than the common one.
    if goal.times_go is not None and (go is not None or goal.times_go > 1):
        result.append(against(entry, go, "go", goal.times_go, f"≥ {goal.times_go:g}x go"))
    if goal.most_std_mutex is not None:
        std_mutex = found.get((name, "std_mutex"))
        result.append(against(entry, std_mutex, "std_mutex", 1 / goal.most_std_mutex,
                              f"≤ {goal.most_std_mutex:g}x std_mutex"))
    return result
