//! How many threads the process has, and the most that it had.

use crate::figures::status;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

pub fn threads() -> f64 {
    status("Threads")
}

/// ThreadPeak is a thread that counts the others of the process, every millisecond.
pub struct ThreadPeak {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<f64>,
}

impl ThreadPeak {
    pub fn watch() -> ThreadPeak {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watcher = spawn(move || {
            let mut most: f64 = 0.0;
            while !stopped.load(Relaxed) {
                most = most.max(threads() - 1.0);
                sleep(Duration::from_millis(1));
            }
            most
        });
        ThreadPeak { stop, watcher }
    }

    /// end counts once more, and returns the most.
    pub fn end(self) -> f64 {
        let at_end = threads() - 1.0;
        self.stop.store(true, Relaxed);
        self.watcher.join().expect("the thread that counts").max(at_end)
    }
}
