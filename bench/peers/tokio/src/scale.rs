//! Cost as the number of tasks grows: parked_memory and scale_*, on two workers.
//!
//!   parked_memory    see workloads/parked_memory.cpp; the tasks wait on a semaphore, which is closed at the end
//!   scale_parked     N tasks wait on a semaphore without permits; when all have come to it, N permits are added. From
//!                    the first spawn until all have ended, divided by N, the median of several rounds;
//!                    `bytes` is VmRSS's growth a task in one more before them
//!   scale_ready      N tasks yield 3 times and end
//!   scale_sleeping   N tasks sleep; until all have ended, less one sleep's length, divided by N
//!
//! N = --goroutines. How often what is repeated: see workloads/scale.hpp.

use crate::figures::*;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

const WORKERS: usize = 2;

/// start_all starts n tasks, and yields each time that they could fill half of a worker's queue.
async fn start_all<F: Future<Output = ()> + Send + 'static>(n: usize, task: impl Fn() -> F) -> Vec<JoinHandle<()>> {
    let mut all = Vec::with_capacity(n);
    for i in 0..n {
        all.push(tokio::spawn(task()));
        if i % 128 == 127 {
            yield_now().await;
        }
    }
    all
}

async fn join_all(all: Vec<JoinHandle<()>>) {
    for task in all {
        task.await.unwrap();
    }
}

// ---- parked_memory

pub fn parked_memory(s: Settings) -> Vec<Figure> {
    let n = match s {
        Settings { goroutines: 0, quick: true } => 200_000,
        Settings { goroutines: 0, quick: false } => 1_000_000,
        _ => s.goroutines,
    };
    let (resident, tables) = on_runtime(WORKERS, async move {
        tokio::spawn(async {}).await.unwrap(); // warm-up
        let about_to_park = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));

        let before = memory();
        for i in 0..n {
            let (about_to_park, ended, gate) = (about_to_park.clone(), ended.clone(), gate.clone());
            tokio::spawn(async move {
                about_to_park.fetch_add(1, Relaxed);
                assert!(gate.acquire().await.is_err());
                ended.fetch_add(1, Relaxed);
            });
            if i % 128 == 127 {
                yield_now().await;
            }
        }
        while about_to_park.load(Relaxed) < n {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(100)).await; // for those between the count and the park
        let after = memory();
        gate.close();
        while ended.load(Relaxed) < n {
            sleep(Duration::from_millis(1)).await;
        }
        (after.0 - before.0, after.1 - before.1)
    });
    let each = n as f64;
    vec![
        Figure::new("parked_memory", WORKERS, resident / each, "B", vec![("goroutines", each)]),
        Figure::new("parked_page_tables", WORKERS, tables / each, "B", vec![("goroutines", each)]),
    ]
}

// ---- scale_*

fn sample_count(s: Settings, n: usize) -> usize {
    let most = if s.quick { 200_000 } else { 1_000_000 };
    (most / n).clamp(1, s.samples())
}

fn repetitions(s: Settings, n: usize) -> usize {
    (if s.quick { 2_500 } else { 10_000 } / n).max(1)
}

fn goroutines(s: Settings) -> usize {
    if s.goroutines > 0 { s.goroutines } else { 1000 }
}

/// scale_figure repeats once(), which returns the nanoseconds that count, and divides by n. Who calls it has warmed up.
async fn scale_figure<F: Future<Output = f64> + Send>(
    s: Settings,
    work: &'static str,
    n: usize,
    repetitions: usize,
    once: impl Fn() -> F,
) -> Figure {
    let mut samples = Vec::new();
    for _ in 0..sample_count(s, n) {
        let mut ns = 0.0;
        for _ in 0..repetitions {
            ns += once().await;
        }
        samples.push(ns / (repetitions * n) as f64);
    }
    let mut extra = spread_of(&samples);
    extra.push(("goroutines", n as f64));
    Figure::new(work, WORKERS, median(&samples), "ns", extra)
}

/// park_and_wake returns the nanoseconds that it took, and the resident bytes when all were parked, if those are asked
/// for. (Then the time tells little.)
async fn park_and_wake(n: usize, read_memory: bool) -> (f64, f64) {
    let gate = Arc::new(Semaphore::new(0));
    let about_to_park = Arc::new(AtomicUsize::new(0));
    let start = now_ns();
    let all = start_all(n, || {
        let (gate, about_to_park) = (gate.clone(), about_to_park.clone());
        async move {
            about_to_park.fetch_add(1, Relaxed);
            gate.acquire().await.unwrap().forget();
        }
    })
    .await;
    while about_to_park.load(Relaxed) < n {
        yield_now().await;
    }
    let resident = if read_memory {
        sleep(Duration::from_millis(10)).await; // for those between the count and the park
        memory().0
    } else {
        0.0
    };
    gate.add_permits(n);
    join_all(all).await;
    (now_ns() - start, resident)
}

pub fn scale_parked(s: Settings) -> Vec<Figure> {
    on_runtime(WORKERS, async move {
        let n = goroutines(s);
        tokio::spawn(async {}).await.unwrap();
        let before = memory().0;
        let (_, at_height) = park_and_wake(n, true).await;
        let once = move || async move { park_and_wake(n, false).await.0 };
        let mut figure = scale_figure(s, "scale_parked", n, repetitions(s, n), once).await;
        figure.extra.push(("bytes", (at_height - before) / n as f64));
        vec![figure]
    })
}

async fn yield_thrice() {
    for _ in 0..3 {
        yield_now().await;
    }
}

pub fn scale_ready(s: Settings) -> Vec<Figure> {
    on_runtime(WORKERS, async move {
        let n = goroutines(s);
        let once = move || async move {
            let start = now_ns();
            join_all((0..n).map(|_| tokio::spawn(yield_thrice())).collect()).await;
            now_ns() - start
        };
        once().await; // warm-up
        vec![scale_figure(s, "scale_ready", n, repetitions(s, n), once).await]
    })
}

pub fn scale_sleeping(s: Settings) -> Vec<Figure> {
    on_runtime(WORKERS, async move {
        let n = goroutines(s);
        let length = Duration::from_millis(match n {
            0..=1_000 => 1,
            1_001..=100_000 => 10,
            _ => 100,
        });
        let once = move || async move {
            let start = now_ns();
            join_all((0..n).map(|_| tokio::spawn(sleep(length))).collect()).await;
            now_ns() - start - length.as_nanos() as f64
        };
        once().await; // warm-up
        let repetitions = repetitions(s, n).min(10); // each takes a sleep's length at least
        vec![scale_figure(s, "scale_sleeping", n, repetitions, once).await]
    })
}
