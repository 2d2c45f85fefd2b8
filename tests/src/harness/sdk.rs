//! The official SDKs: one long-lived process a language, which takes calls as JSON lines and says what the SDK showed its application.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

use super::build::Counterparts;
use super::process::tail;

/// The languages whose SDKs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    JavaScript,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::JavaScript];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

/// A call as the client process takes it; see tests/clients/client.py.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) sdk: &'static str,
    pub(crate) call: &'static str,
    pub(crate) base_url: String,
    pub(crate) api_key: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) params: Value,
    pub(crate) max_retries: u32,
    pub(crate) abort_after: Option<u32>,
}

/// What the SDK showed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reply {
    id: u64,
    pub(crate) text: String,
    /// The usage as the SDK offers it to the application, fields that were not on the wire left out.
    pub(crate) usage: Option<Value>,
    pub(crate) model: Option<String>,
    pub(crate) tool_calls: Vec<ToolCall>,
    pub(crate) finish: Option<String>,
    /// Headers named `x-tollgate-*`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Events of a stream.
    pub(crate) events: u64,
    /// Of these, those with usage.
    pub(crate) usage_events: u64,
    pub(crate) error: Option<SdkError>,
}

/// A call of a tool, with its arguments as JSON text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// The exception that the SDK raised.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct SdkError {
    pub(crate) class: String,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) message: String,
}

/// A client process.
pub(crate) struct Sdk {
    stdin: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>,
    next: AtomicU64,
    log: std::path::PathBuf,
    /// Killed when dropped; it also ends when its standard input does.
    _child: Child,
}

impl Sdk {
    /// Starts the process; its complaints go to a log in `dir`.
    pub(crate) fn start(language: Language, counterparts: &Counterparts, dir: &Path) -> Self {
        let clients = crate::harness::here("clients");
        let mut command = match language {
            Language::Python => Command::new(&counterparts.python),
            Language::JavaScript => Command::new(counterparts.node()),
        };
        match language {
            Language::Python => command.arg(format!("{clients}/client.py")),
            Language::JavaScript => command.arg(format!("{clients}/client.mjs")).arg(&counterparts.node_modules),
        };
        let log = dir.join(format!("{}.log", language.name()));
        // Proxies and keys of the developer's own shell must not reach the SDKs.
        for name in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        let foreign = ["OPENAI_", "ANTHROPIC_", "AWS_", "AZURE_", "GEMINI_", "GOOGLE_", "MISTRAL_"];
        for (name, _) in std::env::vars().filter(|(name, _)| foreign.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>> = Arc::default();
        let replies = waiting.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let reply: Reply = serde_json::from_str(&line).unwrap_or_else(|error| panic!("a client replied `{line}`: {error}"));
                if let Some(waiter) = replies.lock().unwrap().remove(&reply.id) {
                    let _ = waiter.send(reply); // the test may have been given up
                }
            }
            replies.lock().unwrap().clear(); // whoever still waits is told that the process is gone
        });
        Self {
            stdin: tokio::sync::Mutex::new(stdin),
            waiting,
            next: AtomicU64::new(1),
            log,
            _child: child,
        }
    }

    /// Makes one call.
    pub(crate) async fn call(&self, mut order: Order) -> Reply {
        order.id = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiter, reply) = oneshot::channel();
        self.waiting.lock().unwrap().insert(order.id, waiter);
        let line = serde_json::to_string(&order).unwrap() + "\n";
        let sent = self.stdin.lock().await.write_all(line.as_bytes()).await;
        assert!(sent.is_ok(), "the client process is gone:\n{}", tail(&self.log));
        reply
            .await
            .unwrap_or_else(|_| panic!("the client process ended without a reply:\n{}", tail(&self.log)))
    }
}
