"""Puts the figures of a run into tables: the one that bench/run prints, and docs/benchmarks.md with its plots."""

import os
import re
import shutil

import goals
import plots
from figures import amount, better_by, by_work_and_subject, overlap, plain, save, spread
from workloads import (ALL_WORKLOADS, DETAILS, FLOORS, MOST_GOROUTINES, NOT_QUICK, NOT_QUICK_WORKLOADS, PEERS, SIZES,
                       SUBJECTS, THEMES, all_figures, closed_echo_workloads, counterpart, echo_workloads, sized, unit_of)

NOTHING = "–"

# ---- Tables --------------------------------------------------------------------------------------------------------


def markdown_table(head, rows, left=1, left_at_end=0):
    """The first `left` columns and the last `left_at_end` are words, the others figures."""
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "---|" * left + "---:|" * (len(head) - left - left_at_end) + "---|" * left_at_end
    return "\n".join([line(head), rule, *map(line, rows)])


def text_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        return "   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def ratio_text(ratio):
    if ratio is None:
        return NOTHING
    if ratio >= 2:
        return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.1f}x"
    return f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.1g}x"


def value_text(entry, key="value"):
    return amount(entry[key], unit_of(entry, key)) if entry and key in entry else NOTHING


def ratio_to_ours(found, name, subject):
    """How many times better handoff is than `subject` in figure `name`; None for handoff itself."""
    ours, theirs = found.get((name, "handoff")), found.get((counterpart(name, subject), subject))
    if subject == "handoff" or not ours or not theirs or ours.get("capped"):
        return None
    return better_by(ours["value"], theirs["value"], ours["unit"])


def as_text(run):
    """All figures, a line each."""
    found = by_work_and_subject(run["figures"])
    rows = []
    for name in all_figures():
        for subject in SUBJECTS:
            entry = found.get((name, subject))
            if entry:
                verdicts = goals.verdicts(found, name) if subject == "handoff" else []
                rows.append((name, subject, value_text(entry), spread(entry),
                             "" if subject == "handoff" else ratio_text(ratio_to_ours(found, name, subject)),
                             ", ".join(f"{v.goal}: {v.verdict}" for v in verdicts)))
    return text_table(("workload", "subject", "figure", "spread", "ratio", "goal"), rows)


# ---- Parts of the document -----------------------------------------------------------------------------------------


def present(found, names):
    """The subjects that have one of these figures, ours first."""
    return [s for s in SUBJECTS if any((name, s) in found for name in names)]


def wide_table(found, labelled, first_column):
    """A row for each (label, figure), a column for each subject."""
    labelled = [(label, name) for label, name in labelled if any((name, s) in found for s in SUBJECTS)]
    subjects = present(found, [name for _, name in labelled])
    if not subjects:
        return ""

    def cell(name, subject):
        entry = found.get((name, subject))
        if not entry:
            return NOTHING
        ratio = ratio_to_ours(found, name, subject)
        return f"{value_text(entry)}{'' if ratio is None else f', {ratio_text(ratio)}'}<br>({spread(entry)})"

    return markdown_table((first_column, *subjects),
                          [(label, *(cell(name, s) for s in subjects)) for label, name in labelled])


def workload_label(name, workloads):
    w = next(w for w in workloads if name in (w.name, *w.also))
    return f"{w.what} (`{name}`)" if name == w.name else f"`{name}`"


def plain_workloads_table(found, workloads):
    return wide_table(found, [(workload_label(name, workloads), name) for w in workloads for name in w.figures()],
                      "workload")


def details_table(found, workloads):
    rows = []
    for d in DETAILS:
        ours, go = found.get((d.work, "handoff"), {}), found.get((d.go_work, "go"), {})
        if d.work in [w.name for w in workloads] and d.key in ours and d.go_key in go:
            rows.append((d.label, value_text(ours, d.key), value_text(go, d.go_key),
                         ratio_text(better_by(ours[d.key], go[d.go_key], ours["unit"]))))
    return markdown_table(("in detail", "handoff", "go", "ratio"), rows) if rows else ""


LATENCIES = [(f"handoff_{state}_{way}", state, way) for state in ("cold", "parked", "warm")
             for way in ("sysmon", "adaptive", "immediate")]
LATENCIES += [(f"handoff_{way}", "mixed", way) for way in ("sysmon", "adaptive", "immediate", "unguarded")]


def latency_table(found):
    rows = []
    for name, state, way in LATENCIES:
        for subject in present(found, [name]):
            entry = found[name, subject]
            go = found.get((counterpart(name, "go"), "go"))
            ratio = better_by(entry["value"], go["value"], "ns") if go and subject != "go" else None
            rows.append((state, way, subject, value_text(entry), spread(entry), value_text(entry, "p99"),
                         value_text(entry, "sample_max"), ratio_text(ratio)))
    if not rows:
        return ""
    kernel = found.get(("futex_wake", "linux"))
    floor = f"\n\nThe kernel alone takes {value_text(kernel)} to wake a sleeping thread." if kernel else ""
    head = ("thread", "way", "subject", "p50", "spread", "p99", "max", "Go's p50 / this")
    return markdown_table(head, rows, 3) + floor


