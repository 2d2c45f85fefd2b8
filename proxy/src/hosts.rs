//! Which URL of a provider a call goes to.
//!
//! 1. Calls are dealt out by weight, evenly: of weights 3 and 1, each fourth call in a row goes to the second.
//! 2. While calls are so rare that connections would grow cold between two calls to one URL, they stay with the one that was used last.
//! 3. A URL that could not be connected to rests, for [`REST_MIN`] and twice as long each time in a row, at most [`REST_MAX`]. Then one call tries it,
//!    and the others only once it cannot have failed any more.
//! 4. When all rest, they are tried all the same, the one first that has rested longest. A provider of one URL never rests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use tollgate_record::Name;

use crate::transport::POOL_IDLE;

/// How long a URL rests that could not be connected to.
pub(crate) const REST_MIN: Duration = Duration::from_secs(5);
/// How long it rests at most.
pub(crate) const REST_MAX: Duration = Duration::from_secs(60);
/// Most URLs of a provider: a call notes which it has tried in the bits of a number.
pub(crate) const HOSTS_MAX: usize = 16;

/// One URL of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Host and port, as they stand in rows.
    pub(crate) address: Name,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Path of the URL, without a slash at its end.
    pub(crate) base_path: Box<str>,
    pub(crate) weight: u32,
}

/// The URLs of a provider, at least one.
#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: Box<[Host]>,
    /// Longest time between two calls in which every URL's connections stay warm.
    warm_gap: Duration,
    /// Longest time that connecting takes.
    connect_timeout: Duration,
    /// Guards what is known of each URL; held for a few steps, never across an await.
    state: Mutex<State>,
}

/// Which URLs a call has tried, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried(u32);

#[derive(Clone, Debug)]
struct State {
    last: usize,
    last_at: Option<Instant>,
    each: Box<[Health]>,
}

/// What is known of one URL.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// What it is owed of the calls dealt out so far.
    credit: i64,
    /// Failures to connect, in a row.
    failures: u32,
    rests_until: Option<Instant>,
    /// Whether the rest is over and one call tries it.
    is_tried: bool,
}

// === impl Host ===

impl Host {
    /// Where a call goes: this URL with the rest of the path appended as it was sent, and the query.
    pub(crate) fn uri(&self, rest: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let query_bytes = query.map_or(0, |query| query.len() + 1);
        let mut target = String::with_capacity(self.base_path.len() + rest.len() + query_bytes);
        target.push_str(&self.base_path);
        target.push_str(rest);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))?);
        Ok(Uri::from_parts(parts)?)
    }
}

// === impl Hosts ===

impl Hosts {
    /// At least one URL, at most [`HOSTS_MAX`].
    pub(crate) fn new(hosts: Vec<Host>, connect_timeout: Duration) -> Self {
        let total: u32 = hosts.iter().map(|host| host.weight).sum();
        let least = hosts.iter().map(|host| host.weight).min().unwrap_or(1);
        let each = vec![Health::default(); hosts.len()].into();
        Self {
            // The URL of the least weight has a call in every total / least.
            warm_gap: POOL_IDLE * least / total.max(1),
            hosts: hosts.into(),
            connect_timeout,
            state: Mutex::new(State {
                last: 0,
                last_at: None,
                each,
            }),
        }
    }

    /// Whether there is more than one URL.
    pub(crate) fn are_several(&self) -> bool {
        self.hosts.len() > 1
    }

    /// One of the URLs.
    pub(crate) fn get(&self, index: usize) -> Option<&Host> {
        self.hosts.get(index)
    }

    /// What stands for all URLs together, in whichever order they are: the least of their hosts.
    pub(crate) fn place(&self) -> &str {
        let addresses = self.hosts.iter().map(|host| host.address.as_str());
        addresses.min().unwrap_or_default()
    }

