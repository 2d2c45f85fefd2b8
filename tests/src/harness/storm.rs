//! Mixed load, and what each client can swear to: which calls it heard of, how far it read their answers, and what they must cost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Response;
use tokio::task::JoinSet;

use super::call::{Api, Call, Target};
use super::dice::Dice;
use super::gateway::Gateway;
use super::money::Decimal;
use super::raw;
use super::usage::Tokens;
use super::world::KEY;

/// A call that a client was given the id of.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) call_id: String,
    /// What was asked, for whoever must find out what went wrong.
    pub(crate) asked: String,
    pub(crate) end: End,
}

/// How far the answer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// To its end: the row must be there, with this outcome, status and cost.
    Read {
        outcome: &'static str,
        status: u16,
        cost: Decimal,
    },
    /// Not to its end, since the client left or the answer broke off: one row must be there.
    Unread,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Reads an answer that is not streamed.
    Json,
    /// Reads a stream that comes as fast as it can.
    Fast,
    /// Reads a stream that takes a while.
    Slow,
    /// Leaves a stream in the middle.
    LeavesStream,
    /// Leaves before there is an answer.
    LeavesEarly,
    /// Is answered with an error of the provider's.
    ProviderError,
    /// The provider hangs up without an answer.
    ProviderGone,
    /// The provider breaks its stream off.
    ProviderCut,
    /// Sends what is no JSON.
    Refused,
}

/// Kinds by how often each is met.
const KINDS: &[Kind] = &[
    Kind::Json,
    Kind::Json,
    Kind::Json,
    Kind::Json,
    Kind::Json,
    Kind::Fast,
    Kind::Fast,
    Kind::Fast,
    Kind::Fast,
    Kind::Slow,
    Kind::Slow,
    Kind::LeavesStream,
    Kind::LeavesStream,
    Kind::LeavesEarly,
    Kind::ProviderError,
    Kind::ProviderGone,
    Kind::ProviderCut,
    Kind::Refused,
];

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<Heard>>,
    /// Requests that were sent, and whose call the client was never told of.
    unheard: AtomicUsize,
    stop: AtomicBool,
}

/// Clients that call until the gateway is gone or they are told to stop.
pub(crate) struct Storm {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Storm {
    /// Starts clients; every second one speaks HTTP/2. What they call is decided by the dice.
    pub(crate) fn start(gateway: &Gateway, clients: u64, dice: &Dice) -> Self {
        let mut storm = Self {
            shared: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..clients {
            let (url, shared, mut dice) = (gateway.url(), Arc::clone(&storm.shared), dice.of(number));
            storm.clients.spawn(async move {
                let mut builder = reqwest::Client::builder();
                if number % 2 == 1 {
                    builder = builder.http2_prior_knowledge();
                }
                let http = builder.build().unwrap();
                while !shared.stop.load(Ordering::Relaxed) {
                    if !call(&http, &url, &shared, &mut dice).await {
                        return;
                    }
                }
            });
        }
        storm
    }

    /// Answers that were read to their ends so far.
    pub(crate) fn answered(&self) -> usize {
        let read = |heard: &&Heard| matches!(heard.end, End::Read { .. });
        self.shared.heard.lock().unwrap().iter().filter(read).count()
    }

    /// Whether every client still calls: none of them was let down by a gateway that runs.
    pub(crate) fn rages(&mut self) -> bool {
        self.clients.try_join_next().is_none()
    }

    /// Lets the calls that are open end. Returns what was heard of, and how many calls may be there that nobody heard of.
    pub(crate) async fn stop(mut self) -> (Vec<Heard>, usize) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client saw an answer that it must not see");
        }
        let heard = std::mem::take(&mut *self.shared.heard.lock().unwrap());
        (heard, self.shared.unheard.load(Ordering::Relaxed))
    }
}

