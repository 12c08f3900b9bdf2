"""bench/compare: its verdicts, its exit status, and what it says of files that are of no use."""

import os
import tempfile
import unittest

from support import BENCH, call, entry, run_of, write_json


class Compare(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def compare(self, old, new, *options):
        old_path = write_json(self.directory.name, "old.json", old)
        new_path = write_json(self.directory.name, "new.json", new)
        return call(os.path.join(BENCH, "compare"), old_path, new_path, *options)

    def assert_counts(self, done, slower, faster):
        self.assertIn(f"{slower} slower, {faster} faster", done.stdout)
        self.assertEqual(done.returncode, 1 if slower else 0, done.stderr)

    def verdict_of(self, old, new, slower, faster, *options):
        self.assert_counts(self.compare(run_of(old), run_of(new), *options), slower, faster)

    def test_slower_past_tolerance_and_spread(self):
        self.verdict_of(entry("yield", value=100), entry("yield", value=120), 1, 0)

    def test_faster(self):
        self.verdict_of(entry("yield", value=120), entry("yield", value=100), 0, 1)

    def test_within_tolerance(self):
        self.verdict_of(entry("yield", value=100), entry("yield", value=109), 0, 0)
        self.verdict_of(entry("yield", value=100), entry("yield", value=109), 1, 0, "--tolerance", "5")
        self.verdict_of(entry("yield", value=109), entry("yield", value=100), 0, 1, "--tolerance", "5")

    def test_within_the_spread(self):
        self.verdict_of(entry("yield", value=100, high=125), entry("yield", value=120, low=115), 0, 0)

    def test_one_round_has_no_spread(self):
        self.verdict_of(entry("yield", value=100, low=100, high=100, rounds=1),
                        entry("yield", value=120, low=120, high=120, rounds=1), 1, 0)

    def test_higher_is_better_for_per_cent(self):
        better, worse = (entry("compute_beside_blocking", value=v, unit="%") for v in (95, 60))
        self.verdict_of(better, worse, 1, 0)
        self.verdict_of(worse, better, 0, 1)

    def test_values_that_are_not_above_zero(self):
        done = self.compare(run_of(entry("call_not_blocking", value=-1, low=-2, high=0.5), entry("yield")),
                            run_of(entry("call_not_blocking", value=8), entry("yield")))
        self.assertIn("not comparable", done.stdout)
        self.assert_counts(done, 0, 0)

    def test_other_units_are_not_compared(self):
        done = self.compare(run_of(entry("skynet", unit="ms")), run_of(entry("skynet", value=1e5, unit="ns")))
        self.assertIn("not comparable", done.stdout)
        self.assertEqual(done.returncode, 0)

    def test_only_and_subject(self):
        old = run_of(entry("yield"), entry("spawn"), entry("spawn", "go"))
        new = run_of(entry("yield"), entry("spawn", value=200), entry("spawn", "go", value=50))
        self.assert_counts(self.compare(old, new), 1, 0)
        self.assert_counts(self.compare(old, new, "--only", "^yield$"), 0, 0)
        self.assert_counts(self.compare(old, new, "--subject", "go"), 0, 1)

    def test_works_of_one_file_are_named(self):
        done = self.compare(run_of(entry("yield"), entry("spawn")), run_of(entry("yield"), entry("fib", unit="ms")))
        self.assertRegex(done.stderr, "spawn: only in .*old.json")
        self.assertRegex(done.stderr, "fib: only in .*new.json")
        self.assertEqual(done.returncode, 0)

    def test_other_machines_and_kinds_warn(self):
        other = run_of(entry("yield"), machine={"cpu": "another", "cpus": 2}, quick=True)
        done = self.compare(run_of(entry("yield")), other)
        self.assertIn("cpu is 'one' in the one, 'another' in the other", done.stderr)
        self.assertNotIn("cpus", done.stderr)
        self.assertIn("one is a quick run", done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_the_same_machine_does_not_warn(self):
        self.assertEqual(self.compare(run_of(entry("yield")), run_of(entry("yield"))).stderr, "")

    def assert_refused(self, old, message, *options):
        done = self.compare(old, run_of(entry("yield")), *options)
        self.assertRegex(done.stderr, message)
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(done.returncode, 2)

    def test_bad_files(self):
        self.assert_refused("{", "old.json is no JSON")
        self.assert_refused([], 'old.json is no file of bench/run --json')
        self.assert_refused({"figures": 3}, 'old.json is no file of bench/run --json')
        self.assert_refused(run_of(7), "figure 1 is no object")
        self.assert_refused(run_of({"work": "yield"}), r'figure 1 \(yield\) has no "subject"')
        self.assert_refused(run_of(entry("yield") | {"value": "fast"}), "\"value\" is 'fast'")
        self.assert_refused(run_of(entry("yield"), entry("yield")), "yield of handoff is there twice")
        self.assert_refused(run_of(entry("yield", "go")), "old.json has no figures of handoff; it has those of go")
        self.assert_refused(run_of(entry("spawn")), "no workload in common")

    def test_a_file_that_is_not_there(self):
        done = call(os.path.join(BENCH, "compare"), os.path.join(self.directory.name, "none.json"), "/dev/null")
        self.assertRegex(done.stderr, "none.json: No such file")
        self.assertEqual(done.returncode, 2)

    def test_bad_options(self):
        self.assert_refused(run_of(entry("yield")), "-3 is no percentage", "--tolerance=-3")
        self.assert_refused(run_of(entry("yield")), "no regular expression", "--only", "(")


if __name__ == "__main__":
    unittest.main()
