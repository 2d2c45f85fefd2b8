//! The rig of every kind over HTTP, gRPC included.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::receiver::{Act, Receiver, Request, Response, Wire};
use super::{Fault, Rig};
use crate::Destination;
use crate::testing::Virtual;

/// What a kind over HTTP has of its own.
pub(crate) trait HttpKind: Send + Sync + 'static {
    /// How the far side is spoken to.
    const WIRE: Wire = Wire::Http1;

    /// What the paths of requests with rows hold; of several, each is to get every row. Requests to other paths have no rows.
    const SIGNALS: &'static [&'static str] = &[""];

    /// Whether the far side keeps a row once that comes again.
    const DROPS_REPEATS: bool = false;

    /// Whether a request is answered whatever the fault is: one whose failure is no failure of a delivery.
    fn is_aside(request: &Request) -> bool {
        let _ = request;
        false
    }

    /// A destination that delivers to `url`, trusts `ca` (PEM) and shows `credential`.
    fn destination(url: &str, ca: &str, credential: &str, clock: &Arc<Virtual>) -> Arc<dyn Destination>;

    /// The credential that a request shows.
    fn credential(request: &Request) -> Option<String>;

    /// Ids of the rows in a request.
    fn ids(request: &Request) -> Vec<String>;

    /// What the far side answers when it has taken a request.
    fn accepted(request: &Request) -> Response {
        let _ = request;
        Response::of(200, "")
    }

    /// What it answers to a request with these rows in it, places ascending, which it will never take; it takes nothing of it.
    fn refused(request: &Request, places: &[usize]) -> Response {
        let _ = (request, places);
        Response::of(400, "a row is bad")
    }
}

pub(crate) struct HttpRig<K> {
    receiver: Receiver,
    clock: Arc<Virtual>,
    far_side: Arc<Mutex<FarSide>>,
    kind: PhantomData<K>,
}

#[derive(Default)]
struct FarSide {
    /// How often each row came, by what of [`HttpKind::SIGNALS`] the path holds.
    taken: BTreeMap<&'static str, BTreeMap<String, usize>>,
    bad: BTreeSet<String>,
    rotations: u32,
}

// === impl HttpRig ===

impl<K: HttpKind> Rig for HttpRig<K> {
    async fn start(clock: &Arc<Virtual>) -> Self {
        let far_side = Arc::new(Mutex::new(FarSide::default()));
        let handled = Arc::clone(&far_side);
        let handler = move |request: &Request| handled.lock().unwrap().handle::<K>(request);
        let receiver = Receiver::start(clock, K::WIRE, K::is_aside, Arc::new(handler)).await;
        Self {
            receiver,
            clock: Arc::clone(clock),
            far_side,
            kind: PhantomData,
        }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        let credential = self.far_side.lock().unwrap().credential();
        K::destination(&self.receiver.url(), self.receiver.ca(), &credential, &self.clock)
    }

    fn fault(&self, fault: Fault) -> bool {
        match fault {
            Fault::Down(times) => {
                // Half of the time nobody answers, half of the time someone says so.
                self.receiver.next(times / 2, &Act::Cut);
                self.receiver.next(times - times / 2, &Act::Answer(Response::of(503, "down")));
            }
            Fault::Busy(times, after) => self.receiver.next(times, &Act::Answer(Response::retry_after(429, after))),
            Fault::Hang(times) => self.receiver.next(times, &Act::Hang),
            Fault::Slow(times) => self.receiver.next(times, &Act::Slow),
            Fault::TakesAndCuts(times) => self.receiver.next(times, &Act::TakeAndCut),
            Fault::Garbage(times) => self.receiver.next(times, &Act::Garbage),
            Fault::BadRows(ids) => self.far_side.lock().unwrap().bad = ids,
            Fault::Untrusted(untrusted) => self.receiver.trusted(!untrusted),
            Fault::Rotated => self.far_side.lock().unwrap().rotations += 1,
        }
        true
    }

    fn taken(&self) -> Vec<String> {
        self.far_side.lock().unwrap().whole(K::SIGNALS)
    }

    fn drops_repeats(&self) -> bool {
        K::DROPS_REPEATS
    }
}

// === impl FarSide ===

impl FarSide {
    fn credential(&self) -> String {
        format!("credential-{}", self.rotations)
    }

    fn handle<K: HttpKind>(&mut self, request: &Request) -> Response {
        if K::credential(request) != Some(self.credential()) {
            return Response::of(401, "who are you?");
        }
        let Some(signal) = K::SIGNALS.iter().find(|signal| request.path.contains(**signal)) else {
            return K::accepted(request);
        };
        let ids = K::ids(request);
        assert!(!ids.is_empty(), "a request without rows: {request:?}");
        let bad: Vec<_> = (0..ids.len()).filter(|place| self.bad.contains(&ids[*place])).collect();
        if !bad.is_empty() {
            return K::refused(request, &bad);
        }
        let taken = self.taken.entry(signal).or_default();
        for id in ids {
            let times = taken.entry(id).or_default();
            *times = if K::DROPS_REPEATS { 1 } else { *times + 1 };
        }
        K::accepted(request)
    }

    /// The rows that every signal has, each as often as it came in the signal in which it came most often.
    fn whole(&self, signals: &[&'static str]) -> Vec<String> {
        let mut whole: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for (id, times) in signals.iter().filter_map(|signal| self.taken.get(signal)).flatten() {
            let (had, most) = whole.entry(id).or_default();
            (*had, *most) = (*had + 1, (*most).max(*times));
        }
        whole
            .into_iter()
            .filter(|(_, (had, _))| *had == signals.len())
            .flat_map(|(id, (_, most))| std::iter::repeat_n(id.clone(), most))
            .collect()
    }
}
