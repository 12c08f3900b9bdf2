//! The echo servers: see workloads/echo.cpp, and workloads/echo.hpp for what a server has to do.
//!
//!   echo_blocking_*   std's sockets, which block, and a spawn_blocking for each connection. The pool is left at its
//!                     default of 512 threads, which are enough for all connections.
//!   echo_net_*        Tokio's own sockets, which don't block, and a task for each connection
//!   echo_1, …         the same without pauses

use crate::figures::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio, exit};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

const WORKERS: usize = 2;
const MESSAGE: usize = 64;
const BUFFER: usize = 4096; // of those without pauses

#[derive(Clone, Copy)]
pub struct Echo {
    pub work: &'static str,
    pub connections: usize,
    pub closed: bool,
    pub workers: usize,
}

impl Echo {
    pub const fn with_pauses(work: &'static str, connections: usize) -> Echo {
        Echo { work, connections, closed: false, workers: WORKERS }
    }
}

fn fail(what: &str) -> ! {
    eprintln!("handoff_bench_tokio: {what}");
    exit(1)
}

/// start_client starts the client's process, and a thread that ends with it and has its figures. Its failure is that of
/// this process, so nobody has to wait with a limit.
fn start_client(s: Settings, echo: Echo, listener: &TcpListener, program: &str) -> JoinHandle<Vec<Figure>> {
    if program.is_empty() {
        fail("--client, the path of handoff_bench, is missing");
    }
    let port = listener.local_addr().expect("a port").port();
    let mut command = Command::new(program);
    command.args(["--echo-client", &port.to_string(), &echo.connections.to_string()]);
    if echo.closed {
        command.arg("--closed");
    }
    if s.quick {
        command.arg("--quick");
    }
    let client = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|e| fail(&format!("{program}: {e}")));
    std::thread::spawn(move || {
        let ended = client.wait_with_output().expect("the echo client's end");
        if !ended.status.success() {
            fail(&format!("the echo client: {}", ended.status));
        }
        vec![figure_of(echo, &String::from_utf8_lossy(&ended.stdout))]
    })
}

/// figure_of makes a figure of the client's report.
fn figure_of(echo: Echo, report: &str) -> Figure {
    let numbers: Vec<f64> = report.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [requests, p50, p99, p999, longest, cpu, threads, each] = numbers[..] else {
        fail(&format!("no report of the echo client's: {report}"))
    };
    let extra = vec![
        ("p50", p50),
        ("p99", p99),
        ("p999", p999),
        ("max", longest),
        ("cpu_us", cpu),
        ("requests", requests),
        ("threads", threads),
    ];
    Figure::new(echo.work, echo.workers, if echo.closed { each } else { p50 }, "µs", extra)
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener")
}

// ---- echo_blocking_*

/// answer_blocking serves a connection until its end. An error is an end, too; the client will tell of it.
fn answer_blocking(mut connection: TcpStream) {
    let mut message = [0; MESSAGE];
    while let Ok(got @ 1..) = connection.read(&mut message) {
        if connection.write_all(&message[..got]).is_err() {
            break;
        }
    }
}

pub fn blocking(s: Settings, echo: Echo, program: &str) -> Vec<Figure> {
    let listener = listener();
    let figures = start_client(s, echo, &listener, program);
    on_runtime(WORKERS, async move {
        let mut all = Vec::new();
        let mut accepting = listener;
        for _ in 0..echo.connections {
            let (listener, accepted) = spawn_blocking(move || {
                let accepted = accepting.accept();
                (accepting, accepted)
            })
            .await
            .unwrap();
            accepting = listener;
            let (connection, _) = accepted.expect("a connection");
            all.push(spawn_blocking(move || answer_blocking(connection)));
        }
        for one in all {
            one.await.unwrap();
        }
    });
    figures.join().expect("the client's figures")
}

// ---- echo_net_*

async fn answer<const SIZE: usize>(mut connection: tokio::net::TcpStream) {
    let mut message = [0; SIZE];
    while let Ok(got @ 1..) = connection.read(&mut message).await {
        if connection.write_all(&message[..got]).await.is_err() {
            break;
        }
    }
}

pub fn net(s: Settings, echo: Echo, program: &str) -> Vec<Figure> {
    let listener = listener();
    let figures = start_client(s, echo, &listener, program);
    on_runtime(echo.workers, async move {
        listener.set_nonblocking(true).expect("a listener that does not block");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let mut all = Vec::new();
        for _ in 0..echo.connections {
            let (connection, _) = listener.accept().await.expect("a connection");
            if echo.closed {
                connection.set_nodelay(true).expect("TCP_NODELAY");
                all.push(tokio::spawn(answer::<BUFFER>(connection)));
            } else {
                all.push(tokio::spawn(answer::<MESSAGE>(connection)));
            }
        }
        for one in all {
            one.await.unwrap();
        }
    });
    figures.join().expect("the client's figures")
}

/// closed measures without pauses, on two workers and on one.
pub fn closed(s: Settings, two: &'static str, one: &'static str, connections: usize, program: &str) -> Vec<Figure> {
    let mut both = net(s, Echo { work: two, connections, closed: true, workers: 2 }, program);
    both.extend(net(s, Echo { work: one, connections, closed: true, workers: 1 }, program));
    both
}
