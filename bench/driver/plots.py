"""Draws the plots of a report with gnuplot, as SVG."""

import os
import subprocess
from typing import NamedTuple

from figures import by_work_and_subject
from workloads import SIZES, SUBJECTS, sized

# Colours that also those tell apart who see few (Okabe and Ito's), the same for a subject in each plot.
COLOURS = {
    "handoff": "#0072B2", "go": "#D55E00", "tokio": "#009E73", "java": "#CC79A7", "boost_fiber": "#E69F00",
    "asio": "#56B4E9", "thread_pool": "#999999", "std_thread": "#000000",
}

PROLOGUE = """
set terminal svg size 860,{height} font "sans-serif,13" background "white" enhanced
set border 3
set bmargin 4
set xtics nomirror
set ytics nomirror
set grid ytics lc rgb "#cccccc"
set key outside right top noenhanced
set title "{title}" noenhanced
"""


class Picture(NamedTuple):
    theme: str
    title: str
    link: str   # relative to the document


class Plot(NamedTuple):
    theme: str
    file: str
    title: str
    script: str


def block(name, rows):
    """A gnuplot data block; words with blanks are quoted."""
    def word(cell):
        return f'"{cell}"' if isinstance(cell, str) else f"{cell:.6g}"

    return "\n".join([f"${name} << END", *(" ".join(map(word, row)) for row in rows), "END\n"])


# ---- From a call that blocks to the next goroutine -----------------------------------------------------------------

STATES = (("cold", "#D55E00"), ("parked", "#0072B2"), ("warm", "#009E73"))
WAYS = (("handoff", "sysmon"), ("handoff", "adaptive"), ("handoff", "immediate"), ("go", "sysmon"),
        ("tokio", "immediate"))
UNGUARDED = "handoff_unguarded"


def latency_plot(found):
    """Points at the median with a line from the smallest sample to p99; a place a way, a colour a state."""
    ways = [(subject, way) for subject, way in WAYS
            if any((f"handoff_{state}_{way}", subject) in found for state, _ in STATES)]
    tics = [f'"{subject}\\n{way}" {place}' for place, (subject, way) in enumerate(ways)]
    blocks, parts = [], []

    def series(name, title, colour, rows):
        blocks.append(block(name, rows))
        parts.append(f'${name} using 1:2:3:4 with yerrorbars pt 7 ps 0.9 lw 2 lc rgb "{colour}" title "{title}"')

    def row(place, entry):
        value = entry["value"]
        return place, value / 1e3, entry.get("sample_min", value) / 1e3, entry.get("p99", value) / 1e3

    for number, (state, colour) in enumerate(STATES):
        rows = [row(place + (number - 1) * 0.18, found[f"handoff_{state}_{way}", subject])
                for place, (subject, way) in enumerate(ways) if (f"handoff_{state}_{way}", subject) in found]
        if rows:
            series(state, state, colour, rows)
    if not parts:
        return None
    if (UNGUARDED, "handoff") in found:
        tics.append(f'"handoff\\nunguarded" {len(ways)}')
        series("unguarded", "no guard", "#666666", [row(len(ways), found[UNGUARDED, "handoff"])])
    title = "From a blocking call to the next goroutine: median, least and p99"
    script = "\n".join([*blocks, "set logscale y", 'set ylabel "µs"', f"set xtics ({', '.join(tics)})",
                        f"set xrange [-0.6:{len(tics) - 0.4:.1f}]", f"plot {', '.join(parts)}"])
    return Plot("blocking", "handoff-latency", title, script)


# ---- Storms --------------------------------------------------------------------------------------------------------

STORMS = (("blocking_storm", "1,000 × 1 ms"), ("storm_10000x100us", "10,000 × 100 µs"),
          ("storm_100x50ms", "100 × 50 ms"))


