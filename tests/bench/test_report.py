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
import workloads


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

    def test_digits(self):
        self.assertEqual([report.ratio_text(r) for r in (345.6, 12.34, 1.234, 0.456, 0.0123, 0.00045, None)],
                         ["346x", "12.3x", "1.23x", "0.46x", "0.01x", "0.0004x", "–"])

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
        self.assertEqual(self.verdicts("compute_beside_blocking", *beside)[0], ("≥ 1x go", "met"))

    def test_without_go_or_std_mutex(self):
        self.assertEqual(self.verdicts("fib", entry("fib")), [])
        self.assertEqual(self.verdicts("mutex_uncontended", entry("mutex_uncontended")),
                         [("≤ 1.3x std_mutex", "not measured")])

    def test_what_was_capped_is_no_measurement(self):
        capped = [entry("recovery", subject, 15_000, unit="ms", capped=1) for subject in ("handoff", "go")]
        self.assertEqual(self.verdicts("recovery", *capped), [("≥ 1x go", "not measured")])
        self.assertEqual(self.verdicts("recovery", entry("recovery", value=10_000, unit="ms"), capped[1]),
                         [("≥ 1x go", "met")])

    def goal_texts(self, name, unit="ns"):
        """With a Go and nobody else."""
        return [goal for goal, _ in self.verdicts(name, entry(name, unit=unit), entry(name, "go", unit=unit))]

    def test_goals_beside_other_peers(self):
        beside = ["≥ 1x go", "≥ 0.95x thread_pool", "blocking_calls ≥ 0.95x thread_pool"]
        self.assertEqual(self.goal_texts("compute_beside_blocking", "%"), beside)
        for storm in ("blocking_storm", "blocking_storm_warm", "blocking_storm_busy"):
            self.assertIn("≤ 1.05x the best peer", self.goal_texts(storm, "ms"))
        self.assertEqual(self.goal_texts("storm_10000x100us", "ms"), ["≥ 1x go", "≤ 1.3x thread_pool", "≥ 1x tokio"])
        self.assertEqual(self.goal_texts("file_reads", "µs"), ["≥ 1x go", "≤ 1.1x thread_pool"])
        self.assertEqual(self.goal_texts("scale_sleeping_1"), ["≤ 10 µs", "≥ 1x go"])
        self.assertEqual(self.goal_texts("scale_sleeping_1000"), ["≥ 1x go"])
        for size in (100_000, 1_000_000):
            self.assertEqual(self.goal_texts(f"scale_sleeping_{size}"), ["≥ 1x go", "≥ 1x tokio"])

    def test_echo_servers(self):
        theirs = [entry("echo_blocking_50", "std_thread", value=40, unit="µs", p99=100, p999=200, cpu_us=10),
                  entry("echo_blocking_50", "go", value=50, unit="µs", p99=300)]
        ours = {"value": 42, "unit": "µs", "p99": 150, "p999": 500, "cpu_us": 10.5}
        self.assertEqual(self.verdicts("echo_blocking_50", entry("echo_blocking_50", **ours), *theirs),
                         [("≤ 1.1x std_thread", "met"), ("p99 ≤ 1.1x std_thread", "missed"),
                          ("cpu_us ≤ 1.1x std_thread", "met"), ("≥ 1x go", "met"), ("p99 ≥ 1x go", "met")])
        # What leaves the guard out is compared with the same servers.
        unguarded = "echo_blocking_unguarded_50"
        self.assertEqual(self.verdicts(unguarded, entry(unguarded, **ours), *theirs),
                         [("≥ 1x go", "met"), ("≤ 1.1x std_thread", "met"), ("p999 ≤ 2x std_thread", "missed")])

    def test_each_figure_with_a_goal_exists(self):
        self.assertLessEqual(workloads.GOALS.keys(), set(workloads.all_figures()))

    def test_each_rival_takes_part(self):
        subjects = {name: w.subjects for w in workloads.ALL_WORKLOADS for size in workloads.sizes_of(w, False)
                    for name in w.figures(size)}
        for name, goal in workloads.GOALS.items():
            for rival in goal.rivals:
                if rival.subject != workloads.BEST_PEER:
                    self.assertIn(rival.subject, subjects[workloads.counterpart(name, rival.subject)], name)