/// Makes one call; returns whether the gateway is still there.
async fn call(http: &reqwest::Client, url: &str, shared: &Shared, dice: &mut Dice) -> bool {
    let kind = dice.one_of(KINDS);
    let streams = matches!(kind, Kind::Fast | Kind::Slow | Kind::LeavesStream | Kind::ProviderCut);
    let api = if streams {
        dice.one_of(&Api::TEXT)
    } else {
        dice.one_of(&Api::ALL)
    };
    let tokens = usage(api, dice);
    let cost = tokens.cost(api.provider(), &[api.model()], None);
    let mut asked = Call::new(api).streamed_if(streams);
    for (name, count) in [
        ("input", tokens.input),
        ("cache_read", tokens.cache_read),
        ("output", tokens.output),
        ("reasoning", tokens.reasoning),
    ] {
        if let Some(count) = count {
            asked = asked.simulate(format!("{name}={count}"));
        }
    }
    let read = |outcome, status, cost| End::Read { outcome, status, cost };
    let (asked, end) = match kind {
        Kind::Json => (asked, read("ok", 200, cost)),
        Kind::Fast => (
            asked.simulate(format!("chunks={}", dice.between(1, 40))),
            read("ok", 200, cost),
        ),
        Kind::Slow => (asked.simulate("chunks=10; tps=50"), read("ok", 200, cost)),
        Kind::LeavesStream => (asked.simulate("chunks=40; tps=200"), End::Unread),
        Kind::LeavesEarly => (asked.simulate("delay_ms=20"), End::Unread),
        Kind::ProviderError => {
            let status = dice.one_of(&[400, 429, 500, 529]);
            let call = Call::new(api).simulate(format!("status={status}"));
            (call, read("upstream_error", status, Decimal::ZERO))
        }
        Kind::ProviderGone => (Call::new(api).simulate("drop=1"), read("upstream_error", 502, Decimal::ZERO)),
        Kind::ProviderCut => (asked.simulate("chunks=8; cut_after=4"), End::Unread),
        Kind::Refused => (asked, read("refused_policy", 400, Decimal::ZERO)),
    };
    let target = Target::new(format!("{url}/{}", api.provider()), KEY);
    let mut request = raw::request(http, &asked, &target);
    if kind == Kind::Refused {
        request = request.body("{\"model\": ");
    }
    // Counted before it is sent, and taken back once the client was told of the call.
    shared.unheard.fetch_add(1, Ordering::Relaxed);
    let sending = request.send();
    let response = if kind == Kind::LeavesEarly {
        match tokio::time::timeout(dice.millis(0, 25), sending).await {
            Ok(response) => response,
            Err(_) => return true,
        }
    } else {
        sending.await
    };
    let Ok(response) = response else { return false };
    let call_id = response.headers().get("x-tollgate-call-id");
    let call_id = call_id.unwrap_or_else(|| panic!("{api:?} {kind:?}: an answer without the id of its call"));
    let mut heard = Heard {
        call_id: call_id.to_str().unwrap().to_owned(),
        asked: format!("{api:?} {kind:?}"),
        end: End::Unread,
    };
    let place = {
        // At once, so that the call is known of even if nothing further is read of it.
        let mut all = shared.heard.lock().unwrap();
        shared.unheard.fetch_sub(1, Ordering::Relaxed);
        all.push(heard.clone());
        all.len() - 1
    };
    let status = response.status().as_u16();
    if let End::Read { status: due, .. } = end {
        assert_eq!(status, due, "{api:?} {kind:?} {}", heard.call_id);
    }
    if kind == Kind::LeavesStream {
        leave(response, dice.between(0, 6)).await;
        return true;
    }
    let (whole, gateway_is_there) = read_on(response, api, streams).await;
    if whole {
        heard.end = end;
        shared.heard.lock().unwrap()[place] = heard;
    }
    // A stream that the provider cut is broken off on purpose.
    gateway_is_there || kind == Kind::ProviderCut
}

/// Token counts that the interface can report, and for all of which there is a price.
fn usage(api: Api, dice: &mut Dice) -> Tokens {
    let mut tokens = Tokens {
        input: Some(dice.between(1, 5000) as i64),
        ..Tokens::default()
    };
    if api != Api::Embeddings {
        tokens.output = Some(dice.between(200, 3000) as i64);
    }
    if matches!(api, Api::Chat | Api::Responses | Api::Messages) {
        tokens.cache_read = Some(dice.between(0, tokens.input.unwrap_or(0) as u64 - 1) as i64);
    }
    if matches!(api, Api::Chat | Api::Responses) {
        tokens.reasoning = Some(dice.between(0, 100) as i64);
    }
    tokens
}

/// Reads some chunks and hangs up.
async fn leave(mut response: Response, chunks: u64) {
    for _ in 0..chunks {
        if !matches!(response.chunk().await, Ok(Some(_))) {
            return;
        }
    }
}

/// Reads an answer as far as it goes. Returns whether its end was read, and whether that was orderly.
///
/// A stream's end is its terminal event: an SDK takes its answer for complete there, so the row must be there by then.
async fn read_on(mut response: Response, api: Api, streams: bool) -> (bool, bool) {
    let mut body = Vec::new();
    let orderly = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    if !streams {
        return (orderly, orderly);
    }
    let terminal = match api {
        Api::Messages => "event: message_stop\ndata: ",
        Api::Responses => "event: response.completed\ndata: ",
        _ => "data: [DONE]\n\n",
    };
    let text = String::from_utf8_lossy(&body);
    let ended = text.rfind(terminal).is_some_and(|at| text[at..].ends_with("\n\n"));
    (ended, orderly)
}
