//! page_faults: see workloads/page_faults.cpp. Tokio doesn't know that an access waits for the device, so the tasks
//! touch the pages on the workers. The key `spawn_blocking` and the pages with it are of a program that does know: each
//! 16 pages are touched under spawn_blocking, in a runtime of its own.

use crate::blocking::both_compute;
use crate::figures::*;
use crate::files::{BLOCK, UncachedFile};
use crate::threads::ThreadPeak;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::task::{spawn_blocking, yield_now};

const WORKERS: usize = 2;
const WALKERS: usize = 64;
const PAGES_AT_A_TIME: usize = 16; // then a walker yields

/// MappedFile is an uncached file in memory. Each touch of one of its pages waits for the device.
struct MappedFile {
    file: Arc<UncachedFile>,
    pages: *mut u8,
}

// It is only read.
unsafe impl Send for MappedFile {}
unsafe impl Sync for MappedFile {}

impl MappedFile {
    fn of_mib(mib: u32) -> Arc<MappedFile> {
        let file = UncachedFile::of_mib(mib);
        let (size, fd) = (file.blocks as usize * BLOCK, file.file.as_raw_fd());
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        assert_ne!(pages, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        unsafe { libc::madvise(pages, size, libc::MADV_RANDOM) }; // or the kernel would read ahead
        Arc::new(MappedFile { file, pages: pages.cast() })
    }

    fn touch(&self, number: usize) {
        assert!(number < self.file.blocks as usize);
        let found = unsafe { self.pages.add(number * BLOCK).cast::<u32>().read_volatile() };
        assert_eq!(found, number as u32, "another page of the file");
    }

    /// drop_pages makes pages that were touched cold again.
    fn drop_pages(&self, first: usize, count: usize) {
        unsafe { libc::madvise(self.pages.add(first * BLOCK).cast(), count * BLOCK, libc::MADV_DONTNEED) };
        self.file.forget((first * BLOCK) as u64, count * BLOCK);
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.pages.cast(), self.file.blocks as usize * BLOCK) };
    }
}

/// Walker goes over its part of the file. Should it come to the end, it drops that part and starts anew.
struct Walker {
    file: Arc<MappedFile>,
    begin: usize,
    end: usize,
    next: usize,
}

impl Walker {
    fn new(file: Arc<MappedFile>, number: usize) -> Walker {
        let each = file.file.blocks as usize / WALKERS;
        let begin = number * each;
        Walker { file, begin, end: begin + each, next: begin }
    }

    fn step(&mut self) {
        for page in self.next..self.next + PAGES_AT_A_TIME {
            self.file.touch(page);
        }
        self.next += PAGES_AT_A_TIME;
        if self.next == self.end {
            self.file.drop_pages(self.begin, self.end - self.begin);
            self.next = self.begin;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    OnWorkers,
    SpawnBlocking,
}

async fn walk(way: Way, mut walker: Walker, stop: Arc<AtomicBool>, pages: Arc<AtomicUsize>) {
    while !stop.load(Relaxed) {
        if way == Way::OnWorkers {
            walker.step();
            yield_now().await;
        } else {
            walker = spawn_blocking(move || {
                walker.step();
                walker
            })
            .await
            .unwrap();
        }
        pages.fetch_add(PAGES_AT_A_TIME, Relaxed);
    }
}

/// beside_walkers returns the steps beside the walkers in per cent of those without, and the pages touched, by the second.
async fn beside_walkers(way: Way, length_ns: f64, mib: u32) -> (f64, f64) {
    let file = MappedFile::of_mib(mib);
    let alone = both_compute(length_ns).await;
    let stop = Arc::new(AtomicBool::new(false));
    let pages = Arc::new(AtomicUsize::new(0));
    let walkers: Vec<_> = (0..WALKERS)
        .map(|i| tokio::spawn(walk(way, Walker::new(file.clone(), i), stop.clone(), pages.clone())))
        .collect();
    let beside = both_compute(length_ns).await;
    let touched = pages.load(Relaxed) as f64;
    stop.store(true, Relaxed);
    for walker in walkers {
        walker.await.unwrap();
    }
    (beside / alone * 100.0, touched * 1e9 / length_ns)
}

pub fn page_faults(s: Settings) -> Vec<Figure> {
    let (length_ns, mib) = if s.quick { (100e6, 64) } else { (300e6, 256) };
    let peak = ThreadPeak::watch();
    let (value, pages) = on_runtime(WORKERS, beside_walkers(Way::OnWorkers, length_ns, mib));
    let threads = peak.end();
    let (elsewhere, pages_elsewhere) = on_runtime(WORKERS, beside_walkers(Way::SpawnBlocking, length_ns, mib));
    let extra = vec![
        ("pages_per_s", pages),
        ("threads", threads),
        ("spawn_blocking", elsewhere),
        ("spawn_blocking_pages_per_s", pages_elsewhere),
    ];
    vec![Figure::new("page_faults", WORKERS, value, "%", extra)]
}
