//! A connection to the server: questions as a run of the script.

use std::future::Future;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tollgate_budget::pool::{Answer, Ask, Keep, Reply};

use crate::{Config, Error};

const SCRIPT: &str = include_str!("script.lua");
/// Why waiting ended.
enum Waited {
    Error(RedisError),
    Slow,
}

/// A connection that has answered, and in which no question is open.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    /// Name of the script on this server.
    sha: String,
}

impl Link {
    /// Connects, within the limit of time.
    ///
    /// # Errors
    /// [`Error`], also if the server may evict keys.
    pub(crate) async fn connect(config: &Config) -> Result<Self, Error> {
        let connected = tokio::time::timeout(config.timeout, Self::connect_patiently(config)).await;
        connected.unwrap_or_else(|_elapsed| Err(slow(config)))
    }

    async fn connect_patiently(config: &Config) -> Result<Self, Error> {
        let address = config.address();
        let client = Client::open(config.url.as_str()).map_err(|source| Error::Address {
            address: address.clone(),
            source,
        })?;
        let connecting = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let connected = bounded(config, client.get_multiplexed_async_connection_with_config(&connecting)).await;
        let mut connection = connected.map_err(|waited| match waited {
            Waited::Error(source) => Error::Connect {
                address: address.clone(),
                source,
            },
            Waited::Slow => slow(config),
        })?;
        // Some services do not tell; they do not evict by themselves.
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        if let Ok(told) = bounded(config, info.query_async::<String>(&mut connection)).await
            && let Some(policy) = evicts(&told)
        {
            return Err(Error::Evicts { address, policy });
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(SCRIPT);
        let sha = bounded(config, load.query_async(&mut connection)).await;
        let sha = sha.map_err(|waited| failed(config, waited))?;
        Ok(Self { connection, sha })
    }

    /// Asks questions. After an error the connection must not be used.
    ///
    /// # Errors
    /// [`Error`]; whether the questions arrived is not known then.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn ask(&mut self, config: &Config, epoch: &str, asks: &[Ask]) -> Result<Reply, Error> {
        let answered = match bounded(config, self.run("EVALSHA", &self.sha.clone(), config, epoch, asks)).await {
            // The server has forgotten its scripts.
            Err(Waited::Error(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                bounded(config, self.run("EVAL", SCRIPT, config, epoch, asks)).await
            }
            answered => answered,
        };
        let values = answered.map_err(|waited| failed(config, waited))?;
        read(&values, asks.len()).ok_or_else(|| Error::Malformed {
            address: config.address(),
        })
    }

    async fn run(&mut self, command: &str, script: &str, config: &Config, epoch: &str, asks: &[Ask]) -> RedisResult<Vec<Value>> {
        let mut run = redis::cmd(command);
        // One hash tag, so that a script may see all of them where slots are kept apart.
        let key = |name: &str| format!("{}:{{budgets}}:{name}", config.prefix);
        run.arg(script).arg(asks.len() + 2).arg(key("epoch")).arg(key("members"));
        for ask in asks {
            run.arg(key(&ask.key.hex()));
        }
        let grace_ms = u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX);
        run.arg(config.instance.as_str()).arg(epoch).arg(grace_ms);
        for ask in asks {
            run.arg(&[ask.seq, ask.holds, ask.need, ask.want, ask.limit][..]);
            match ask.keep {
                Keep::Until(ms) => run.arg("u").arg(ms),
                Keep::Unheard(ms) => run.arg("r").arg(ms),
            };
            run.arg(ask.seen.len());
            for (name, amount) in &ask.seen {
                run.arg(name.as_str()).arg(*amount);
            }
        }
        run.query_async(&mut self.connection).await
    }
}

async fn bounded<T>(config: &Config, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Waited> {
    match tokio::time::timeout(config.timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.is_timeout() => Err(Waited::Slow),
        Ok(Err(error)) => Err(Waited::Error(error)),
        Err(_elapsed) => Err(Waited::Slow),
    }
}

fn failed(config: &Config, waited: Waited) -> Error {
    match waited {
        Waited::Error(source) => Error::Answer {
            address: config.address(),
            source,
        },
        Waited::Slow => slow(config),
    }
}

fn slow(config: &Config) -> Error {
    Error::Slow {
        address: config.address(),
        timeout: config.timeout,
    }
}

/// The policy by which a server evicts keys, if it may.
fn evicts(info: &str) -> Option<String> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let policy = field("maxmemory_policy")?.trim();
    let bounded = field("maxmemory").is_some_and(|bytes| bytes.trim() != "0");
    (bounded && policy != "noeviction").then(|| policy.to_owned())
}

/// What the script has answered to so many questions.
fn read(values: &[Value], asks: usize) -> Option<Reply> {
    let whole = |value: &Value| match value {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let [Value::BulkString(epoch), grace_ms, live, done, answers @ ..] = values else {
        return None;
    };
    let answers = match whole(done)? {
        0 => None,
        _ => {
            let pairs = answers.chunks(2).map(|pair| match pair {
                [first, second] => match (whole(first)?, u64::try_from(whole(second)?).ok()?) {
                    (-1, seq) => Some(Answer::Overtaken(seq)),
                    (granted, room) => Some(Answer::Granted {
                        granted: u64::try_from(granted).ok()?,
                        room,
                    }),
                },
                _ => None,
            });
            Some(pairs.collect::<Option<Vec<_>>>().filter(|answers| answers.len() == asks)?)
        }
    };
    Some(Reply {
        epoch: String::from_utf8(epoch.clone()).ok()?,
        grace_ms: u64::try_from(whole(grace_ms)?).ok()?,
        live: u64::try_from(whole(live)?).ok()?,
        answers,
    })
}
