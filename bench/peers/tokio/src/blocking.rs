//! Calls that block. Tokio has two ways for them: spawn_blocking runs the call on a thread of another pool and the task
//! awaits it; block_in_place runs it on the worker's own thread, whose other tasks go to another thread first.
//!
//! What blocks outright is given to spawn_blocking, as Tokio's documentation advises: it is the value of all workloads
//! here but handoff_* and call_not_blocking, which ask what happens to the worker. The other way is the key
//! `block_in_place`, measured after it in a runtime of its own. The pool is left at its default of 512 threads.
//!
//!   handoff_*_immediate      see workloads/handoff_latency.cpp: from just before the task's block_in_place, in which it
//!                            reads from an empty pipe, until the next task of the only worker runs. Without an infix,
//!                            the task computes for 0 to 100 µs between rounds; `cold`: each round in a new runtime, a
//!                            thread has to be created; `parked`: it computes for 2 ms; `warm`: rounds back to back.
//!   blocking_storm, storm_*, unguarded_storm (there is no guard to leave out)
//!                            from the first spawn until all tasks are joined; `threads` is the most that the process
//!                            had, looked at each ms, `warm` a second storm
//!   compute_beside_blocking  two tasks compute, in slices of some 20 µs between which they yield, beside 64 that call
//!                            nanosleep for 1 ms over and over; the steps done, in per cent of those with no other task
//!   call_not_blocking        block_in_place(getppid), and the yield that brings the task back to a worker, less
//!                            getppid and a yield; `spawn_blocking` is awaiting spawn_blocking(getppid) less getppid
//!   recovery                 after 1,000 x 1 ms, until the threads are gone. Tokio keeps them for 10 s.

use crate::figures::*;
use crate::threads::{ThreadPeak, threads};
use std::future::Future;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::{block_in_place, spawn_blocking, yield_now};

const WORKERS: usize = 2;

#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    SpawnBlocking,
    BlockInPlace,
}

impl Way {
    pub async fn call<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Way::SpawnBlocking => spawn_blocking(f).await.unwrap(),
            Way::BlockInPlace => block_in_place(f),
        }
    }
}

/// nanosleep blocks its thread. (It is not interrupted here: nobody sends signals.)
fn nanosleep(ns: i64) {
    let length = libc::timespec { tv_sec: 0, tv_nsec: ns };
    unsafe { libc::nanosleep(&length, std::ptr::null_mut()) };
}

// ---- handoff_*

struct Pipe {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

impl Pipe {
    fn new() -> Arc<Pipe> {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        Arc::new(Pipe { reader, writer })
    }
}

/// handoff_round returns how long the worker's tasks had no thread; below 0: the other task came first.
async fn handoff_round(pipe: Arc<Pipe>) -> f64 {
    let pipe_of_other = pipe.clone();
    let other = tokio::spawn(async move {
        let first_step = now_ns();
        (&pipe_of_other.writer).write_all(&[0]).expect("a byte written");
        first_step
    });
    let before_call = now_ns();
    block_in_place(|| (&pipe.reader).read_exact(&mut [0]).expect("a byte read"));
    let idle = other.await.unwrap() - before_call;
    yield_now().await; // what has been moved aside comes back to the worker
    idle
}

/// rounds lets `count` rounds succeed, and computes between them for as long as pause() says.
async fn rounds(pipe: &Arc<Pipe>, count: usize, mut pause: impl FnMut() -> f64) -> Vec<f64> {
    let mut samples = Vec::new();
    while samples.len() < count {
        spin_for(pause());
        let idle = handoff_round(pipe.clone()).await;
        if idle >= 0.0 {
            samples.push(idle);
        }
    }
    samples
}

fn handoff_figure(work: &'static str, samples: &[f64]) -> Figure {
    Figure::new(work, 1, median(samples), "ns", spread_of(samples))
}

pub fn handoff_immediate(s: Settings) -> Vec<Figure> {
    let count = if s.quick { 500 } else { 2000 };
    on_runtime(1, async move {
        let pipe = Pipe::new();
        let mut pauses = PauseLengths::new();
        rounds(&pipe, 100, || 0.0).await; // warm-up
        let spaced = rounds(&pipe, count, || pauses.next_ns()).await;
        let back_to_back = rounds(&pipe, count / 2, || 0.0).await;
        let mut figure = handoff_figure("handoff_immediate", &spaced);
        figure.extra.push(("back_to_back", median(&back_to_back)));
        vec![figure]
    })
}

pub fn handoff_cold(s: Settings) -> Vec<Figure> {
    let pipe = Pipe::new();
    let mut samples = Vec::new();
    while samples.len() < if s.quick { 40 } else { 200 } {
        let idle = on_runtime(1, handoff_round(pipe.clone()));
        if idle >= 0.0 {
            samples.push(idle);
        }
    }
    vec![handoff_figure("handoff_cold_immediate", &samples)]
}

pub fn handoff_parked(s: Settings) -> Vec<Figure> {
    on_runtime(1, async move {
        let samples = rounds(&Pipe::new(), if s.quick { 100 } else { 500 }, || 2e6).await;
        vec![handoff_figure("handoff_parked_immediate", &samples)]
    })
}

pub fn handoff_warm(s: Settings) -> Vec<Figure> {
    on_runtime(1, async move {
        let pipe = Pipe::new();
        rounds(&pipe, 100, || 0.0).await; // warm-up
        let samples = rounds(&pipe, if s.quick { 500 } else { 2000 }, || 0.0).await;
        vec![handoff_figure("handoff_warm_immediate", &samples)]
    })
}

// ---- blocking_storm, storm_*

#[derive(Clone, Copy, PartialEq)]
pub struct Storm {
    pub tasks: usize,
    pub sleep_ns: i64,
}

/// Passes is what two storms in a new runtime took, in ms, and the most threads.
struct Passes {
    first: f64,
    second: f64,
    threads: f64,
}

impl Storm {
    pub const USUAL: Storm = Storm { tasks: 1000, sleep_ns: 1_000_000 };

