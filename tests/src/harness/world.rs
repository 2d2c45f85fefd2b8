//! What the tests share: upstreams, one gateway, the SDKs. Each is started when it is first asked for.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::build::{self, Counterparts};
use super::call::{Api, Call, Target};
use super::config::Config;
use super::gateway::Gateway;
use super::ledger::Row;
use super::process::{Process, eventually, tail};
use super::s3::Moto;
use super::sdk::{Language, Reply, Sdk};

/// The longest that aimock may take to start.
const AIMOCK_START: Duration = Duration::from_secs(20);

/// The key of an application that may name its user, agent, session and tags.
pub(crate) const KEY: &str = "tg-e2e-application-key-0001";

/// Everything that is shared. Empty until it is used.
#[derive(Default)]
pub(crate) struct World {
    stage: OnceCell<Result<Stage, String>>,
    gateway: OnceCell<Gateway>,
    native: OnceCell<Gateway>,
    python: OnceCell<Sdk>,
    javascript: OnceCell<Sdk>,
    moto: OnceCell<Moto>,
    sessions: AtomicU64,
}

/// What a gateway needs around it.
pub(crate) struct Stage {
    dir: TempDir,
    pub(crate) binary: PathBuf,
    pub(crate) counterparts: Counterparts,
    pub(crate) simulator: String,
    pub(crate) aimock: String,
    _aimock: Process,
}

impl World {
    /// The binary and the upstreams.
    pub(crate) async fn stage(&self) -> &Stage {
        match self.stage.get_or_init(Stage::set).await {
            Ok(stage) => stage,
            Err(reason) => panic!("the tests cannot start: {reason}"),
        }
    }

    /// The gateway that tests share.
    pub(crate) async fn gateway(&self) -> &Gateway {
        self.gateway
            .get_or_init(|| async { self.own_gateway(&Config::standard()).await })
            .await
    }

    /// The gateway of those tests that call providers by their own SDKs: it has their shipped prices too, which take time to read.
    pub(crate) async fn native_gateway(&self) -> &Gateway {
        let config = || Config::standard().with("native.yaml", include_str!("../../fixtures/native.yaml"));
        self.native.get_or_init(|| async { self.own_gateway(&config()).await }).await
    }

    /// A gateway for one test alone.
    pub(crate) async fn own_gateway(&self, config: &Config) -> Gateway {
        let stage = self.stage().await;
        Gateway::start(stage.binary.clone(), config, stage.environment()).await
    }

    /// An object store; every test has a bucket of its own.
    pub(crate) async fn moto(&self) -> &Moto {
        let python = &self.stage().await.counterparts.python;
        self.moto.get_or_init(|| Moto::start(python, None)).await
    }

    /// The SDKs of a language.
    pub(crate) async fn sdk(&self, language: Language) -> &Sdk {
        let stage = self.stage().await;
        let cell = match language {
            Language::Python => &self.python,
            Language::JavaScript => &self.javascript,
        };
        cell.get_or_init(|| async { Sdk::start(language, &stage.counterparts, stage.dir.path()) })
            .await
    }