def storm_plot(found):
    """Bars in groups, a group for each storm, a bar for each subject."""
    storms = [(name, label) for name, label in STORMS if any((name, s) in found for s in COLOURS)]
    subjects = [s for s in COLOURS if any((name, s) in found for name, _ in storms)]
    if not storms:
        return None
    width = 0.8 / len(subjects)
    blocks, parts = [], []
    for number, subject in enumerate(subjects):
        rows = [(place + (number + 0.5) * width - 0.4, found[name, subject]["value"], width * 0.9)
                for place, (name, _) in enumerate(storms) if (name, subject) in found]
        blocks.append(block(subject, rows))
        parts.append(f'${subject} using 1:2:3 with boxes fill solid noborder lc rgb "{COLOURS[subject]}" '
                     f'title "{subject}"')
    values = [found[name, s]["value"] for name, _ in storms for s in subjects if (name, s) in found]
    tics = ", ".join(f'"{label}" {place}' for place, (_, label) in enumerate(storms))
    script = "\n".join([*blocks, "set logscale y", 'set ylabel "ms until all are joined"', f"set xtics ({tics})",
                        f"set xrange [-0.6:{len(storms) - 0.4:.1f}]",
                        f"set yrange [{decade_below(min(values))}:*]", f"plot {', '.join(parts)}"])
    return Plot("blocking", "storms", "Storms of blocking calls, in a fresh process, 2 Ps", script)


def decade_below(value):
    """A power of ten at which bars on a logarithmic scale can begin."""
    decade = 1.0
    while decade > value / 2:
        decade /= 10
    while decade * 10 <= value / 2:
        decade *= 10
    return f"{decade:g}"


# ---- Cost as work grows --------------------------------------------------------------------------------------------


def growth_plot(found, workload, title):
    """A line for each subject over the number of goroutines, both scales logarithmic."""
    blocks, parts = [], []
    for subject in COLOURS:
        rows = [(size, found[sized(workload, size), subject]["value"]) for size in SIZES
                if found.get((sized(workload, size), subject), {}).get("value", 0) > 0]
        if rows:
            blocks.append(block(subject, rows))
            parts.append(f'${subject} with linespoints pt 7 ps 0.6 lw {3 if subject == "handoff" else 1.5} '
                         f'lc rgb "{COLOURS[subject]}" title "{subject}"')
    if not parts:
        return None
    script = "\n".join([*blocks, "set logscale xy", 'set format x "10^{%L}"', 'set xlabel "goroutines"',
                        'set ylabel "ns per goroutine"', f"plot {', '.join(parts)}"])
    return Plot("growth", workload.replace("_", "-"), title, script)


def all_plots(run):
    found = by_work_and_subject(run["figures"])
    plots = [
        latency_plot(found),
        storm_plot(found),
        growth_plot(found, "scale_parked", "Spawn, park, wake, end: cost of a goroutine as their number grows"),
        growth_plot(found, "scale_ready", "Spawn, yield three times, end: cost of a goroutine as their number grows"),
        growth_plot(found, "scale_sleeping", "Spawn, sleep, end: cost of a goroutine as their number grows"),
    ]
    return [plot for plot in plots if plot]


def draw(run, directory):
    """Draws what there are figures for. Returns Pictures and warnings."""
    pictures, warnings = [], []
    for plot in all_plots(run):
        path = os.path.join(directory, plot.file + ".svg")
        script = PROLOGUE.format(title=plot.title, height=440) + f"set output '{path}'\n{plot.script}\n"
        done = subprocess.run(["gnuplot", "-"], input=script, stderr=subprocess.PIPE, text=True, timeout=60)
        if done.returncode:
            warnings.append(f"gnuplot could not draw {plot.file}.svg: {done.stderr.strip()[:300]}")
            if os.path.exists(path):
                os.remove(path)
        else:
            pictures.append(Picture(plot.theme, plot.title, f"{os.path.basename(directory)}/{plot.file}.svg"))
    return pictures, warnings