STORMS = (*plots.STORMS, ("blocking_storm_busy", "1,000 × 1 ms after 100 ms of computing"),
          ("unguarded_storm", "1,000 × 1 ms without any guard"))


def storm_table(found):
    rows = []
    for name, label in STORMS:
        for subject in present(found, [name]):
            entry = found[name, subject]
            warm = found.get((f"{name}_warm", subject))
            again = value_text(warm) if warm else value_text(entry, "warm")
            threads = plain(entry["threads"]) if "threads" in entry else NOTHING
            rows.append((f"{label} (`{name}`)", subject, value_text(entry), spread(entry),
                         ratio_text(ratio_to_ours(found, name, subject)), again, threads))
    head = ("storm", "subject", "first time", "spread", "ratio", "again, threads warm", "most threads")
    return markdown_table(head, rows, 2) if rows else ""


# What a process tells beside the value.
FURTHER_KEYS = {
    "compute_beside_blocking": ("blocking_calls", "threads", "pool_threads"),
    "page_faults": ("pages_per_s", "threads", "pool_threads", "spawn_blocking", "spawn_blocking_pages_per_s"),
    "call_not_blocking": ("spawn_blocking", "pool_threads"),
    "recovery": ("threads_before", "threads_peak", "threads_after", "rss_before_mib", "rss_peak_mib", "rss_after_mib"),
    "file_reads": ("threads", "p99_us"),
    "getaddrinfo": ("cgo",),
}


def workload_with_further_keys(found, name):
    subjects = present(found, [name])
    if not subjects:
        return ""
    keys = [key for key in FURTHER_KEYS[name] if any(key in found[name, s] for s in subjects)]
    rows = []
    for subject in subjects:
        entry = found[name, subject]
        value = f"not within {value_text(entry)}" if entry.get("capped") else value_text(entry)
        rows.append((subject, value, spread(entry), ratio_text(ratio_to_ours(found, name, subject)),
                     *(value_text(entry, key) for key in keys)))
    note = "\n\nA pool keeps its threads: it is at once what it was before." if name == "recovery" else ""
    what = next(w.what for w in ALL_WORKLOADS if w.name == name)
    key_heads = [re.sub("_(mib|us)$", "", key).replace("_", " ") for key in keys]
    head = ("subject", "figure", "spread", "ratio", *key_heads)
    return f"### {what[0].upper()}{what[1:]} (`{name}`)\n\n{markdown_table(head, rows)}{note}"


def table_of_servers(found, names, value, keys):
    """names: (label, name); value: what the figure is; keys: (key, its column)."""
    rows = []
    for label, name in names:
        for subject in present(found, [name]):
            entry = found[name, subject]
            rows.append((f"{label} (`{name}`)", subject, value_text(entry), spread(entry),
                         ratio_text(ratio_to_ours(found, name, subject)), *(value_text(entry, key) for key, _ in keys)))
    head = ("server", "subject", value, "spread", "ratio", *(column for _, column in keys))
    return markdown_table(head, rows, 2) if rows else ""


def echo_table(found):
    keys = (("p99", "p99"), ("p999", "p99.9"), ("cpu_us", "processor time an answer"), ("threads", "threads"))
    return table_of_servers(found, [(w.what, w.name) for w in echo_workloads()], "p50", keys)


def closed_echo_table(found):
    keys = (("cpu_us", "processor time an answer"), ("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"), ("threads", "threads"))
    names = [(w.what, name) for w in closed_echo_workloads() for name in (w.name, *w.also)]
    return table_of_servers(found, names, "time an answer", keys)


def blocking_section(found):
    latency, storms, echo, closed = (table(found) for table in (latency_table, storm_table, echo_table, closed_echo_table))
    parts = []
    if latency:
        parts.append("### From a call that blocks to the next goroutine of that P\n\n"
                     "How long the only P stands idle. `cold`: a thread has to be created; `parked`: one is asleep; "
                     "`warm`: one has only just gone idle; `mixed`: the calls come 0 to 100 µs apart. max is the "
                     "largest of all samples of all rounds.\n\n" + latency)
    if storms:
        parts.append("### Storms of blocking calls\n\n"
                     "In a fresh process, from the first spawn until all are joined, on 2 Ps.\n\n" + storms)
    parts += filter(None, (workload_with_further_keys(found, name) for name in FURTHER_KEYS))
    if echo:
        parts.append("### Echo servers\n\n"
                     "From before a message is written by a client, which is the same for all and a process of its "
                     "own, until its answer is read. The processor time is the server's.\n\n" + echo)
    if closed:
        parts.append("### Echo servers without pauses\n\n"
                     "The client sends the next message as soon as one is answered. The figure is the time of the run divided "
                     "by the number of answers; the client takes a core for itself.\n\n" + closed)
    return "\n\n".join(parts)


