"""bench/driver/measure.py: what it makes of programs that measure nothing, and of its arguments."""

import json
import os
import re
import tempfile
import time
import unittest

from support import DRIVER, call, prints, write_program

import measure
import workloads


class Driver(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name

    def path(self, name):
        return os.path.join(self.directory, name)

    def run_with(self, *options, **programs):
        """Runs the driver on programs that are given as the shell's commands."""
        arguments = [f"--program={subject}={write_program(self.directory, subject, body)}"
                     for subject, body in programs.items()]
        return call("python3", os.path.join(DRIVER, "measure.py"), "--root", self.directory, *arguments, *options)

    def load(self, name):
        with open(self.path(name), encoding="utf-8") as source:
            return json.load(source)

    def test_figures_of_all_rounds(self):
        done = self.run_with("--only=^yield$", "--rounds=2", f"--json={self.path('out.json')}",
                             handoff=prints("yield", "handoff", 10), go=prints("yield", "go", 40, version="go9"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"yield +go +40 ns +40–40 ns +4.0x")
        run = self.load("out.json")
        self.assertEqual([(e["subject"], e["value"], e["rounds"]) for e in run["figures"]],
                         [("handoff", 10, 2), ("go", 40, 2)])
        self.assertEqual(run["machine"]["versions"], {"go": "go9"})
        self.assertGreaterEqual(run["machine"]["cpus"], 1)

    def assert_report(self, directory, *options):
        arguments = measure.parse_arguments([f"--root={self.directory}", *options])
        self.assertEqual(measure.report_path(arguments), self.path(os.path.join(directory, "benchmarks.md")))

    def test_only_a_whole_run_is_documentation(self):
        self.assert_report("docs")
        self.assert_report("docs", "--rounds=1")
        self.assert_report("build-bench/report", "--quick")
        self.assert_report("build-bench/report", "--only=yield")
        self.assert_report("build-bench/report", "--quick", "--only=yield")

    def test_where_the_report_goes(self):
        for options in (["--only=yield"], ["--only=yield", "--quick"]):
            self.run_with("--rounds=1", *options, handoff=prints("yield", "handoff", 10))
            os.remove(self.path("build-bench/report/benchmarks.md"))   # it was there
            self.assertFalse(os.path.exists(self.path("docs")))
        self.run_with("--only=yield", "--rounds=1", f"--markdown={self.path('x.md')}",
                      handoff=prints("yield", "handoff", 10))
        self.assertTrue(os.path.exists(self.path("x.md")))

    def test_sizes_are_passed_and_name_the_figure(self):
        body = 'while [ "$1" != --goroutines ]; do shift; done\n'
        body += """echo '{"work": "scale_ready", "subject": "handoff", "procs": 2, "unit": "ns", "value": '$2'}'"""
        self.run_with("--only=scale_ready", "--rounds=1", "--quick", f"--json={self.path('out.json')}", handoff=body)
        self.assertEqual({e["work"]: e["value"] for e in self.load("out.json")["figures"]},
                         {f"scale_ready_{n}": n for n in workloads.QUICK_SIZES})

    def test_peers_are_told_the_client(self):
        body = 'while [ "$1" != --client ]; do shift; done\n[ "$2" = ' + self.path("handoff") + " ] || exit 3\n"
        done = self.run_with("--only=^echo_blocking_50$", "--rounds=1", f"--json={self.path('out.json')}",
                             handoff=prints("echo_blocking_50", "handoff", 40, "µs"),
                             go=body + prints("echo_blocking_50", "go", 80, "µs"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([e["value"] for e in self.load("out.json")["figures"]], [40, 80])

    def test_a_peer_that_does_not_have_a_work(self):
        done = self.run_with("--only=^yield$", "--rounds=2", f"--json={self.path('out.json')}",
                             handoff=prints("yield", "handoff", 10), java="exit 2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.load("out.json")["not_there"], [["yield", "java"]])

    def assert_failure(self, body, message):
        done = self.run_with("--only=^yield$", "--rounds=2", handoff=prints("yield", "handoff", 10), go=body)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, f"yield of go: {message}")
        self.assertNotIn("Traceback", done.stderr)

    def test_failures_of_a_program(self):
        self.assert_failure("kill -9 $$", "died of SIGKILL")
        self.assert_failure("echo no memory >&2; exit 1", "ended with status 1: no memory")
        self.assert_failure("echo hello", "printed no JSON: hello")
        self.assert_failure("echo 7", "printed no figure: 7")
        self.assert_failure("""echo '{"work": "yield"}'""", "printed no figure")
        self.assert_failure(prints("spawn", "go", 3), r"printed figures of \['spawn'\] and not of \['yield'\]")
        self.assert_failure(prints("yield", "go", "fast"), "printed the value 'fast'")

    def test_ours_has_every_work(self):
        done = self.run_with("--only=^yield$", "--rounds=1", handoff="exit 2")
        self.assertEqual(done.returncode, 1)
        self.assertIn("yield of handoff", done.stderr)

    def test_nothing_measured(self):
        done = self.run_with("--only=^yield$", "--rounds=1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing could be measured", done.stderr)

    def test_absent_peers_reach_the_report(self):
        self.run_with("--only=yield", "--rounds=1", "--left-out=java=there is no JDK",
                      handoff=prints("yield", "handoff", 10))
        with open(self.path("build-bench/report/benchmarks.md"), encoding="utf-8") as document:
            self.assertIn("`java`: there is no JDK", document.read())

    def test_bad_arguments(self):
        for option, message in (("--only=nothing", "matches no workload"), ("--only=(", "no regular expression"),
                                ("--rounds=0", "no number above 0"), ("--json=/nowhere/x", "there is no directory"),
                                ("--json=/", "can't write /"), ("--program=cobol=x", "no SUBJECT=VALUE")):
            done = self.run_with("--check", option)
            self.assertEqual(done.returncode, 2, option)
            self.assertIn(message, done.stderr)

    def test_the_list(self):
        done = self.run_with("--list", "--only=^scale_ready_1000000$|^yield$")
        self.assertRegex(done.stdout, "^yield handoff,go,.*\nscale_ready_1000000 handoff,go")
        self.assertNotIn("std_thread", done.stdout)


class Selection(unittest.TestCase):
    def test_counterparts_are_measured_too(self):
        chosen = measure.wanted_runs(workloads.turns(), re.compile("^handoff_cold_adaptive$"),
                                     {"handoff", "go", "tokio"})
        self.assertEqual([(run.subject, run.work) for turn in chosen for run in turn],
                         [("go", "handoff_cold_sysmon"), ("handoff", "handoff_cold_adaptive"),
                          ("tokio", "handoff_cold_immediate")])

    def test_no_guard_is_compared_with_who_has_none(self):
        subjects = {"handoff", "go", "std_thread"}
        chosen = measure.wanted_runs(workloads.turns(), re.compile("^echo_blocking_unguarded_50$"), subjects)
        self.assertEqual({(run.subject, run.work) for turn in chosen for run in turn},
                         {("go", "echo_blocking_50"), ("std_thread", "echo_blocking_50"),
                          ("handoff", "echo_blocking_unguarded_50")})

    def test_limits_of_subjects(self):
        sizes = {}
        for turn in workloads.turns():
            for run in turn:
                if run.goroutines:
                    sizes[run.subject] = max(sizes.get(run.subject, 0), run.goroutines)
        self.assertEqual((sizes["handoff"], sizes["boost_fiber"], sizes["std_thread"]), (1_000_000, 100_000, 10_000))

    def test_all_names_differ(self):
        names = workloads.all_figures()
        self.assertEqual(len(names), len(set(names)))


class Budget(unittest.TestCase):
    def measurement(self, seconds_left, **costs):
        all_turns = [[workloads.Run("handoff", name, (name,))] for name in costs]
        result = measure.Measurement(all_turns, {}, False, time.time() + seconds_left)
        result.seconds = {turn[0]: costs[turn[0].work] for turn in all_turns}
        return [turn[0].work for turn in result.affordable()]

    def test_the_longest_works_get_fewer_rounds(self):
        self.assertEqual(self.measurement(100, slow=90, quick=5, medium=30), ["quick", "medium"])
        self.assertEqual(self.measurement(200, slow=90, quick=5, medium=30), ["slow", "quick", "medium"])
        self.assertEqual(self.measurement(-1, slow=90, quick=5), [])


if __name__ == "__main__":
    unittest.main()
