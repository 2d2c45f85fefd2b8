//! A load generator with a schedule: one request every 1/rate seconds, latencies in nanoseconds.
//!
//! wrk sends as fast as it can, which says nothing about the latency that a proxy adds when it is not saturated. Here request `k` is due at
//! `start + k / rate`, whatever happened to those before it. Its latency counts from the moment it is sent, or from the moment it was due if
//! its connection was still waiting for an earlier answer: so a stall of the server is seen by every request that it holds up, and the timer
//! of this machine is not taken for the server's. Without a rate it sends a fixed number of requests as fast as the connections allow.
//!
//! It speaks as much HTTP/1.1 as that takes: keep-alive, answers with a length or in chunks. It does not check bodies. It uses the standard
//! library only, so that `rustc -O` builds it in seconds.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: paced --to IP:PORT --path PATH --body FILE --count N [--rate N] [--skip N] [--connections N] [--header 'NAME: VALUE']...";
/// Longest wait for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Time for all threads to be there before the first request is due.
const LEAD: Duration = Duration::from_millis(100);
/// Bytes that one read takes at most.
const READ_BYTES: usize = 16 * 1024;

/// What to send, and when.
struct Plan {
    to: SocketAddr,
    request: Vec<u8>,
    /// Requests in all.
    count: u64,
    /// Requests a second; 0 is as fast as possible.
    rate: u64,
    /// Requests at the start that are sent but not reported.
    skip: u64,
    connections: u64,
}

/// What one connection, or all of them, saw.
#[derive(Default)]
struct Seen {
    latencies_ns: Vec<u64>,
    answered: u64,
    not_ok: u64,
    late: u64,
}

fn main() -> ExitCode {
    match Plan::from_arguments(std::env::args().skip(1)).and_then(run) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("paced: {problem}");
            ExitCode::FAILURE
        }
    }
}

impl Plan {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut to, mut path, mut body) = (None, None, None);
        let (mut count, mut rate, mut skip, mut connections) = (0, 0, 0, 16);
        let mut headers = String::new();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{name} takes a whole number, not {value}"))
            };
            match name.as_str() {
                "--to" => {
                    to = Some(
                        value
                            .parse::<SocketAddr>()
                            .map_err(|error| format!("--to {value}: {error}"))?,
                    )
                }
                "--path" => path = Some(value),
                "--body" => body = Some(std::fs::read(&value).map_err(|error| format!("cannot read {value}: {error}"))?),
                "--count" => count = number()?,
                "--rate" => rate = number()?,
                "--skip" => skip = number()?,
                "--connections" => connections = number()?,
                "--header" => {
                    headers.push_str(&value);
                    headers.push_str("\r\n");
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        let (Some(to), Some(path), Some(body)) = (to, path, body) else {
            return Err(USAGE.to_owned());
        };
        if count <= skip || connections == 0 {
            return Err("--count must be more than --skip, and --connections more than 0".to_owned());
        }
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        Ok(Self {
            to,
            request,
            count,
            rate,
            skip,
            connections,
        })
    }

    /// When request `k` is due; `None` is at once.
    fn due(&self, start: Instant, k: u64) -> Option<Instant> {
        let nanoseconds = k.checked_mul(1_000_000_000)?.checked_div(self.rate)?;
        start.checked_add(Duration::from_nanos(nanoseconds))
    }
}

fn run(plan: Plan) -> Result<String, String> {
    let plan = Arc::new(plan);
    let connections = (0..plan.connections)
        .map(|_| Connection::open(plan.to))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| format!("cannot connect to {}: {error}", plan.to))?;
    let start = Instant::now() + LEAD;
    let threads: Vec<_> = connections
        .into_iter()
        .zip(0..)
        .map(|(connection, first)| {
            let plan = Arc::clone(&plan);
            thread::spawn(move || drive(connection, &plan, start, first))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread
            .join()
            .map_err(|_| "a thread panicked".to_owned())?
            .map_err(|error| format!("after {} answers of other connections: {error}", all.answered))?;
        all.latencies_ns.extend(seen.latencies_ns);
        all.answered += seen.answered;
        all.not_ok += seen.not_ok;
        all.late += seen.late;
    }
    Ok(all.report(start.elapsed()))
}

