"""Tells which goals a run meets."""

from typing import NamedTuple

from figures import amount, better_by
from workloads import BEST_PEER, HIGHER_IS_BETTER, PEERS, Rival, counterpart, goal_of, unit_of


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


# ---- Against a rival -----------------------------------------------------------------------------------------------


def goal_text(entry, rival):
    """Up to so many times what the rival takes, or at least so many times better, or so many times what it has."""
    key = "" if rival.key == "value" else f"{rival.key} "
    if rival.times < 1 and unit_of(entry, rival.key) not in HIGHER_IS_BETTER:
        return f"{key}≤ {1 / rival.times:g}x {rival.subject}"
    return f"{key}≥ {rival.times:g}x {rival.subject}"


def entry_of(found, name, subject, key):
    """What the subject has to compare handoff's figure `name` with; None if it hasn't, or hasn't that key."""
    entry = found.get((counterpart(name, subject), subject))
    return entry if entry and key in entry else None


def best_peer(found, name, key):
    """The peer that has the best of it, None if no peer has it."""
    there = [(peer, entry) for peer in PEERS if (entry := entry_of(found, name, peer, key))]
    if not there:
        return None
    higher = unit_of(there[0][1], key) in HIGHER_IS_BETTER
    return (max if higher else min)(there, key=lambda peer_and_entry: peer_and_entry[1][key])[0]


def extremes(entry, key):
    """The values of a key that the rounds came to; of what is not the value, only the median is known."""
    return (entry["min"], entry["max"]) if key == "value" else (entry[key],)


def judge_values(entry, other, key, least_ratio):
    """The verdict on two entries that have the key, and the ratio, None where none makes sense."""
    unit = unit_of(entry, key)
    ratio = better_by(entry[key], other[key], unit)
    if ratio is None:   # a difference that is not above 0: there is only the better and the worse
        better = entry[key] >= other[key] if unit in HIGHER_IS_BETTER else entry[key] <= other[key]
        return judge(better, False), None
    best = max(better_by(a, b, unit) or 0 for a in extremes(entry, key) for b in extremes(other, key))
    return judge(ratio >= least_ratio, best >= least_ratio), ratio


def against(found, entry, rival):
    """Whether handoff's entry comes as far against the rival as is asked; the rival may be missing."""
    name, key = entry["work"], rival.key
    goal = goal_text(entry, rival)
    if key not in entry:
        return Verdict(name, goal, f"no {key}", "", "not measured")
    value = amount(entry[key], unit_of(entry, key))
    subject = best_peer(found, name, key) if rival.subject == BEST_PEER else rival.subject
    other = entry_of(found, name, subject, key)
    if other is None:
        missing = "no peer" if subject is None else f"no {subject}" if key == "value" else f"no {key} of {subject}"
        return Verdict(name, goal, value, missing, "not measured")
    theirs = f"{subject}: {amount(other[key], unit_of(other, key))}"
    if entry.get("capped"):   # by the workload's own patience
        return Verdict(name, goal, f"not within {value}", theirs, "not measured")
    verdict, ratio = judge_values(entry, other, key, rival.times)
    return Verdict(name, goal, value, theirs if ratio is None else f"{theirs}, {ratio:.2f}x", verdict)


def verdicts(found, name):
    """The verdicts on handoff's figure of that name. `found` has entries by (work, subject)."""
    entry, goal = found.get((name, "handoff")), goal_of(name)
    if entry is None:
        return []
    result = []
    if goal.most is not None:
        result.append(against_limit(entry, goal.most))
    # That there is no Go to compare with only tells something where the goal is more than the common one.
    if goal.times_go is not None and (entry_of(found, name, "go", "value") or goal.times_go > 1):
        result.append(against(found, entry, Rival("go", goal.times_go)))
    return result + [against(found, entry, rival) for rival in goal.rivals]
