"""What the tests of the benchmarks' driver share: its modules, hand-made figures, programs that only print."""

import json
import os
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BENCH = os.path.join(ROOT, "bench")
DRIVER = os.path.join(BENCH, "driver")
sys.path.insert(0, DRIVER)


def entry(work, subject="handoff", value=100.0, low=None, high=None, unit="ns", rounds=5, **further):
    """A figure over the rounds, whose spread is 1 % to both sides unless it is told."""
    low = value * 0.99 if low is None else low
    high = value * 1.01 if high is None else high
    return {"work": work, "subject": subject, "procs": 1, "value": value, "unit": unit, "rounds": rounds, "min": low,
            "max": high, **further}


def run_of(*entries, **further):
    """A run as bench/run --json writes it."""
    return {"date": "2026-11-25T20:00:00+00:00", "quick": False, "rounds": 5, "machine": {"cpu": "one", "cpus": 2},
            "left_out": {}, "not_there": [], "failures": [], "notes": [], "figures": list(entries)} | further


def found(*entries):
    return {(e["work"], e["subject"]): e for e in entries}


def write_json(directory, name, content):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(content if isinstance(content, str) else json.dumps(content))
    return path


def write_program(directory, name, body):
    """A program for the shell."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"#!/bin/sh\n{body}\n")
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return path


def prints(work, subject, value, unit="ns", **further):
    """The shell command that prints a figure as a benchmark program does."""
    figure = {"work": work, "subject": subject, "procs": 1, "value": value, "unit": unit, **further}
    return f"echo '{json.dumps(figure)}'"


def call(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