/// Sends requests `first`, `first + connections`, and so on over one connection.
fn drive(mut connection: Connection, plan: &Plan, start: Instant, first: u64) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut k = first;
    while k < plan.count {
        let due = plan.due(start, k);
        let ahead = due.map(|due| due.saturating_duration_since(Instant::now()));
        let begin = match (due, ahead) {
            (Some(due), Some(Duration::ZERO)) => {
                seen.late += 1;
                due
            }
            (_, ahead) => {
                thread::sleep(ahead.unwrap_or_default());
                Instant::now()
            }
        };
        let status = connection.exchange(&plan.request)?;
        let latency = begin.elapsed();
        seen.answered += 1;
        seen.not_ok += u64::from(status != 200);
        if k >= plan.skip {
            seen.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
        k += plan.connections;
    }
    Ok(seen)
}

impl Seen {
    fn report(mut self, elapsed: Duration) -> String {
        self.latencies_ns.sort_unstable();
        let mut out = String::from("{");
        for (name, per_mille) in [
            ("min", 0),
            ("p50", 500),
            ("p90", 900),
            ("p99", 990),
            ("p999", 999),
            ("max", 1000),
        ] {
            let microseconds = self.quantile(per_mille) as f64 / 1000.0;
            let _ = write!(out, "\"{name}_us\": {microseconds:.1}, ");
        }
        let Self {
            answered, not_ok, late, ..
        } = self;
        let _ = write!(
            out,
            "\"requests\": {answered}, \"not_2xx\": {not_ok}, \"late\": {late}, \"duration_us\": {}}}",
            elapsed.as_micros()
        );
        out
    }

    /// The smallest latency that so many in a thousand do not exceed.
    fn quantile(&self, per_mille: usize) -> u64 {
        let rank = (self.latencies_ns.len() * per_mille).div_ceil(1000).max(1);
        self.latencies_ns.get(rank - 1).copied().unwrap_or(0)
    }
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Where an answer's body ends.
enum End {
    /// After so many bytes of head and body.
    Length(usize),
    /// With the last chunk.
    Chunks,
}

impl Connection {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(READ_BYTES),
        })
    }

    /// Sends a request and reads its whole answer; returns the status.
    fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut part = [0; READ_BYTES];
        let mut end = None;
        loop {
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection was closed inside an answer",
                ));
            }
            self.buffer.extend(part.iter().take(count));
            if end.is_none() {
                end = head_end(&self.buffer).map(|head| self.body_end(head)).transpose()?;
            }
            let complete = match end {
                None => false,
                Some(End::Length(bytes)) => self.buffer.len() >= bytes,
                Some(End::Chunks) => self.buffer.ends_with(b"\r\n0\r\n\r\n"),
            };
            if complete {
                return self.status();
            }
        }
    }

    fn status(&self) -> io::Result<u16> {
        let digits = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer has no status"))
    }

    /// `head` is the number of bytes up to the body.
    fn body_end(&self, head: usize) -> io::Result<End> {
        let lines = String::from_utf8_lossy(self.buffer.get(..head).unwrap_or_default()).to_ascii_lowercase();
        for line in lines.lines() {
            match line.split_once(':') {
                Some(("content-length", value)) => {
                    let length = value.trim().parse::<usize>();
                    return length
                        .map(|length| End::Length(head + length))
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Some(("transfer-encoding", value)) if value.trim() == "chunked" => return Ok(End::Chunks),
                _ => {}
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer says neither its length nor that it comes in chunks",
        ))
    }
}

/// Number of bytes of the head, its blank line included, once that has arrived.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
