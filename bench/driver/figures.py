"""The figures of a run as bench/run keeps them: one entry per workload and subject over all rounds, and the JSON file
that holds them beside the machine's description. bench/compare reads such files.

    {"date": "2026-11-25T19:45:00+00:00", "quick": false, "rounds": 5, "machine": {...},
     "left_out": {"java": "why"}, "failures": ["..."], "notes": ["..."],
     "figures": [{"work", "subject", "procs", "value", "unit", "rounds", "min", "max", ...}, ...]}

value is the median over the rounds, min and max their extremes. Of what a process said of its own samples, sample_min
and sample_max are the extremes over all rounds; any further key (p99, threads) is the median over the rounds.
"""

import json
import statistics

from workloads import HIGHER_IS_BETTER

REQUIRED = {"work": str, "subject": str, "unit": str, "value": (int, float), "min": (int, float), "max": (int, float),
            "rounds": int}


class BadFile(Exception):
    """Tells which file is no run's figures, and why."""


def over_rounds(figures):
    """The entry for what each round's process printed of one workload and subject."""
    values = [f["value"] for f in figures]
    entry = {key: figures[0][key] for key in ("work", "subject", "procs")}
    entry["value"] = statistics.median(values)
    entry["unit"] = figures[0]["unit"]
    entry.update(rounds=len(values), min=min(values), max=max(values))
    for key in dict.fromkeys(key for f in figures for key in f):
        said = [f[key] for f in figures if key in f]
        if key in ("min", "max"):
            entry["sample_" + key] = (min if key == "min" else max)(said)
        elif key not in entry:
            entry[key] = said[0] if isinstance(said[0], str) else statistics.median(said)
    return entry


def by_work_and_subject(entries):
    return {(e["work"], e["subject"]): e for e in entries}


def better_by(value, other, unit):
    """How many times better `value` is than `other`: above 1 it is better. None where no ratio makes sense."""
    if value is None or other is None or value <= 0 or other <= 0:
        return None
    return value / other if unit in HIGHER_IS_BETTER else other / value


def overlap(entry, other):
    """Whether the rounds' extremes of the two have a value in common: their difference may be chance."""
    return entry["min"] <= other["max"] and other["min"] <= entry["max"]


def amount(value, unit):
    """The value with a unit that suits its size."""
    for small, large in (("ns", "µs"), ("µs", "ms"), ("ms", "s")):
        if unit == small and abs(value) >= (10_000 if small == "ms" else 1000):
            value, unit = value / 1000, large
    return f"{plain(value)} {unit}".strip()   # a number has no unit


def plain(value):
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(entry):
    """The rounds' extremes, in the unit of the value if that is possible in a word."""
    if entry["rounds"] == 1:
        return "1 round"
    low, high = amount(entry["min"], entry["unit"]), amount(entry["max"], entry["unit"])
    if low.split()[1] == high.split()[1]:
        low = low.split()[0]
    return f"{low}–{high}"


def save(path, run):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(run, out, indent=1, ensure_ascii=False)
        out.write("\n")


def load(path):
    """The run in a file. Raises BadFile."""
    try:
        with open(path, encoding="utf-8") as source:
            run = json.load(source)
    except OSError as e:
        raise BadFile(f"{path}: {e.strerror}")
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise BadFile(f"{path} is no JSON: {e}")
    if not isinstance(run, dict) or not isinstance(run.get("figures"), list):
        raise BadFile(f'{path} is no file of bench/run --json: it has no list "figures"')
    if not isinstance(run.get("machine", {}), dict):
        raise BadFile(f'{path}: "machine" is no object')
    seen = set()
    for number, entry in enumerate(run["figures"], 1):
        check_entry(path, number, entry)
        key = entry["work"], entry["subject"]
        if key in seen:
            raise BadFile(f"{path}: {key[0]} of {key[1]} is there twice")
        seen.add(key)
    return run


def check_entry(path, number, entry):
    if not isinstance(entry, dict):
        raise BadFile(f"{path}: figure {number} is no object")
    for key, kind in REQUIRED.items():
        if key not in entry:
            raise BadFile(f'{path}: figure {number} ({entry.get("work", "of no workload")}) has no "{key}"')
        if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
            raise BadFile(f'{path}: figure {number} ({entry["work"]}): "{key}" is {entry[key]!r}')
