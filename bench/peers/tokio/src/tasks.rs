//! Tasks that start, yield, sleep and end: yield, spawn, wait_group, skynet, sleep_100k, fib, nqueens.

use crate::figures::check_sum;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

// ---- yield: see workloads/yield.cpp.

pub async fn yield_pair(n: usize) {
    let half = move || async move {
        for _ in 0..n / 2 {
            yield_now().await;
        }
    };
    let (a, b) = (tokio::spawn(half()), tokio::spawn(half()));
    a.await.unwrap();
    b.await.unwrap();
}

// ---- spawn: see workloads/spawn.cpp.

pub const SPAWN_BATCH: usize = 128;

pub async fn spawn_batches(n: usize) {
    let done = Arc::new(AtomicUsize::new(0));
    let mut started = 0;
    while started < n {
        for _ in 0..SPAWN_BATCH {
            let done = done.clone();
            tokio::spawn(async move {
                done.fetch_add(1, Relaxed);
            });
        }
        started += SPAWN_BATCH;
        while done.load(Relaxed) < started {
            yield_now().await;
        }
    }
}

// ---- wait_group: see workloads/wait_group.cpp. What Tokio has for it is the JoinSet.

pub async fn wait_for_batches(n: usize) {
    const BATCH: usize = 1000;
    let mut all = JoinSet::new();
    for _ in (0..n).step_by(BATCH) {
        for _ in 0..BATCH {
            all.spawn(async {});
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
    }
}

// ---- skynet: see workloads/skynet.cpp.

fn skynet_node(to: mpsc::Sender<i64>, number: i64, leaves: i64) -> Boxed<()> {
    Box::pin(async move {
        if leaves == 1 {
            to.send(number).await.unwrap();
            return;
        }
        let (sender, mut from) = mpsc::channel(10);
        for i in 0..10 {
            tokio::spawn(skynet_node(sender.clone(), number + i * (leaves / 10), leaves / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += from.recv().await.unwrap();
        }
        to.send(sum).await.unwrap();
    })
}

pub async fn skynet() {
    const LEAVES: usize = 1_000_000;
    let (sender, mut result) = mpsc::channel(1);
    tokio::spawn(skynet_node(sender, 0, LEAVES as i64));
    check_sum(result.recv().await.unwrap(), LEAVES);
}

// ---- sleep_100k: see workloads/timers.cpp.

pub async fn sleep_all() {
    let all: Vec<_> =
        (0..100_000).map(|_| tokio::spawn(async { tokio::time::sleep(Duration::from_millis(1)).await })).collect();
    for task in all {
        task.await.unwrap();
    }
}

// ---- fib: each call with n >= 2 starts fib(n - 1) as a task, computes fib(n - 2) itself, and joins.

fn fib(n: u32) -> Boxed<u64> {
    Box::pin(async move {
        if n < 2 {
            return n as u64;
        }
        let other = tokio::spawn(fib(n - 1));
        let own = fib(n - 2).await;
        own + other.await.unwrap()
    })
}

pub async fn check_fib(n: u32) {
    let expected = (0..n).fold((0u64, 1u64), |(a, b), _| (b, a + b)).0;
    assert_eq!(tokio::spawn(fib(n)).await.unwrap(), expected, "fib({n})");
}

// ---- nqueens: each placement in the first rows is a task that its parent row starts; below, it is sequential.

const PARALLEL_ROWS: u32 = 4;

#[derive(Clone, Copy)]
struct Board {
    size: u32,
    row: u32,
    columns: u32,
    left: u32, // the diagonals, as they meet this row
    right: u32,
}

impl Board {
    /// placements is the boards with a queen more, in the next row.
    fn placements(self) -> impl Iterator<Item = Board> {
        let free = !(self.columns | self.left | self.right) & ((1 << self.size) - 1);
        (0..self.size).map(|i| 1 << i).filter(move |queen| free & queen != 0).map(move |queen| Board {
            size: self.size,
            row: self.row + 1,
            columns: self.columns | queen,
            left: (self.left | queen) << 1,
            right: (self.right | queen) >> 1,
        })
    }

    fn solutions(self) -> u32 {
        if self.row == self.size { 1 } else { self.placements().map(Board::solutions).sum() }
    }
}

fn count_in_parallel(board: Board) -> Boxed<u32> {
    Box::pin(async move {
        if board.row == PARALLEL_ROWS {
            return board.solutions();
        }
        let tasks: Vec<_> = board.placements().map(|b| tokio::spawn(count_in_parallel(b))).collect();
        let mut solutions = 0;
        for task in tasks {
            solutions += task.await.unwrap();
        }
        solutions
    })
}

pub async fn check_queens(size: u32, expected: u32) {
    let solutions = count_in_parallel(Board { size, row: 0, columns: 0, left: 0, right: 0 }).await;
    assert_eq!(solutions, expected, "{size} queens");
}