    /// The path of each URL.
    pub(crate) fn base_paths(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &*host.base_path)
    }

    /// The only URL.
    pub(crate) fn only(&self) -> Option<&Host> {
        match &*self.hosts {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Chooses a URL that the call has not tried, and notes that it does; `None` if it has tried all.
    pub(crate) fn choose(&self, tried: &mut Tried, now: Instant) -> Option<(usize, &Host)> {
        let chosen = if self.are_several() {
            self.lock().choose(self, *tried, now)?
        } else {
            (!tried.has(0)).then_some(0)?
        };
        tried.add(chosen);
        Some((chosen, self.hosts.get(chosen)?))
    }

    /// Notes that a URL could not be connected to.
    pub(crate) fn failed(&self, index: usize, now: Instant) {
        if !self.are_several() {
            return;
        }
        if let Some(health) = self.lock().each.get_mut(index) {
            // Calls that began together fail together, which is one failure.
            if !health.is_resting(now) || health.is_tried {
                health.failures = health.failures.saturating_add(1);
            }
            let doubled = REST_MIN.saturating_mul(1 << health.failures.saturating_sub(1).min(8));
            health.rests_until = Some(now + doubled.min(REST_MAX));
            health.is_tried = false;
        }
    }

    /// Notes that a URL was connected to.
    pub(crate) fn connected(&self, index: usize) {
        if !self.are_several() {
            return;
        }
        if let Some(health) = self.lock().each.get_mut(index) {
            health.recover();
        }
    }

    /// How many URLs rest.
    pub(crate) fn resting(&self, now: Instant) -> usize {
        if !self.are_several() {
            return 0;
        }
        self.lock().each.iter().filter(|health| health.is_resting(now)).count()
    }

    /// Takes over what a former configuration knows of the URLs that are still there.
    pub(crate) fn adopt(&self, former: &Self) {
        if !self.are_several() || !former.are_several() {
            return;
        }
        let known = former.lock().clone();
        let mut state = self.lock();
        for (host, health) in self.hosts.iter().zip(state.each.iter_mut()) {
            let place = former
                .hosts
                .iter()
                .position(|other| (&other.authority, &other.scheme) == (&host.authority, &host.scheme));
            if let Some(known) = place.and_then(|place| known.each.get(place)) {
                *health = Health { credit: 0, ..*known };
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn choose(&mut self, hosts: &Hosts, tried: Tried, now: Instant) -> Option<usize> {
        let is_open = |index: usize, health: &Health| !tried.has(index) && !health.is_resting(now);
        let is_rare = self.last_at.is_none_or(|last| now.duration_since(last) > hosts.warm_gap);
        let stays = is_rare && self.last_at.is_some() && self.each.get(self.last).is_some_and(|health| is_open(self.last, health));
        let chosen = if stays {
            self.last
        } else {
            self.deal(hosts, is_open).or_else(|| self.rested_longest(tried))?
        };
        self.last = chosen;
        self.last_at = Some(now);
        self.each.get_mut(chosen)?.was_chosen(now, hosts.connect_timeout);
        Some(chosen)
    }

    /// Deals out by weight: each is owed its weight a call, and the one that is owed most pays for all.
    fn deal(&mut self, hosts: &Hosts, is_open: impl Fn(usize, &Health) -> bool) -> Option<usize> {
        let mut total: i64 = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (host, health)) in hosts.hosts.iter().zip(self.each.iter_mut()).enumerate() {
            if !is_open(index, health) {
                continue;
            }
            health.credit += i64::from(host.weight);
            total += i64::from(host.weight);
            if best.is_none_or(|(_, credit)| health.credit > credit) {
                best = Some((index, health.credit));
            }
        }
        let (best, _) = best?;
        self.each.get_mut(best)?.credit -= total;
        Some(best)
    }

    fn rested_longest(&self, tried: Tried) -> Option<usize> {
        let open = self.each.iter().enumerate().filter(|(index, _)| !tried.has(*index));
        open.min_by_key(|(_, health)| health.rests_until).map(|(index, _)| index)
    }
}

// === impl Health ===

impl Health {
    fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    fn was_chosen(&mut self, now: Instant, connect_timeout: Duration) {
        if self.rests_until.is_none() || self.is_resting(now) {
            return;
        }
        if self.is_tried {
            // The call that tried it would have failed by now.
            self.recover();
        } else {
            self.is_tried = true;
            self.rests_until = Some(now + connect_timeout);
        }
    }

    fn recover(&mut self) {
        self.failures = 0;
        self.rests_until = None;
        self.is_tried = false;
    }
}

// === impl Tried ===

impl Tried {
    const fn has(self, index: usize) -> bool {
        index < HOSTS_MAX && self.0 & (1 << index) != 0
    }

    const fn add(&mut self, index: usize) {
        if index < HOSTS_MAX {
            self.0 |= 1 << index;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CONNECT: Duration = Duration::from_secs(2);
    const MOMENT: Duration = Duration::from_millis(1);

    fn hosts(weights: &[u32]) -> Hosts {
        let host = |(index, weight): (usize, &u32)| Host {
            address: Name::new(&format!("h{index}:80")).unwrap(),
            scheme: Scheme::HTTP,
            authority: format!("h{index}").parse().unwrap(),
            base_path: "".into(),
            weight: *weight,
        };
        Hosts::new(weights.iter().enumerate().map(host).collect(), CONNECT)
    }

    fn chosen(hosts: &Hosts, tried: &mut Tried, now: Instant) -> Option<usize> {
        hosts.choose(tried, now).map(|(index, _)| index)
    }

    /// Calls one after the other, with a pause before each.
    fn dealt(hosts: &Hosts, now: &mut Instant, pause: Duration, calls: usize) -> Vec<usize> {
        let mut call = || {
            *now += pause;
            hosts.choose(&mut Tried::default(), *now).unwrap().0
        };
        (0..calls).map(|_| call()).collect()
    }

    #[test]
    fn calls_are_dealt_out_by_weight() {
        let mut now = Instant::now();
        assert_eq!(dealt(&hosts(&[1, 1]), &mut now, MOMENT, 4), [0, 1, 0, 1]);
        assert_eq!(dealt(&hosts(&[3, 1]), &mut now, MOMENT, 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        let many = dealt(&hosts(&[5, 3, 2]), &mut now, MOMENT, 1000);
        let count = |host| many.iter().filter(|chosen| **chosen == host).count();
        assert_eq!([count(0), count(1), count(2)], [500, 300, 200]);
    }

    #[test]
    fn rare_calls_stay_with_the_connection_that_is_warm() {
        let hosts = hosts(&[1, 1]);
        let mut now = Instant::now();
        // Dealt out in turn, each URL would be called every 92 s, and connections are kept for 90.
        assert_eq!(dealt(&hosts, &mut now, Duration::from_secs(46), 4), [0, 0, 0, 0]);
        assert_eq!(dealt(&hosts, &mut now, Duration::from_secs(44), 4), [1, 0, 1, 0]);
    }

    #[test]
    fn one_that_cannot_be_connected_to_rests_and_is_tried_by_one_call() {
        let hosts = hosts(&[1, 1]);
        let mut now = Instant::now();
        let mut tried = Tried::default();
        assert_eq!(chosen(&hosts, &mut tried, now), Some(0));
        hosts.failed(0, now);
        assert_eq!(hosts.resting(now), 1);
        assert_eq!(chosen(&hosts, &mut tried, now), Some(1), "the same call goes on to the next");
        assert_eq!(chosen(&hosts, &mut tried, now), None, "and then has tried all");
        now += REST_MIN - MOMENT * 8;
        assert_eq!(dealt(&hosts, &mut now, MOMENT, 4), [1, 1, 1, 1]);
        now += MOMENT * 4;
        let after = dealt(&hosts, &mut now, MOMENT, 6);
        assert_eq!(after.iter().filter(|chosen| **chosen == 0).count(), 1, "{after:?}");
        // It has had the time in which it would have failed.
        now += CONNECT;
        let after = dealt(&hosts, &mut now, MOMENT, 6);
        assert_eq!(after.iter().filter(|chosen| **chosen == 0).count(), 3, "{after:?}");
        assert_eq!(hosts.resting(now), 0);
    }

    #[test]
    fn rests_grow_to_a_bound_and_end_with_a_connection() {
        let hosts = hosts(&[1, 1]);
        let mut now = Instant::now();
        let mut fail = |expected: u64| {
            hosts.failed(0, now);
            let rest = Duration::from_secs(expected);
            assert_eq!(hosts.resting(now + rest - MOMENT), 1);
            assert_eq!(hosts.resting(now + rest), 0);
            now += rest;
        };
        for expected in [5, 10, 20, 40, 60, 60] {
            fail(expected);
        }
        hosts.connected(0);
        fail(5);
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let hosts = hosts(&[1, 1]);
        let now = Instant::now();
        for _ in 0..10 {
            hosts.failed(0, now);
        }
        assert_eq!(
            (hosts.resting(now + REST_MIN - MOMENT), hosts.resting(now + REST_MIN)),
            (1, 0)
        );
    }

    #[test]
    fn when_all_rest_the_one_that_rested_longest_is_tried() {
        let hosts = hosts(&[1, 1, 1]);
        let now = Instant::now();
        for (index, ago) in [(0, 1), (1, 3), (2, 2)] {
            hosts.failed(index, now - Duration::from_secs(ago));
        }
        let mut tried = Tried::default();
        let order: Vec<_> = std::iter::from_fn(|| chosen(&hosts, &mut tried, now)).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn the_only_url_never_rests() {
        let hosts = hosts(&[1]);
        let now = Instant::now();
        hosts.failed(0, now);
        let mut tried = Tried::default();
        assert_eq!(
            (chosen(&hosts, &mut tried, now), chosen(&hosts, &mut tried, now)),
            (Some(0), None)
        );
        assert_eq!(hosts.resting(now), 0);
    }

    #[test]
    fn a_reload_remembers_which_rest() {
        let former = hosts(&[1, 1]);
        let now = Instant::now();
        former.failed(1, now);
        let next = hosts(&[7, 1, 1]);
        next.adopt(&former);
        assert_eq!(next.resting(now), 1);
        assert!(!dealt(&next, &mut now.clone(), MOMENT, 9).contains(&1));
    }
}
