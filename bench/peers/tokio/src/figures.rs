//! What all workloads share: settings, samples, and a figure printed as a line of JSON. See workloads/figures.hpp for
//! the rules.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Instant;

#[derive(Clone, Copy)]
pub struct Settings {
    pub quick: bool,
    pub goroutines: usize, // of parked_memory and scale_*; 0: the workload's own number
}

impl Settings {
    pub fn samples(&self) -> usize {
        if self.quick { 7 } else { 15 }
    }
}

pub struct Figure {
    pub work: String,
    pub procs: usize,
    pub value: f64,
    pub unit: &'static str,
    pub extra: Vec<(&'static str, f64)>,
}

impl Figure {
    pub fn new(work: &str, procs: usize, value: f64, unit: &'static str, extra: Vec<(&'static str, f64)>) -> Figure {
        Figure { work: work.to_string(), procs, value, unit, extra }
    }

    pub fn print(&self) {
        let (work, procs, unit) = (&self.work, self.procs, self.unit);
        print!(r#"{{"work": "{work}", "subject": "tokio", "procs": {procs}, "#);
        print!(r#""value": {}, "unit": "{unit}""#, digits(self.value, 4));
        for (name, value) in &self.extra {
            print!(r#", "{name}": {}"#, digits(*value, 6));
        }
        println!(r#", "version": "{}"}}"#, tokio_version());
    }
}

/// digits is the value with so many significant digits.
fn digits(value: f64, count: usize) -> f64 {
    format!("{:.*e}", count - 1, value).parse().expect("a formatted number")
}

/// tokio_version is what the lock file fixes; the crate itself does not say.
fn tokio_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after_name = lock.split("name = \"tokio\"\nversion = \"").nth(1).expect("tokio in Cargo.lock");
    after_name.split('"').next().expect("a version")
}

/// now_ns is the monotonic clock, in nanoseconds.
pub fn now_ns() -> f64 {
    static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);
    let base = *BASE;
    base.elapsed().as_nanos() as f64
}

pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1).min((q * sorted.len() as f64) as usize)]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// spread_of is the extra keys that go with a median.
pub fn spread_of(values: &[f64]) -> Vec<(&'static str, f64)> {
    vec![
        ("min", quantile(values, 0.0)),
        ("max", quantile(values, 1.0)),
        ("p99", quantile(values, 0.99)),
        ("samples", values.len() as f64),
    ]
}

/// on_runtime runs the future as a task of a new runtime with so many workers, and ends the runtime. (What block_on is
/// given runs on the calling thread, which is no worker.)
pub fn on_runtime<F>(workers: usize, future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime");
    let task = runtime.spawn(future);
    runtime.block_on(task).expect("the task that measures")
}

/// operations_on times run(operations) several times over, where run(n) does n operations. Nanoseconds an operation.
pub fn operations_on<R, F>(workers: usize, work: &'static str, s: Settings, operations: usize, run: R) -> Vec<Figure>
where
    R: Fn(usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let operations = if s.quick { operations / 4 } else { operations };
    let samples = on_runtime(workers, async move {
        run(operations).await; // warm-up
        let mut samples = Vec::new();
        for _ in 0..s.samples() {
            let start = now_ns();
            run(operations).await;
            samples.push((now_ns() - start) / operations as f64);
        }
        samples
    });
    vec![Figure::new(work, workers, median(&samples), "ns", spread_of(&samples))]
}

/// rounds_on times run() several times over, in milliseconds; not quite as often if a round takes seconds.
pub fn rounds_on<R, F>(workers: usize, work: &'static str, s: Settings, run: R) -> Vec<Figure>
where
    R: Fn() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let samples = on_runtime(workers, async move {
        let start = now_ns();
        run().await; // warm-up
        let slow = now_ns() - start > 1e9;
        let rounds = match (s.quick, slow) {
            (true, true) => 1,
            (false, false) => 5,
            _ => 3,
        };
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let start = now_ns();
            run().await;
            samples.push((now_ns() - start) * 1e-6);
        }
        samples
    });
    vec![Figure::new(work, workers, median(&samples), "ms", spread_of(&samples))]
}

/// check_sum is for workloads that pass the numbers from 0 to n - 1 on, and add up what arrives.
pub fn check_sum(sum: i64, n: usize) {
    assert_eq!(sum, (n * (n - 1) / 2) as i64, "the items add up to something else");
}

/// PauseLengths is the pseudo-random sequence of 0 to 100 µs of figures.hpp.
pub struct PauseLengths(u32);

impl PauseLengths {
    pub fn new() -> PauseLengths {
        PauseLengths(12345)
    }

    pub fn next_ns(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1664525).wrapping_add(1013904223);
        (self.0 >> 16) as f64 * (100_000.0 / 65536.0)
    }
}

/// xorshift is a step of it; each operation waits for the one before.
pub fn xorshift(state: &mut u32) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
}

pub fn spin_for(ns: f64) {
    let until = now_ns() + ns;
    while now_ns() < until {}
}

/// status is a field of /proc/self/status: kilobytes as bytes, else the number itself.
pub fn status(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find(|l| l.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')));
    let mut words = line.unwrap_or_else(|| panic!("/proc/self/status tells no {field}")).split_whitespace().skip(1);
    let number: f64 = words.next().and_then(|w| w.parse().ok()).expect("a number in /proc/self/status");
    if words.next() == Some("kB") { number * 1024.0 } else { number }
}

/// memory gives back what the allocator holds, and returns VmRSS and VmPTE in bytes.
pub fn memory() -> (f64, f64) {
    unsafe { libc::malloc_trim(0) };
    (status("VmRSS"), status("VmPTE"))
}