    async fn pass(self, way: Way) -> f64 {
        let start = now_ns();
        let all: Vec<_> = (0..self.tasks)
            .map(|_| tokio::spawn(async move { way.call(move || nanosleep(self.sleep_ns)).await }))
            .collect();
        for task in all {
            task.await.unwrap();
        }
        (now_ns() - start) * 1e-6
    }

    fn twice(self, way: Way) -> Passes {
        let peak = ThreadPeak::watch();
        let (first, second) = on_runtime(WORKERS, async move { (self.pass(way).await, self.pass(way).await) });
        Passes { first, second, threads: peak.end() }
    }
}

pub fn blocking_storm_busy() -> Vec<Figure> {
    let peak = ThreadPeak::watch();
    let busy = |way| {
        on_runtime(WORKERS, async move {
            spin_for(100e6);
            Storm::USUAL.pass(way).await
        })
    };
    let value = busy(Way::SpawnBlocking);
    let extra = vec![("threads", peak.end()), ("block_in_place", busy(Way::BlockInPlace))];
    vec![Figure::new("blocking_storm_busy", WORKERS, value, "ms", extra)]
}

/// storms returns a figure of that name, and with blocking_storm also blocking_storm_warm.
pub fn storms(work: &'static str, storm: Storm) -> Vec<Figure> {
    let spawned = storm.twice(Way::SpawnBlocking);
    let in_place = storm.twice(Way::BlockInPlace);
    let mut extra = vec![("threads", spawned.threads), ("warm", spawned.second), ("block_in_place", in_place.first)];
    extra.push(("block_in_place_threads", in_place.threads));
    let mut figures = vec![Figure::new(work, WORKERS, spawned.first, "ms", extra)];
    if work == "blocking_storm" {
        let extra = vec![("threads", spawned.threads), ("block_in_place", in_place.second)];
        figures.push(Figure::new("blocking_storm_warm", WORKERS, spawned.second, "ms", extra));
    }
    figures
}

// ---- compute_beside_blocking

async fn compute_until(end: f64) -> u64 {
    const SLICE: u64 = 10_000; // some 20 µs
    let (mut state, mut steps) = (1, 0);
    while now_ns() < end {
        for _ in 0..SLICE {
            xorshift(&mut state);
        }
        std::hint::black_box(state);
        steps += SLICE;
        yield_now().await;
    }
    steps
}

/// both_compute returns the steps that two tasks do in that time.
pub async fn both_compute(length_ns: f64) -> f64 {
    let end = now_ns() + length_ns;
    let (a, b) = (tokio::spawn(compute_until(end)), tokio::spawn(compute_until(end)));
    (a.await.unwrap() + b.await.unwrap()) as f64
}

/// beside_blockers returns the steps beside the blockers in per cent of those without, and the calls meanwhile.
async fn beside_blockers(way: Way, length_ns: f64) -> (f64, f64) {
    both_compute(length_ns / 3.0).await; // warm-up
    let alone = both_compute(length_ns).await;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let blockers: Vec<_> = (0..64)
        .map(|_| {
            let (stop, calls) = (stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    way.call(|| nanosleep(1_000_000)).await;
                    calls.fetch_add(1, Relaxed);
                    if way == Way::BlockInPlace {
                        yield_now().await; // or the loop would keep its thread from the runtime
                    }
                }
            })
        })
        .collect();
    let beside = both_compute(length_ns).await;
    let completed = calls.load(Relaxed) as f64;
    stop.store(true, Relaxed);
    for blocker in blockers {
        blocker.await.unwrap();
    }
    (beside / alone * 100.0, completed)
}

