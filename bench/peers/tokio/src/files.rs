//! Real calls that block: file_reads and getaddrinfo. As in blocking.rs the value is that of spawn_blocking; the other
//! way, in a runtime of its own, is the key `block_in_place`.
//!
//!   file_reads    1,000 tasks read random blocks of 4 KiB, by pread, of a file of 256 MiB (--quick: 64) that the page
//!                 cache does not hold: it is dropped after it was written, and each block once more before its read,
//!                 in a call of its own. The time of all divided by the number of reads; p99_us is of a single read,
//!                 the wait for a thread included.
//!   getaddrinfo   200 tasks look up "localhost" 5 times; the time of all divided by the number of calls. Tokio's
//!                 lookup_host is getaddrinfo under spawn_blocking.

use crate::blocking::Way;
use crate::figures::*;
use crate::threads::ThreadPeak;
use std::fs::File;
use std::io::Write;
use std::net::ToSocketAddrs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const WORKERS: usize = 2;
pub const BLOCK: usize = 4096;

/// UncachedFile has no name, so that it goes with the process, however that ends. Each block starts with its number.
pub struct UncachedFile {
    pub file: File,
    pub blocks: u32,
}

impl UncachedFile {
    pub fn of_mib(mib: u32) -> Arc<UncachedFile> {
        let path = std::env::temp_dir().join(format!("handoff_bench_tokio.{}", std::process::id()));
        let mut file = done(&path, File::options().read(true).write(true).create_new(true).open(&path));
        done(&path, std::fs::remove_file(&path));
        const PER_MIB: u32 = 1024 * 1024 / BLOCK as u32;
        let mut piece = vec![0; 1024 * 1024];
        for first in (0..mib * PER_MIB).step_by(PER_MIB as usize) {
            for (number, block) in (first..).zip(piece.chunks_exact_mut(BLOCK)) {
                block[..4].copy_from_slice(&number.to_ne_bytes());
            }
            done(&path, file.write_all(&piece));
        }
        done(&path, file.sync_all());
        let uncached = UncachedFile { file, blocks: mib * PER_MIB };
        uncached.forget(0, 0);
        Arc::new(uncached)
    }

    fn forget_block(&self, number: u32) {
        self.forget(offset_of(number), BLOCK);
    }

    /// forget drops a range from the page cache; a length of 0 reaches to the end.
    pub fn forget(&self, offset: u64, length: usize) {
        let (offset, length) = (offset as libc::off_t, length as libc::off_t);
        let error = unsafe { libc::posix_fadvise(self.file.as_raw_fd(), offset, length, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(error, 0, "posix_fadvise: {}", std::io::Error::from_raw_os_error(error));
    }

    fn read_block(&self, number: u32) {
        let mut block = [0; BLOCK];
        self.file.read_exact_at(&mut block, offset_of(number)).expect("pread");
        assert_eq!(block[..4], number.to_ne_bytes(), "another block of the file was read");
    }
}

/// done is what was returned, or ends the program with a word on the file.
fn done<T>(path: &Path, result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn offset_of(number: u32) -> u64 {
    number as u64 * BLOCK as u64
}

/// read_blocks returns each read's time, in ns, and the time of all divided by their number, in µs.
async fn read_blocks(way: Way, file: Arc<UncachedFile>, reads_each: usize) -> (Vec<f64>, f64) {
    let mut state = 1;
    let start = now_ns();
    let readers: Vec<_> = (0..1000)
        .map(|_| {
            let blocks: Vec<u32> = (0..reads_each)
                .map(|_| {
                    xorshift(&mut state);
                    state % file.blocks
                })
                .collect();
            let file = file.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for block in blocks {
                    let (to_forget, to_read) = (file.clone(), file.clone());
                    way.call(move || to_forget.forget_block(block)).await;
                    let before = now_ns();
                    way.call(move || to_read.read_block(block)).await;
                    times.push(now_ns() - before);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await.unwrap());
    }
    let each_us = (now_ns() - start) * 1e-3 / times.len() as f64;
    (times, each_us)
}

pub fn file_reads(s: Settings) -> Vec<Figure> {
    let (mib, reads_each) = if s.quick { (64, 1) } else { (256, 4) };
    let file = UncachedFile::of_mib(mib);
    let peak = ThreadPeak::watch();
    let (times, each_us) = on_runtime(WORKERS, read_blocks(Way::SpawnBlocking, file.clone(), reads_each));
    let threads = peak.end();
    let (_, in_place) = on_runtime(WORKERS, read_blocks(Way::BlockInPlace, file, reads_each));
    let extra = vec![("threads", threads), ("p99_us", quantile(&times, 0.99) * 1e-3), ("block_in_place", in_place)];
    vec![Figure::new("file_reads", WORKERS, each_us, "µs", extra)]
}

// ---- getaddrinfo

const NAME: (&str, u16) = ("localhost", 80);

async fn look_up(way: Way) {
    let count = match way {
        Way::SpawnBlocking => tokio::net::lookup_host(NAME).await.expect("localhost").count(),
        Way::BlockInPlace => way.call(|| NAME.to_socket_addrs().expect("localhost").count()).await,
    };
    assert!(count > 0, "localhost has no address");
}

async fn look_ups(way: Way) -> f64 {
    const TASKS: usize = 200;
    const CALLS: usize = 5;
    let start = now_ns();
    let all: Vec<_> = (0..TASKS)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    look_up(way).await;
                }
            })
        })
        .collect();
    for task in all {
        task.await.unwrap();
    }
    (now_ns() - start) * 1e-3 / (TASKS * CALLS) as f64
}

/// look_ups_over_rounds throws the first round away, in which the resolver reads its configuration.
async fn look_ups_over_rounds(way: Way, rounds: usize) -> Vec<f64> {
    let mut samples = Vec::new();
    look_ups(way).await;
    for _ in 0..rounds {
        samples.push(look_ups(way).await);
    }
    samples
}

pub fn getaddrinfo(s: Settings) -> Vec<Figure> {
    let rounds = if s.quick { 3 } else { 5 };
    let peak = ThreadPeak::watch();
    let samples = on_runtime(WORKERS, look_ups_over_rounds(Way::SpawnBlocking, rounds));
    let mut extra = spread_of(&samples);
    extra.push(("threads", peak.end()));
    let in_place = on_runtime(WORKERS, look_ups_over_rounds(Way::BlockInPlace, rounds));
    extra.push(("block_in_place", median(&in_place)));
    vec![Figure::new("getaddrinfo", WORKERS, median(&samples), "µs", extra)]
}
