//! mutex_*, rwmutex_read: see workloads/locks.cpp. The locks are Tokio's own, which a task may hold across an await.

use crate::figures::xorshift;
use std::sync::Arc;
use tokio::sync::{Mutex, RwLock};

pub async fn lock_pairs(n: usize) {
    let mutex = Mutex::new(());
    for _ in 0..n {
        drop(mutex.lock().await);
    }
}

pub async fn read_lock_pairs(n: usize) {
    let lock = RwLock::new(());
    for _ in 0..n {
        drop(lock.read().await);
    }
}

struct Guarded {
    pairs: usize,
    state: u32,
}

async fn step(shared: &Mutex<Guarded>) {
    let mut guarded = shared.lock().await;
    guarded.pairs += 1;
    xorshift(&mut guarded.state);
    xorshift(&mut guarded.state);
}

pub async fn contend(n: usize) {
    const CONTENDERS: usize = 8;
    let shared = Arc::new(Mutex::new(Guarded { pairs: 0, state: 1 }));
    let contenders: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                for _ in 0..n / CONTENDERS {
                    step(&shared).await;
                }
            })
        })
        .collect();
    for contender in contenders {
        contender.await.unwrap();
    }
    assert_eq!(shared.lock().await.pairs, n, "pairs were lost");
}
