//! A gateway process, with a folder of its own that outlives it: configuration, data and log.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::config::Config;
use super::ledger::Row;
use super::process::{Process, eventually, tail};

/// The longest that a start may take, recovery included.
const START: Duration = Duration::from_secs(60);
/// The longest that an orderly end may take, on a busy machine: the last flush and its sums are commits to a store.
const STOP: Duration = Duration::from_secs(60);
/// How often, and how long apart, a query is asked again that found the engine busy.
const BUSY_TRIES: usize = 30;
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// Where the gateway listens, as it says itself in DATA/addresses.json.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    #[serde(default)]
    pub(crate) https: Option<String>,
    pub(crate) controller: String,
    pub(crate) admin: String,
}

/// A gateway.
pub(crate) struct Gateway {
    binary: PathBuf,
    dir: TempDir,
    environment: Vec<(String, String)>,
    process: Option<Process>,
    addresses: Addresses,
    token: String,
    http: reqwest::Client,
}

impl Gateway {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(binary: PathBuf, config: &Config, environment: Vec<(String, String)>) -> Self {
        let dir = TempDir::with_prefix("tollgate-e2e-").unwrap();
        config.write(&dir.path().join("config"));
        let none = String::new;
        let mut gateway = Self {
            binary,
            dir,
            environment,
            process: None,
            addresses: Addresses {
                http: none(),
                https: None,
                controller: none(),
                admin: none(),
            },
            token: String::new(),
            http: reqwest::Client::new(),
        };
        gateway.resume().await;
        gateway
    }

    /// Starts it again over the same data.
    pub(crate) async fn resume(&mut self) {
        let addresses = self.data().join("addresses.json");
        let _ = std::fs::remove_file(&addresses); // those of an earlier process
        let mut process = self.launch();
        let http = self.http.clone();
        let log = self.log();
        self.addresses = eventually("the gateway is ready", START, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the gateway ended with {ended:?}:\n{}", tail(&log));
            let found = std::fs::read(&addresses)
                .ok()
                .and_then(|text| serde_json::from_slice::<Addresses>(&text).ok());
            let http = http.clone();
            async move {
                let found = found?;
                let ready = http.get(format!("http://{}/ready", found.admin)).send().await.ok()?;
                ready.status().is_success().then_some(found)
            }
        })
        .await;
        self.token = std::fs::read_to_string(self.data().join("admin-token"))
            .expect("it writes its bootstrap token")
            .trim()
            .to_owned();
        self.process = Some(process);
    }

    /// Starts it again over the same data, and kills it after some time, whatever it is doing then.
    pub(crate) async fn stumble(&self, after: Duration) {
        let mut process = self.launch();
        tokio::time::sleep(after).await;
        process.kill().await;
    }

    fn launch(&self) -> Process {
        let mut command = self.command();
        command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .arg("--data")
            .arg(self.data());
        Process::start(&mut command, &self.log())
    }

    /// The binary, with the environment of this gateway and without the keys of the developer's own shell.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOLLGATE_ADMIN_TOKEN"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().cloned()).current_dir(self.dir.path());
        command
    }

    /// What its configuration names as `${env:...}`.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("gateway.log")
    }

    /// What it logged so far.
    pub(crate) fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap()).into_owned()
    }

    /// The URL of the router, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addresses.http)
    }

    pub(crate) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The URL of SQL over HTTP.
    pub(crate) fn sql_url(&self) -> String {
        format!("http://{}/api/query/v1/sql", self.addresses.controller)
    }

    /// Sends SQL and returns status, content type and body. Tests beside each other ask more at once than the gateway runs:
    /// one that is told to try again does, as a client would.
    pub(crate) async fn sql_as(&self, query: &str, accept: &str) -> (u16, String, Vec<u8>) {
        for _ in 0..BUSY_TRIES {
            let answer = self.sql_once(query, accept).await;
            if answer.0 != 429 {
                return answer;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        self.sql_once(query, accept).await
    }

    async fn sql_once(&self, query: &str, accept: &str) -> (u16, String, Vec<u8>) {
        let body = json!({"sql": query}).to_string();
        let request = self
            .http
            .post(self.sql_url())
            .bearer_auth(&self.token)
            .header("accept", accept);
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .expect("the gateway answers SQL");
        let kind = answer
            .headers()
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().to_owned())
            .unwrap_or_default();
        (answer.status().as_u16(), kind, answer.bytes().await.unwrap().to_vec())
    }

    /// The rows of a query.
    pub(crate) async fn sql(&self, query: &str) -> Vec<Row> {
        let (status, _, body) = self.sql_as(query, "application/json").await;
        assert_eq!(status, 200, "{query}\n{}", String::from_utf8_lossy(&body));
        let rows: Vec<Value> = serde_json::from_slice(&body).expect("the default format is an array of objects");
        rows.into_iter().map(Row).collect()
    }

    /// Runs the binary with arguments; returns whether it succeeded, and what it printed on standard output and error.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (std::process::Output, String, String) {
        let output = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, problem) = (text(&output.stdout), text(&output.stderr));
        (output, printed, problem)
    }

    /// The rows of a query by `tollgate sql --data`, while no gateway runs.
    pub(crate) async fn sql_offline(&self, query: &str) -> Vec<Row> {
        let data = self.data();
        let (output, printed, problem) = self
            .run(&["sql", "--data", data.to_str().unwrap(), "--format", "json", query])
            .await;
        assert!(output.status.success(), "{query}\n{printed}{problem}");
        let rows: Vec<Value> = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        rows.into_iter().map(Row).collect()
    }

    /// The rows of one session, in the order of their start.
    pub(crate) async fn session(&self, session: &str) -> Vec<Row> {
        self.sql(&format!(
            "SELECT * FROM usage WHERE session_id = '{session}' ORDER BY start_time, call_id"
        ))
        .await
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.process.take().expect("it runs").terminate(STOP).await
    }

    /// Sends SIGTERM without waiting.
    pub(crate) async fn ask_to_stop(&self) {
        self.process.as_ref().expect("it runs").signal("TERM").await;
    }

    /// Waits for the end that `ask_to_stop` began.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("it runs");
        let status = eventually("the gateway ends", STOP, || {
            let ended = process.ended();
            async move { ended }
        })
        .await;
        self.process = None;
        status
    }

    /// Leaves the folder behind for whoever must find out what went wrong.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\nkept in {}", tail(&self.log()), self.keep().display());
        }
    }
}
