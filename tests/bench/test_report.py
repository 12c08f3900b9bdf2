"""The report: amounts, ratios, goals, and what becomes of whatever is missing."""

import os
import shutil
import tempfile
import unittest
import xml.dom.minidom

from support import entry, found, run_of

import figures
import goals
import plots
import report
import works


class Amounts(unittest.TestCase):
    def test_units_suit_the_size(self):
        for value, unit, text in ((10.64, "ns", "10.6 ns"), (1234, "ns", "1.23 µs"), (2e6, "ns", "2 ms"),
                                  (450, "ms", "450 ms"), (15_000, "ms", "15 s"), (4385, "B", "4,385 B"),
                                  (97.25, "%", "97.2 %"), (1500, "µs", "1.50 ms")):
            self.assertEqual(figures.amount(value, unit), text)

    def test_spread(self):
        self.assertEqual(figures.spread(entry("yield", low=9, high=11)), "9–11 ns")
        self.assertEqual(figures.spread(entry("yield", low=900, high=1100)), "900 ns–1.10 µs")
        self.assertEqual(figures.spread(entry("yield", rounds=1)), "1 round")


class OverRounds(unittest.TestCase):
    def test_medians_and_extremes(self):
        rounds = [{"work": "yield", "subject": "go", "procs": 1, "value": v, "unit": "ns", "min": v - 1, "max": v + 1,
                   "p99": v * 2, "version": "go1.26"} for v in (12, 10, 11)]
        rounds[2]["capped"] = 1
        result = figures.over_rounds(rounds)
        self.assertEqual((result["value"], result["min"], result["max"], result["rounds"]), (11, 10, 12, 3))
        self.assertEqual((result["sample_min"], result["sample_max"]), (9, 13))
        self.assertEqual((result["p99"], result["version"], result["capped"]), (22, "go1.26", 1))


class Ratios(unittest.TestCase):
    def test_above_one_is_better(self):
        self.assertEqual(figures.better_by(10, 40, "ns"), 4)
        self.assertEqual(figures.better_by(90, 45, "%"), 2)
        self.assertIsNone(figures.better_by(0, 10, "ns"))
        self.assertIsNone(figures.better_by(None, 10, "ns"))

    def test_counterparts(self):
        all_found = found(entry("handoff_cold_immediate", value=10), entry("handoff_cold_sysmon", "go", value=80),
                          entry("handoff_cold_sysmon", value=40), entry("handoff_cold_immediate", "tokio", value=20))
        self.assertEqual(report.ratio_to_ours(all_found, "handoff_cold_immediate", "go"), 8)
        self.assertEqual(report.ratio_to_ours(all_found, "handoff_cold_sysmon", "tokio"), 0.5)


class Goals(unittest.TestCase):
    def verdicts(self, name, *entries):
        return [(v.goal, v.verdict) for v in goals.verdicts(found(*entries), name)]

    def test_met_and_missed(self):
        self.assertEqual(self.verdicts("yield", entry("yield", value=10), entry("yield", "go", value=40)),
                         [("≤ 15 ns", "met"), ("≥ 3.5x go", "met")])
        self.assertEqual(self.verdicts("yield", entry("yield", value=20), entry("yield", "go", value=40)),
                         [("≤ 15 ns", "missed"), ("≥ 3.5x go", "missed")])

    def test_missed_but_not_always(self):
        self.assertEqual(self.verdicts("yield", entry("yield", value=16, low=14), entry("yield", "go", value=50)),
                         [("≤ 15 ns", "missed, though not in every round"),
                          ("≥ 3.5x go", "missed, though not in every round")])

    def test_no_work_slower_than_go(self):
        self.assertEqual(self.verdicts("fib", entry("fib", value=20), entry("fib", "go", value=10)),
                         [("≥ 1x go", "missed")])
        beside = [entry("compute_beside_blocking", subject, value, unit="%") for subject, value in
                  (("handoff", 95), ("go", 90))]
        self.assertEqual(self.verdicts("compute_beside_blocking", *beside), [("≥ 1x go", "met")])

    def test_without_go_or_std_mutex(self):
        self.assertEqual(self.verdicts("fib", entry("fib")), [])
        self.assertEqual(self.verdicts("mutex_uncontended", entry("mutex_uncontended")),
                         [("≤ 1.3x std_mutex", "not measured")])

    def test_what_was_capped_is_no_measurement(self):
        capped = [entry("recovery", subject, 15_000, unit="ms", capped=1) for subject in ("handoff", "go")]
        self.assertEqual(self.verdicts("recovery", *capped), [("≥ 1x go", "not measured")])
        self.assertEqual(self.verdicts("recovery", entry("recovery", value=10_000, unit="ms"), capped[1]),
                         [("≥ 1x go", "met")])

    def test_each_figure_with_a_goal_exists(self):
        self.assertLessEqual(works.GOALS.keys(), set(works.all_figures()))