def growth_section(found, workloads):
    parts = [plain_workloads_table(found, [w for w in workloads if not w.grows])]
    for w in workloads:
        if w.grows:
            table = wide_table(found, [(f"{size:,}", sized(w.name, size)) for size in SIZES], "N")
            if table:
                parts.append(f"### {w.what} (`{w.name}`)\n\nTime per goroutine.\n\n{table}")
                parts.append(bytes_table(found, w.name))
    return "\n\n".join(filter(None, parts))


def bytes_table(found, name):
    names = [sized(name, size) for size in SIZES]
    subjects = [s for s in present(found, names) if any("bytes" in found.get((n, s), {}) for n in names)]
    rows = []
    for size, n in zip(SIZES, names):
        cells = [amount(found[n, s]["bytes"], "B") if "bytes" in found.get((n, s), {}) else NOTHING for s in subjects]
        if any(cell != NOTHING for cell in cells):
            rows.append((f"{size:,}", *cells))
    return "Resident memory per goroutine, at the height.\n\n" + markdown_table(("N", *subjects), rows) if rows else ""


def floors_here(found):
    """(name, entry, how many times as long it takes here as where the goals were set), of those that were measured."""
    return [(name, found[name, "linux"], found[name, "linux"]["value"] / floor.where_goals_were_set)
            for name, floor in FLOORS.items() if (name, "linux") in found]


def floors_section(found):
    rows = [(f"{FLOORS[name].what} (`{name}`)", value_text(entry), spread(entry),
             amount(FLOORS[name].where_goals_were_set, "ns"), ratio_text(times))
            for name, entry, times in floors_here(found)]
    head = ("hardware floor", "here", "spread", "where the goals were set", "here / there")
    return markdown_table(head, rows) if rows else ""


def other_machine(found):
    """A sentence on how this machine differs from the one that the goals were set on; "" if its floors are unknown."""
    times = [times for _, _, times in floors_here(found)]
    if not times:
        return ""
    title = THEMES["floors"].title
    return (f" The limits in units of time were set on another machine: what is counted under "
            f"[{title}](#{title.lower().replace(' ', '-')}) takes {ratio_text(min(times))} to {ratio_text(max(times))} "
            "as long here as there.")


def theme_section(found, key, pictures):
    theme = THEMES[key]
    if key == "floors":
        body, rest = floors_section(found), ""
    elif key == "blocking":
        body = blocking_section(found)
        rest = details_table(found, theme.workloads)
    elif key == "growth":
        body, rest = growth_section(found, theme.workloads), ""
    else:
        body, rest = plain_workloads_table(found, theme.workloads), details_table(found, theme.workloads)
    shown = "\n\n".join(f"![{p.title}]({p.link})" for p in pictures if p.theme == key)
    text = "\n\n".join(filter(None, (body, rest, shown)))
    return f"## {theme.title}\n\n{text}" if text else ""


# ---- The document --------------------------------------------------------------------------------------------------


def heading(run):
    kind = "Benchmarks: a quick run" if run["quick"] else "Benchmarks"
    fewer = (" Quick: fewer operations, and of what grows only three sizes; a whole run's figures are steadier."
             if run["quick"] else "")
    return (f"# {kind}\n\nWritten by `bench/run` on {run['date'][:10]}, at {run['date'][11:16]} UTC; medians of up to "
            f"{run['rounds']} round{'s' if run['rounds'] > 1 else ''}.{fewer} Compare the columns with each other, not "
            "with figures from elsewhere: the ratios are what travels.")


MACHINE_LABELS = {"cpu": "processor", "cpus": "CPUs", "virtual": "virtual machine", "memory_gib": "memory",
                  "flags": "compiled with"}


def machine_section(run):
    rows = []
    for key, value in run["machine"].items():
        if key == "versions":
            rows += [(subject, version) for subject, version in value.items() if subject in SUBJECTS]
        else:
            rows.append((MACHINE_LABELS.get(key, key), f"{value} GiB" if key == "memory_gib" else str(value)))
    return "## The machine\n\n" + markdown_table(("", ""), rows, 2)


