//! chan_*, select2: see workloads/channels.cpp and workloads/select.cpp. Tokio has no channel without a buffer; the
//! smallest holds one item.

use crate::figures::check_sum;
use tokio::sync::mpsc;

const CAPACITY: usize = 128;

pub async fn round_trips(n: usize) {
    let (there, mut there_end) = mpsc::channel(1);
    let (back, mut back_end) = mpsc::channel(1);
    let echo = tokio::spawn(async move {
        while let Some(v) = there_end.recv().await {
            back.send(v).await.unwrap();
        }
    });
    let mut sum = 0;
    for i in 0..n {
        there.send(i as i64).await.unwrap();
        sum += back_end.recv().await.unwrap();
    }
    drop(there);
    echo.await.unwrap();
    check_sum(sum, n);
}

pub async fn produce_and_consume(n: usize) {
    let (sender, mut items) = mpsc::channel(CAPACITY);
    let producer = tokio::spawn(async move {
        for i in 0..n {
            sender.send(i as i64).await.unwrap();
        }
    });
    let mut sum = 0;
    while let Some(v) = items.recv().await {
        sum += v;
    }
    producer.await.unwrap();
    check_sum(sum, n);
}

pub async fn select_items(n: usize) {
    let (to_a, mut a) = mpsc::channel(CAPACITY);
    let (to_b, mut b) = mpsc::channel(CAPACITY);
    let producer = tokio::spawn(async move {
        for i in (0..n).step_by(2) {
            to_a.send(i as i64).await.unwrap();
            to_b.send(i as i64 + 1).await.unwrap();
        }
    });
    let mut sum = 0;
    for _ in 0..n {
        tokio::select! {
            Some(v) = a.recv() => sum += v,
            Some(v) = b.recv() => sum += v,
        }
    }
    producer.await.unwrap();
    check_sum(sum, n);
}