pub fn compute_beside_blocking(s: Settings) -> Vec<Figure> {
    let length_ns = if s.quick { 100e6 } else { 300e6 };
    let peak = ThreadPeak::watch();
    let (value, calls) = on_runtime(WORKERS, beside_blockers(Way::SpawnBlocking, length_ns));
    let threads = peak.end();
    let (in_place, calls_in_place) = on_runtime(WORKERS, beside_blockers(Way::BlockInPlace, length_ns));
    let extra = vec![
        ("blocking_calls", calls),
        ("threads", threads),
        ("block_in_place", in_place),
        ("block_in_place_calls", calls_in_place),
    ];
    vec![Figure::new("compute_beside_blocking", WORKERS, value, "%", extra)]
}

// ---- call_not_blocking

fn getppid() -> i32 {
    unsafe { libc::getppid() }
}

async fn bare_calls(n: usize) {
    for _ in 0..n {
        std::hint::black_box(getppid());
    }
}

async fn bare_calls_and_yields(n: usize) {
    for _ in 0..n {
        std::hint::black_box(getppid());
        yield_now().await;
    }
}

async fn calls_in_place(n: usize) {
    for _ in 0..n {
        block_in_place(|| std::hint::black_box(getppid()));
        yield_now().await;
    }
}

async fn calls_elsewhere(n: usize) {
    for _ in 0..n {
        std::hint::black_box(spawn_blocking(getppid).await.unwrap());
    }
}

/// differences is what a call costs the one way less the other, in turns, a value a sample.
async fn differences<D, C>(s: Settings, dear: impl Fn(usize) -> D, cheap: impl Fn(usize) -> C) -> Vec<f64>
where
    D: Future<Output = ()> + Send,
    C: Future<Output = ()> + Send,
{
    let n = if s.quick { 250 } else { 1000 };
    let mut samples = Vec::new();
    for i in 0..=2 * s.samples() {
        let t0 = now_ns();
        dear(n).await;
        let t1 = now_ns();
        cheap(n).await;
        let t2 = now_ns();
        if i > 0 {
            samples.push(((t1 - t0) - (t2 - t1)) / n as f64); // the first is the warm-up
        }
    }
    samples
}

pub fn call_not_blocking(s: Settings) -> Vec<Figure> {
    let (in_place, elsewhere) = on_runtime(WORKERS, async move {
        (differences(s, calls_in_place, bare_calls_and_yields).await, differences(s, calls_elsewhere, bare_calls).await)
    });
    let mut extra = spread_of(&in_place);
    extra.push(("spawn_blocking", median(&elsewhere)));
    vec![Figure::new("call_not_blocking", WORKERS, median(&in_place), "ns", extra)]
}

// ---- recovery

pub fn recovery(s: Settings) -> Vec<Figure> {
    const MIB: f64 = 1024.0 * 1024.0;
    let cap_ms = if s.quick { 3_000.0 } else { 15_000.0 };
    on_runtime(WORKERS, async move {
        let (threads_before, resident_before) = (threads(), status("VmRSS"));
        let aim = threads_before.max((WORKERS + 3) as f64);
        let peak = ThreadPeak::watch();
        Storm::USUAL.pass(Way::SpawnBlocking).await;
        let start = now_ns();
        let resident_peak = status("VmHWM");
        let threads_peak = peak.end();
        let mut ms = (now_ns() - start) * 1e-6;
        while threads() > aim && ms < cap_ms {
            tokio::time::sleep(Duration::from_millis(5)).await;
            ms = (now_ns() - start) * 1e-6;
        }
        let capped = threads() > aim;
        let extra = vec![
            ("capped", if capped { 1.0 } else { 0.0 }),
            ("threads_before", threads_before),
            ("threads_peak", threads_peak),
            ("threads_after", threads()),
            ("rss_before_mib", resident_before / MIB),
            ("rss_peak_mib", resident_peak / MIB),
            ("rss_after_mib", status("VmRSS") / MIB),
        ];
        vec![Figure::new("recovery", WORKERS, if capped { cap_ms } else { ms }, "ms", extra)]
    })
}
