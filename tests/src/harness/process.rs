//! Child processes with their output in a file, and files' ends for those who must find out why a test failed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How often a condition is looked at that nobody announces.
const POLL: Duration = Duration::from_millis(20);

/// Lines of a log that are shown when something fails.
const TAIL_LINES: usize = 60;

/// Waits until `look` finds something; panics with `what` after `limit`.
#[track_caller]
pub(crate) fn eventually<T, F: Future<Output = Option<T>>>(
    what: impl std::fmt::Display,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + limit;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < end,
                "{what}: not within {} s ({caller})",
                limit.as_secs_f32()
            );
            sleep(POLL).await;
        }
    }
}

/// A running child that is killed when it is dropped, and whose output is in a file.
pub(crate) struct Process {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Process {
    /// Starts a command whose standard output and error are appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; waits until it is gone, at most `limit`.
    pub(crate) async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM").await;
        match timeout(limit, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("not gone {} s after SIGTERM:\n{}", limit.as_secs(), tail(&self.log)),
        }
    }

    /// Sends a signal by name: only the shell does that without unsafe code.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it is running");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .await
            .unwrap();
        assert!(sent.success(), "cannot signal {pid}");
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    format!(
        "--- {}\n{}",
        log.display(),
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    )
}