class Document(unittest.TestCase):
    def document(self, *entries, **further):
        return report.document(run_of(*entries, **further), [])

    def test_a_row_with_peers_spread_and_ratio(self):
        text = self.document(entry("yield", value=10, low=9, high=11), entry("yield", "go", value=40, low=38, high=42))
        self.assertIn("| yield, 1 P (`yield`) | 10 ns<br>(9–11 ns) | 40 ns, 4.0x<br>(38–42 ns) |", text)

    def test_missing_figures_are_dashes(self):
        text = self.document(entry("yield"), entry("spawn"), entry("spawn", "std_thread", value=30_000))
        self.assertIn("| yield, 1 P (`yield`) | 100 ns<br>(99–101 ns) | – |", text)

    def test_absent_peers_have_a_reason(self):
        text = self.document(entry("yield"), left_out={"java": "there is no JDK"})
        self.assertIn("- `java`: there is no JDK", text)
        self.assertIn("- `go`: not asked for", text)

    def test_whatever_a_peer_does_better_is_listed(self):
        text = self.document(entry("yield", value=20), entry("yield", "go", value=10), entry("spawn", value=10),
                             entry("spawn", "go", value=10.05))
        self.assertIn("| `yield` | go | 20 ns | 10 ns | 0.50x |  |", text)
        self.assertNotIn("| `spawn` | go |", text)
        self.assertIn("Nowhere in this run", self.document(entry("spawn", value=10), entry("spawn", "go", value=20)))

    def test_overlapping_rounds_are_marked(self):
        text = self.document(entry("yield", value=10, low=8, high=12), entry("yield", "go", value=9.5))
        self.assertIn("| 0.95x | the rounds overlap |", text)

    def test_latency_has_its_distribution(self):
        text = self.document(entry("handoff_cold_immediate", value=5000, p99=9000, sample_max=70_000),
                             entry("handoff_cold_sysmon", "go", value=50_000, p99=60_000, sample_max=80_000))
        self.assertIn("| cold | immediate | handoff | 5 µs | 4.95–5.05 µs | 9 µs | 70 µs | 10.0x |", text)

    def test_storms_have_threads_and_their_repetition(self):
        text = self.document(entry("blocking_storm", value=20, unit="ms", threads=120),
                             entry("blocking_storm_warm", value=15, unit="ms"),
                             entry("storm_100x50ms", value=60, unit="ms", threads=104, warm=55))
        self.assertIn("| 1,000 × 1 ms (`blocking_storm`) | handoff | 20 ms | 19.8–20.2 ms | – | 15 ms | 120 |", text)
        self.assertIn("| 55 ms | 104 |", text)

    def test_what_did_not_come_within_the_cap(self):
        text = self.document(entry("recovery", value=15_000, unit="ms", capped=1, threads_peak=900))
        self.assertIn("| handoff | not within 15 s |", text)

    def test_quick_is_told_in_the_heading(self):
        self.assertTrue(self.document(entry("yield"), quick=True).startswith("# Benchmarks: a quick run\n"))
        self.assertTrue(self.document(entry("yield")).startswith("# Benchmarks\n"))

    def test_failures_are_told(self):
        text = self.document(entry("yield"), failures=["fib of tokio: died of SIGABRT"])
        self.assertIn("- failed: fib of tokio: died of SIGABRT", text)

    def test_a_table_for_each_size(self):
        text = self.document(entry("scale_ready_1000", value=90), entry("scale_ready_1000", "go", value=180),
                             entry("scale_parked_1000", bytes=4300))
        self.assertIn("| 1,000 | 90 ns<br>(89.1–90.9 ns) | 180 ns, 2.0x<br>", text)
        self.assertIn("| 1,000 | 4,300 B |", text)

    def test_floors_are_compared_with_where_the_goals_were_set(self):
        text = self.document(entry("yield", value=20), entry("floor_switch", "linux", value=9.2),
                             entry("floor_call", "linux", value=123))
        self.assertIn("| a switch of stacks by Boost.Context (`floor_switch`) | 9.20 ns | 9.11–9.29 ns | 4.60 ns | 2.0x |",
                      text)
        self.assertIn("(#what-the-machine-itself-takes) takes 1.00x to 2.0x as long here as there.", text)
        self.assertNotIn("as long here as there", self.document(entry("yield", value=20)))

    def test_every_work_can_be_shown(self):
        entries = [entry(run.figures[0], run.subject) for turn in works.turns() for run in turn]
        text = self.document(*entries)
        shown = text[text.index("## Switching"):]
        for w in works.ALL_WORKS:
            if not w.name.startswith(("handoff_", "futex_wake")):
                self.assertIn(f"`{w.name}`", shown)
        for state in ("cold", "parked", "warm", "mixed"):
            for way in ("sysmon", "adaptive", "immediate"):
                self.assertIn(f"| {state} | {way} | handoff |", shown)


class Written(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = os.path.join(self.directory.name, "benchmarks.md")

    def run_with_all_plots(self):
        return run_of(entry("handoff_cold_sysmon", value=9000, p99=20_000), entry("handoff_unguarded", value=1e7),
                      entry("handoff_cold_sysmon", "go", value=90_000), entry("blocking_storm", value=20, unit="ms"),
                      *(entry(f"scale_{kind}_{n}") for kind in ("parked", "ready", "sleeping") for n in (1, 1000)))

    def test_without_gnuplot_the_report_says_so(self):
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = self.directory.name
        warnings = report.write(run_of(entry("yield")), self.path)
        self.assertEqual(warnings, ["the plots are left out: there is no gnuplot"])
        with open(self.path, encoding="utf-8") as document:
            self.assertIn("there is no gnuplot", document.read())

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_plots_are_drawn_and_linked(self):
        self.assertEqual(report.write(self.run_with_all_plots(), self.path), [])
        with open(self.path, encoding="utf-8") as document:
            text = document.read()
        for name in ("handoff-latency", "storms", "scale-parked", "scale-ready", "scale-sleeping"):
            self.assertIn(f"(benchmarks/{name}.svg)", text)
            xml.dom.minidom.parse(os.path.join(self.directory.name, "benchmarks", f"{name}.svg"))

    def test_figures_beside_the_report_can_be_loaded(self):
        run = self.run_with_all_plots()
        report.write(run, self.path)
        self.assertEqual(figures.load(os.path.join(self.directory.name, "benchmarks", "figures.json")), run)

    def test_no_plot_of_nothing(self):
        self.assertEqual(plots.all_plots(run_of(entry("yield"))), [])


if __name__ == "__main__":
    unittest.main()