def repeat_section(run):
    command = "bench/run --quick" if run["quick"] else "bench/run"
    left = [f"`{name}`" for name in sorted(NOT_QUICK_WORKLOADS)]
    left += [f"`{name}` of {subject}" for name, subject in sorted(NOT_QUICK)]
    return f"""## How to repeat it

```sh
{command:53} # all of it; nothing else should run meanwhile
bench/run --only handoff_ --peers go --json new.json  # some of it; the report, as a quick run's, in build-bench/report/
bench/compare docs/benchmarks/figures.json new.json   # what got slower since, what got faster
```

Each round starts a process for each workload and subject, the subjects of a workload one after the other, and then \
the round begins anew. A figure is the median over the rounds of what the processes say; the spread is the smallest \
and the largest of them. When time runs short, the longest workloads get fewer rounds. A quick run leaves out \
{", ".join(left)}.

**ratio** is how many times better handoff is in the same run: above 1x handoff is better, below 1x the peer is. \
What each workload does, and what is timed, stands at the head of its file in `bench/workloads/`; all programs follow \
the rules of `bench/workloads/figures.hpp`, each in the idiom of its users. These figures as JSON: `figures.json` in \
the directory beside this page."""


def subjects_section(run, found):
    names = all_figures()
    rows = [(f"`{s}`", SUBJECTS[s]) for s in present(found, names)]
    text = "## Who takes part\n\n" + markdown_table(("subject", "what it is"), rows, 2)
    absent = [(s, run["left_out"].get(s, "not asked for")) for s in PEERS if not any(e == s for _, e in found)]
    if absent:
        text += "\n\nNot there:\n\n" + "\n".join(f"- `{s}`: {reason}" for s, reason in absent)
    limits = ", ".join(f"`{s}` up to {most:,}" for s, most in MOST_GOROUTINES.items())
    text += f"\n\nA dash says that a subject has no way to run the workload, or is not asked to: of what grows, {limits}."
    return text


def trouble_section(run):
    lines = [f"- {text}" for text in run["notes"]]
    lines += [f"- failed: {text}" for text in run["failures"]]
    lines += [f"- {subject}'s program does not have `{name}`" for name, subject in run["not_there"]]
    return "## What went wrong or was left out\n\n" + "\n".join(lines) if lines else ""


def goals_section(found):
    verdicts = [v for name in all_figures() for v in goals.verdicts(found, name)]
    if not verdicts:
        return ""
    order = {"missed": 0, "missed, though not in every round": 1, "not measured": 2, "met": 3}
    met = sum(v.verdict == "met" for v in verdicts)
    rows = [(f"`{v.name}`", v.goal, v.figure, v.compared_with, f"**{v.verdict}**" if v.verdict != "met" else "met")
            for v in sorted(verdicts, key=lambda v: order[v.verdict])]
    unknown = sum(v.verdict == "not measured" for v in verdicts)
    return (f"## Goals\n\n{met} of {len(verdicts) - unknown} met. No workload is to be slower than Go's; the higher "
            f"goals are the design's.{other_machine(found)}\n\n"
            + markdown_table(("workload", "goal", "handoff", "compared with", "verdict"), rows, 2, 2))


def better_peers_section(found):
    """Whatever a peer does better, without exception."""
    rows = []
    for name in all_figures():
        for peer in PEERS:
            ratio = ratio_to_ours(found, name, peer)
            if ratio is None or ratio >= 1:
                continue
            ours, theirs = found[name, "handoff"], found[counterpart(name, peer), peer]
            rows.append((f"`{name}`", peer, value_text(ours), f"{value_text(theirs)}", ratio_text(ratio),
                         "the rounds overlap" if overlap(ours, theirs) else ""))
    if not rows:
        return "## Where a peer is better\n\nNowhere in this run."
    return ("## Where a peer is better\n\n"
            + markdown_table(("workload", "peer", "handoff", "the peer", "ratio", ""), rows, 2, 1))


def document(run, pictures):
    found = by_work_and_subject(run["figures"])
    sections = [heading(run), machine_section(run), repeat_section(run), subjects_section(run, found),
                goals_section(found), better_peers_section(found)]
    sections += [theme_section(found, key, pictures) for key in THEMES]
    sections.append(trouble_section(run))
    return "\n\n".join(filter(None, sections)) + "\n"


def write(run, path):
    """Writes the document to `path`, and its plots and the figures into the directory of the same name beside it.
    Returns warnings."""
    directory = os.path.splitext(path)[0]
    if directory == path:
        directory += ".d"
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(directory):
        if name.endswith(".svg"):   # of an earlier run
            os.remove(os.path.join(directory, name))
    pictures, warnings = [], []
    if shutil.which("gnuplot"):
        pictures, warnings = plots.draw(run, directory)
    else:
        warnings.append("the plots are left out: there is no gnuplot")
    save(os.path.join(directory, "figures.json"), run)
    run = run | {"notes": run["notes"] + warnings}
    with open(path, "w", encoding="utf-8") as out:
        out.write(document(run, pictures))
    return warnings
