//! Closed-loop clients that remember which answers they have read to the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::call::{Api, Call, Target};
use super::gateway::Gateway;
use super::process::eventually;
use super::raw;
use super::world::KEY;

/// Clients that call as fast as they are answered, until they are stopped or the gateway is gone.
pub(crate) struct Traffic {
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Traffic {
    /// Starts clients of every interface, half of them streaming.
    pub(crate) fn start(gateway: &Gateway, clients: usize, session: &str) -> Self {
        let mut traffic = Self {
            acknowledged: Arc::default(),
            stop: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..clients {
            let (url, session) = (gateway.url(), session.to_owned());
            let (acknowledged, stop) = (traffic.acknowledged.clone(), traffic.stop.clone());
            traffic.clients.spawn(async move {
                let client = reqwest::Client::new();
                for round in number.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let api = Api::ALL[round % 5];
                    let stream = round / 5 % 2 == 0 && api != Api::Embeddings;
                    let call = Call::new(api).streamed_if(stream).simulate("chunks=8");
                    let target = Target::new(format!("{url}/{}", api.provider()), KEY).header("x-tollgate-session", &session);
                    let Some(answer) = raw::try_send(raw::request(&client, &call, &target)).await else {
                        return;
                    };
                    if answer.broken.is_some() {
                        return;
                    }
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let call_id = answer
                        .header("x-tollgate-call-id")
                        .expect("every answer names its call")
                        .to_owned();
                    acknowledged.lock().unwrap().push(call_id);
                }
            });
        }
        traffic
    }

    /// Waits until so many answers have been read.
    pub(crate) async fn reach(&self, answers: usize) {
        eventually(format!("{answers} answers"), Duration::from_secs(60), || async {
            (self.acknowledged.lock().unwrap().len() >= answers).then_some(())
        })
        .await;
    }

    /// Lets the calls that are open end, and returns the ids of those whose answers were read.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client saw an answer that it must not see");
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}
