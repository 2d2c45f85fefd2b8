//! An object store: a process that speaks as Amazon S3 does, or as Google Cloud Storage, and a link to it that can be cut and that loses answers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;

use super::process::{Process, eventually};

/// The longest that moto may take to start: it is Python.
const START: Duration = Duration::from_secs(30);

/// moto: Amazon S3 in memory, with conditional puts, of which it takes one at a time.
pub(crate) struct Moto {
    pub(crate) url: String,
    _process: Process,
    _dir: TempDir,
}

/// A TCP connection's way to a server.
pub(crate) struct Link {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    /// Commits whose answers are still to be lost.
    losing: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// Connections are closed at once.
    Refusing,
    /// Connections are taken, and nothing comes back.
    Silent,
}

// === impl Moto ===

impl Moto {
    /// Starts it on a free port; with a certificate and its key, over TLS.
    pub(crate) async fn start(python: &Path, tls: Option<(&Path, &Path)>) -> Self {
        let mut command = Command::new(python);
        command.arg(crate::harness::here("clients/s3.py"));
        if let Some((certificate, key)) = tls {
            command.arg("-c").arg(certificate).arg("-k").arg(key);
        }
        Self::of(command).await
    }

    /// Starts it on a free port, to be asked as Google Cloud Storage is: with the key of a service account, which is put into this file.
    pub(crate) async fn google(python: &Path, key: &Path) -> Self {
        let mut command = Command::new(python);
        command.arg(crate::harness::here("clients/gcs.py")).arg(key);
        Self::of(command).await
    }

    async fn of(mut command: Command) -> Self {
        let dir = TempDir::with_prefix("tollgate-moto-").unwrap();
        let log = dir.path().join("moto.log");
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        command.env("PYTHONUNBUFFERED", "1");
        let mut process = Process::start(&mut command, &log);
        let url = eventually("moto says where it listens", START, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "moto ended:\n{text}");
            let url = text
                .split("Running on ")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next());
            let url = url.map(str::to_owned);
            async move { url }
        })
        .await;
        Self {
            url,
            _process: process,
            _dir: dir,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.url.split_once("://").unwrap();
        address.parse().unwrap()
    }

    /// Makes a bucket.
    pub(crate) async fn bucket(&self, name: &str) {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let made = client.put(format!("{}/{name}", self.url)).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
    }
}

// === impl Link ===

impl Link {
    /// A link to a server, which is up.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, losing) = (Arc::new(watch::channel(State::Up).0), Arc::new(AtomicUsize::new(0)));
        tokio::spawn({
            let (state, losing) = (state.clone(), losing.clone());
            async move {
                loop {
                    let Ok((client, _)) = listener.accept().await else { return };
                    let (state, losing) = (state.subscribe(), losing.clone());
                    tokio::spawn(connection(client, server, state, losing));
                }
            }
        });
        Self { address, state, losing }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection, and refuses further ones.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Refusing);
    }

    /// Breaks every connection, and lets further ones wait for an answer that never comes.
    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Up);
    }

    /// The next commits reach the server, and their answers reach nobody.
    pub(crate) fn lose_answers_of_commits(&self, count: usize) {
        self.losing.store(count, Ordering::SeqCst);
    }

    /// How many of them are still to come.
    pub(crate) fn still_losing(&self) -> usize {
        self.losing.load(Ordering::SeqCst)
    }
}

async fn connection(client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>, losing: Arc<AtomicUsize>) {
    let now = *state.borrow_and_update();
    if now == State::Refusing {
        return;
    }
    if now == State::Silent {
        let _ = state.changed().await;
        return;
    }
    let Ok(upstream) = TcpStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    // Whether the answer on its way is one to be lost.
    let lost = Arc::new(watch::channel(false).0);
    tokio::select! {
        _ = state.changed() => {}
        () = requests(from_client, to_server, losing, &lost) => {}
        () = answers(from_server, to_client, lost.subscribe()) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, losing: Arc<AtomicUsize>, lost: &watch::Sender<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if is_commit(bytes)
            && losing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        {
            lost.send_replace(true);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *lost.borrow() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Whether these bytes begin the request that puts a version's entry into Delta's log.
fn is_commit(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    line.starts_with("PUT ") && line.contains("/_delta_log/") && line.contains(".json ")
}

/// Runs a Python script with arguments; returns what it printed.
pub(crate) async fn python(python: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(python);
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
