//! The workloads of handoff_bench in Tokio, of the same shape and size: see workloads/figures.hpp for the rules, and
//! the .cpp file of each workload there for what is timed; blocking.rs, echo.rs, faults.rs, files.rs and scale.rs say
//! where Tokio differs.
//!
//! The runtime is the multi-threaded one, with its drivers, as `#[tokio::main]` makes it, and with one worker or two.
//! What is timed runs in a task, on a worker.

mod blocking;
mod channels;
mod echo;
mod faults;
mod figures;
mod files;
mod locks;
mod scale;
mod tasks;
mod threads;

use blocking::Storm;
use echo::Echo;
use figures::{Figure, Settings, operations_on, rounds_on};
use std::process::exit;

/// measure returns the figures of a workload, or nothing if there is no such workload. `client` is the path of
/// handoff_bench, which is the client of the workloads echo_*.
fn measure(work: &str, s: Settings, client: &str) -> Option<Vec<Figure>> {
    Some(match work {
        "yield" => operations_on(1, "yield", s, 1_000_000, tasks::yield_pair),
        "spawn" => operations_on(1, "spawn", s, tasks::SPAWN_BATCH * 4096, tasks::spawn_batches),
        "chan_unbuffered" => operations_on(1, "chan_unbuffered", s, 250_000, channels::round_trips),
        "chan_buffered" => operations_on(1, "chan_buffered", s, 1_000_000, channels::produce_and_consume),
        "chan_buffered_2p" => operations_on(2, "chan_buffered_2p", s, 1_000_000, channels::produce_and_consume),
        "select2" => operations_on(1, "select2", s, 400_000, channels::select_items),
        "mutex_uncontended" => operations_on(1, "mutex_uncontended", s, 4_000_000, locks::lock_pairs),
        "mutex_contended" => operations_on(2, "mutex_contended", s, 2_000_000, locks::contend),
        "rwmutex_read" => operations_on(1, "rwmutex_read", s, 4_000_000, locks::read_lock_pairs),
        "wait_group" => operations_on(1, "wait_group", s, 400_000, tasks::wait_for_batches),
        "skynet" => rounds_on(2, "skynet", s, tasks::skynet),
        "sleep_100k" => rounds_on(2, "sleep_100k", s, tasks::sleep_all),
        "fib" => rounds_on(2, "fib", s, move || tasks::check_fib(if s.quick { 20 } else { 24 })),
        "nqueens" => rounds_on(2, "nqueens", s, move || {
            let (size, solutions) = if s.quick { (8, 92) } else { (10, 724) };
            tasks::check_queens(size, solutions)
        }),
        "handoff_immediate" => blocking::handoff_immediate(s),
        "handoff_cold_immediate" => blocking::handoff_cold(s),
        "handoff_parked_immediate" => blocking::handoff_parked(s),
        "handoff_warm_immediate" => blocking::handoff_warm(s),
        "blocking_storm" | "blocking_storm_warm" => blocking::storms("blocking_storm", Storm::USUAL),
        "blocking_storm_busy" => blocking::blocking_storm_busy(),
        "storm_10000x100us" => blocking::storms("storm_10000x100us", Storm { tasks: 10_000, sleep_ns: 100_000 }),
        "storm_100x50ms" => blocking::storms("storm_100x50ms", Storm { tasks: 100, sleep_ns: 50_000_000 }),
        "unguarded_storm" => blocking::storms("unguarded_storm", Storm::USUAL),
        "page_faults" => faults::page_faults(s),
        "compute_beside_blocking" => blocking::compute_beside_blocking(s),
        "call_not_blocking" => blocking::call_not_blocking(s),
        "recovery" => blocking::recovery(s),
        "file_reads" => files::file_reads(s),
        "getaddrinfo" => files::getaddrinfo(s),
        "echo_blocking_50" => echo::blocking(s, Echo::with_pauses("echo_blocking_50", 50), client),
        "echo_blocking_500" => echo::blocking(s, Echo::with_pauses("echo_blocking_500", 500), client),
        "echo_net_50" => echo::net(s, Echo::with_pauses("echo_net_50", 50), client),
        "echo_net_500" => echo::net(s, Echo::with_pauses("echo_net_500", 500), client),
        "echo_1" => echo::closed(s, "echo_1", "echo_1_1p", 1, client),
        "echo_64" => echo::closed(s, "echo_64", "echo_64_1p", 64, client),
        "echo_1000" => echo::closed(s, "echo_1000", "echo_1000_1p", 1000, client),
        "parked_memory" | "parked_page_tables" => scale::parked_memory(s),
        "scale_parked" => scale::scale_parked(s),
        "scale_ready" => scale::scale_ready(s),
        "scale_sleeping" => scale::scale_sleeping(s),
        _ => return None,
    })
}

fn complain(what: &str) -> ! {
    eprintln!("handoff_bench_tokio: {what}");
    eprintln!("usage: handoff_bench_tokio --work NAME [--quick] [--goroutines N] [--client PATH]");
    exit(2)
}

fn main() {
    let mut s = Settings { quick: false, goroutines: 0 };
    let mut work = String::new();
    let mut client = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| complain(&format!("{argument} wants a value")));
        match argument.as_str() {
            "--quick" => s.quick = true,
            "--work" => work = value(),
            "--client" => client = value(),
            "--goroutines" => {
                let text = value();
                match text.parse() {
                    Ok(n) if n > 0 => s.goroutines = n,
                    _ => complain(&format!("--goroutines: not a number above 0: {text}")),
                }
            }
            _ => complain(&format!("unknown argument {argument}")),
        }
    }
    match measure(&work, s, &client) {
        Some(figures) => figures.iter().for_each(Figure::print),
        None => complain(&format!("no workload '{work}'")),
    }
}