    /// A session name that no other test uses.
    pub(crate) fn session(&self) -> String {
        format!("session-{}", self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// The simulator, without a gateway.
    pub(crate) async fn simulator(&self) -> Target {
        Target::new(&self.stage().await.simulator, "any")
    }

    /// The simulator through the shared gateway, by the interface's own provider.
    pub(crate) async fn through(&self, api: Api, session: &str) -> Target {
        self.through_context(api.provider(), session).await
    }

    /// A provider of the shared gateway by its context.
    pub(crate) async fn through_context(&self, context: &str, session: &str) -> Target {
        Target::new(format!("{}/{context}", self.gateway().await.url()), KEY).header("x-tollgate-session", session)
    }

    /// Makes a call through the shared gateway and to the simulator; returns what the SDK showed through the gateway, the row, and what it showed
    /// directly. Panics unless exactly one row stands for it.
    pub(crate) async fn both(&self, language: Language, call: &Call) -> (Reply, Row, Reply) {
        let session = self.session();
        let sdk = self.sdk(language).await;
        let through = sdk.call(call.order(&self.through(call.api, &session).await)).await;
        let row = self.one_row(&session).await;
        let direct = sdk.call(call.order(&self.simulator().await)).await;
        (through, row, direct)
    }

    /// The only row of a session.
    pub(crate) async fn one_row(&self, session: &str) -> Row {
        let mut rows = self.gateway().await.session(session).await;
        assert_eq!(rows.len(), 1, "a call leaves exactly one row: {rows:#?}");
        rows.remove(0)
    }

    /// The only row of a session whose client left before the end: it is written a moment later.
    pub(crate) async fn one_row_soon(&self, session: &str) -> Row {
        let gateway = self.gateway().await;
        let mut rows = eventually("the row is written", Duration::from_secs(15), || async {
            let rows = gateway.session(session).await;
            (!rows.is_empty()).then_some(rows)
        })
        .await;
        assert_eq!(rows.len(), 1, "a call leaves exactly one row: {rows:#?}");
        rows.remove(0)
    }

    /// After the last test: closes the books of the shared gateway, and stops it.
    ///
    /// # Errors
    /// What does not add up.
    pub(crate) async fn close(&self, failed: bool) -> Result<(), String> {
        let Some(gateway) = self.gateway.get() else { return Ok(()) };
        if failed {
            eprintln!("{}", tail(&gateway.log()));
        }
        let sums = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, max(seq) AS last, min(seq) AS first, sum(cost) AS cost FROM usage";
        let lines = "SELECT sum(line['amount']) AS cost FROM (SELECT unnest(charges) AS line FROM usage)";
        let (sums, lines) = (gateway.sql(sums).await.remove(0), gateway.sql(lines).await.remove(0));
        let calls = sums.int("calls");
        // Tests that were chosen by name may have made no call.
        let (last, first) = (calls.filter(|calls| *calls > 0), calls.filter(|calls| *calls > 0).map(|_| 1));
        if (sums.int("ids"), sums.int("last"), sums.int("first")) != (calls, last, first) {
            return Err(format!("rows are missing or doubled: {}", sums.0));
        }
        if sums.decimal("cost") != lines.decimal("cost") {
            return Err(format!("the calls cost {}, their charges {}", sums.0, lines.0));
        }
        eprintln!(
            "the shared gateway's books close: {} calls, {} USD",
            calls.unwrap_or(0),
            sums.text("cost").unwrap_or("no")
        );
        Ok(())
    }
}

impl Stage {
    async fn set() -> Result<Self, String> {
        let (binary, counterparts) = tokio::try_join!(build::gateway(), Counterparts::find())?;
        let dir = TempDir::with_prefix("tollgate-e2e-").map_err(|error| error.to_string())?;
        let config = tollgate_simulator::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Default::default()
        };
        let server = tollgate_simulator::bind(config).await.map_err(|error| error.to_string())?;
        let simulator = format!("http://{}", server.local_addr());
        tokio::spawn(server.run(std::future::pending()));
        let log = dir.path().join("aimock.log");
        let fixtures = crate::harness::here("fixtures/aimock.json");
        let mut command = counterparts.npm("llmock");
        command.args([
            "--port",
            "0",
            "--fixtures",
            &fixtures,
            "--validate-on-load",
            "--journal-max",
            "0",
        ]);
        let mut process = Process::start(&mut command, &log);
        let aimock = eventually("aimock says where it listens", AIMOCK_START, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "aimock ended:\n{text}");
            let address = text
                .split("listening on ")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next())
                .map(str::to_owned);
            async move { address }
        })
        .await;
        Ok(Self {
            dir,
            binary,
            counterparts,
            simulator,
            aimock,
            _aimock: process,
        })
    }

    /// What `${env:...}` in gateway.yaml stands for.
    fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("SIMULATOR_URL", self.simulator.as_str()),
            ("AIMOCK_URL", &self.aimock),
            ("E2E_KEY", KEY),
        ];
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}
