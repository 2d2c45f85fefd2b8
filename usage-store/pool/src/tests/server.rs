//! A server of a test's own: Debian's redis-server, on a port of its own, without anything on disk.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// How often another port is tried, where somebody takes it in between.
const ATTEMPTS: usize = 20;

pub(crate) struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let found = (0..ATTEMPTS).find_map(|_| {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            Self::spawn(port, arguments.clone())
        });
        found.expect("redis-server starts: apt-get install redis-server")
    }

    /// None if the port is taken.
    fn spawn(port: u16, arguments: Vec<String>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&arguments)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is installed: apt-get install redis-server");
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut lines = log.lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("Ready to accept connections"));
        if !ready {
            child.wait().unwrap();
            return None;
        }
        // What it says further is nobody's, but it has to be able to say it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Self {
            child,
            port,
            _dir: dir,
            arguments,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it, and starts another one at the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let arguments = self.arguments.clone();
        let next = (0..ATTEMPTS).find_map(|_| Self::spawn(self.port, arguments.clone()));
        *self = next.expect("the port is free again");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Sends a signal to this one process: `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Says a command to it.
    pub(crate) async fn say(&self, command: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut cmd = redis::cmd(command[0]);
        command[1..].iter().for_each(|argument| {
            cmd.arg(*argument);
        });
        cmd.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