class Rivals(unittest.TestCase):
    """Goals against rivals. They are asked of made-up figures, so that no goal of a workload stands in the way."""

    def against(self, rivals, *entries):
        """The goals, and the verdicts, on handoff's figure, which is the first of the entries."""
        all_found = found(*entries)
        verdicts = [goals.against(all_found, entries[0], rival) for rival in rivals]
        return [v.goal for v in verdicts], [v.verdict for v in verdicts]

    def assert_verdict(self, verdict, rivals, *entries):
        self.assertEqual(self.against(rivals, *entries)[1], [verdict] * len(rivals))

    def test_at_most(self):
        for ours, verdict in ((90, "met"), (105, "met"), (115, "missed")):
            self.assert_verdict(verdict, workloads.at_most(1.1, "thread_pool"),
                                entry("fib", value=ours, low=ours, high=ours),
                                entry("fib", "thread_pool", value=100, low=100, high=100))
        self.assertEqual(self.against(workloads.at_most(1.1, "asio"), entry("fib"))[0], ["≤ 1.1x asio"])

    def test_at_least(self):
        for ours, verdict in ((99, "met"), (96, "met"), (94, "missed"), (50, "missed")):
            self.assert_verdict(verdict, workloads.at_least(0.95, "asio"),
                                entry("fib", value=ours, low=ours, high=ours, unit="%"),
                                entry("fib", "asio", value=100, low=100, high=100, unit="%"))
        self.assertEqual(self.against(workloads.at_least(0.95, "asio"), entry("fib", unit="%"))[0], ["≥ 0.95x asio"])

    def test_ahead_of(self):
        for ours, verdict in ((99, "met"), (101, "missed")):
            self.assert_verdict(verdict, workloads.ahead_of("tokio"), entry("fib", value=ours, low=ours, high=ours),
                                entry("fib", "tokio", value=100, low=100, high=100))
        self.assertEqual(self.against(workloads.ahead_of("tokio"), entry("fib"))[0], ["≥ 1x tokio"])

    def test_what_is_told_beside_the_value(self):
        rivals = workloads.at_most(1.1, "asio", "p99", "threads")
        ours = entry("fib", value=500, p99=105, threads=10)   # whose value would be missed
        self.assertEqual(self.against(rivals, ours, entry("fib", "asio", p99=100, threads=5)),
                         (["p99 ≤ 1.1x asio", "threads ≤ 1.1x asio"], ["met", "missed"]))

    def test_more_calls_and_pages_are_better(self):
        for key in ("blocking_calls", "pages_per_s"):
            rivals = workloads.at_least(0.95, "asio", key)
            theirs = entry("fib", "asio", **{key: 1000})
            self.assert_verdict("met", rivals, entry("fib", **{key: 2000}), theirs)
            self.assert_verdict("missed", rivals, entry("fib", **{key: 900}), theirs)
            self.assertEqual(self.against(rivals, theirs)[0], [f"{key} ≥ 0.95x asio"])

    def test_the_rounds_only_excuse_a_value(self):
        ours, theirs = entry("fib", value=120, low=90, p99=120), entry("fib", "asio", value=100, p99=100)
        self.assertEqual(self.against(workloads.ahead_of("asio", "value", "p99"), ours, theirs)[1],
                         ["missed, though not in every round", "missed"])

    def test_the_best_peer(self):
        peers = [entry("fib", "go", value=300), entry("fib", "java", value=100), entry("fib", "asio", value=200)]
        rivals = workloads.at_most(1.05, workloads.BEST_PEER)
        self.assert_verdict("met", rivals, entry("fib", value=103), *peers)
        self.assert_verdict("missed", rivals, entry("fib", value=150), *peers)
        self.assertEqual(self.against(rivals, entry("fib", value=1), *peers)[0], ["≤ 1.05x the best peer"])
        found_best = goals.against(found(entry("fib"), *peers), entry("fib"), rivals[0])
        self.assertEqual(found_best.compared_with, "java: 100 ns, 1.00x")

    def test_the_best_peer_where_more_is_better(self):
        peers = [entry("fib", "go", value=80, unit="%"), entry("fib", "java", value=20, unit="%")]
        rivals = workloads.at_least(0.95, workloads.BEST_PEER)
        self.assert_verdict("missed", rivals, entry("fib", value=50, unit="%"), *peers)
        self.assert_verdict("met", rivals, entry("fib", value=79, unit="%"), *peers)

    def test_who_is_not_there_is_no_best_peer(self):
        self.assertIsNone(goals.best_peer(found(entry("fib"), entry("spawn", "go")), "fib", "value"))
        self.assertEqual(goals.best_peer(found(entry("fib", "go"), entry("fib", "asio", p99=7)), "fib", "p99"), "asio")

    def test_a_rival_by_another_name(self):
        all_found = found(entry("handoff_unguarded", value=90_000), entry("handoff_sysmon", "go", value=100_000),
                          entry("handoff_unguarded", "go", value=1))
        self.assertEqual([(v.goal, v.verdict) for v in goals.verdicts(all_found, "handoff_unguarded")],
                         [("≤ 120 µs", "met"), ("≥ 1x go", "met")])

    def test_what_is_missing_is_not_measured(self):
        rivals = workloads.at_most(1.1, "asio", "value", "p99") + workloads.at_most(1.1, workloads.BEST_PEER)

        def compared(*entries):
            verdicts = [goals.against(found(*entries), entries[0], rival) for rival in rivals]
            return [(v.compared_with or v.figure) for v in verdicts if v.verdict == "not measured"]

        self.assertEqual(compared(entry("fib", p99=1)), ["no asio", "no p99 of asio", "no peer"])
        self.assertEqual(compared(entry("fib", p99=1), entry("fib", "asio")), ["no p99 of asio"])
        self.assertEqual(compared(entry("fib"), entry("fib", "asio", p99=1)), ["no p99"])

    def test_a_difference_below_zero_has_no_ratio(self):
        for ours, verdict in ((-2, "met"), (5, "missed")):
            self.assert_verdict(verdict, workloads.at_most(1.1, "asio"), entry("fib", value=ours),
                                entry("fib", "asio", value=-1))
        for ours, verdict in ((5, "met"), (0, "missed")):
            theirs = 5 - ours
            self.assert_verdict(verdict, workloads.at_least(0.95, "asio"), entry("fib", value=ours, unit="%"),
                                entry("fib", "asio", value=theirs, unit="%"))


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

    def test_echo_servers_have_their_tail_and_their_cost(self):
        text = self.document(entry("echo_blocking_50", value=40, unit="µs", p99=110, p999=2500, cpu_us=12.5, threads=54),
                             entry("echo_blocking_50", "go", value=80, unit="µs"))
        self.assertIn("(`echo_blocking_50`) | handoff | 40 µs | 39.6–40.4 µs | – | 110 µs | 2.50 ms | 12.5 µs | 54 |",
                      text)
        self.assertIn("(`echo_blocking_50`) | go | 80 µs | 79.2–80.8 µs | 2.0x | – | – | – | – |", text)

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
        entries = [entry(run.figures[0], run.subject) for turn in workloads.turns() for run in turn]
        text = self.document(*entries)
        shown = text[text.index("## Switching"):]
        for w in workloads.ALL_WORKLOADS:
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
