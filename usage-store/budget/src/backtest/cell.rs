//! What one counter holds under one limit.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tollgate_record::rule::{Rate, Reservation, Window};

use super::Tried;
use crate::bucket::Bucket;
use crate::window::{Span, step_us};

#[derive(Debug)]
pub(super) enum Cell {
    /// Of a window that all counters share.
    Sum(i128),
    /// Of a rolling window: the sum of the steps, and each with its first instant.
    Rolling(i128, VecDeque<(i64, i128)>),
    Bucket(Bucket),
    /// When the calls that are open end; the first one on top.
    Open(BinaryHeap<Reverse<i64>>),
}

/// What a cell has to know of a call.
pub(super) struct Call {
    pub(super) now: i64,
    pub(super) end: i64,
    pub(super) window: Option<Span>,
    pub(super) amount: i128,
}

impl Cell {
    pub(super) fn of(rule: &Tried) -> Self {
        match rule {
            Tried::Budget(budget) => match budget.window {
                Window::Rolling { .. } => Self::Rolling(0, VecDeque::new()),
                Window::Calendar { .. } | Window::Once { .. } => Self::Sum(0),
            },
            Tried::Rate(limit) => match limit.limit {
                Rate::Concurrency(_) => Self::Open(BinaryHeap::new()),
                Rate::Requests { .. } | Rate::Tokens { .. } => Self::Bucket(Bucket::default()),
            },
        }
    }

    /// Adds what was spent before the test begins.
    pub(super) fn open(&mut self, step: i64, amount: i128) {
        match self {
            Self::Sum(spent) => *spent = spent.saturating_add(amount),
            Self::Rolling(spent, steps) => {
                *spent = spent.saturating_add(amount);
                let place = steps.partition_point(|(begin, _)| *begin < step);
                match steps.get_mut(place) {
                    Some((begin, sum)) if *begin == step => *sum = sum.saturating_add(amount),
                    _ => steps.insert(place, (step, amount)),
                }
            }
            Self::Bucket(_) | Self::Open(_) => {}
        }
    }

    /// Whether a call fits, once what has passed is let go.
    pub(super) fn fits(&mut self, rule: &Tried, limit: i128, call: &Call) -> bool {
        match self {
            Self::Sum(spent) => within(rule, *spent, limit, call.amount),
            Self::Rolling(spent, steps) => {
                let start = call.window.map_or(i64::MIN, |window| window.start);
                while let Some((_, sum)) = steps.pop_front_if(|(step, _)| *step < start) {
                    *spent = spent.saturating_sub(sum);
                }
                within(rule, *spent, limit, call.amount)
            }
            Self::Bucket(bucket) => {
                let (count, window_us) = (whole(limit), rule.window_us());
                bucket.refill(count, call.now);
                bucket.excess(count, window_us, whole(call.amount)).is_none()
            }
            Self::Open(ends) => {
                while ends.peek().is_some_and(|Reverse(end)| *end <= call.now) {
                    ends.pop();
                }
                (ends.len() as i128) < limit
            }
        }
    }

    /// Counts a call that is made.
    pub(super) fn take(&mut self, rule: &Tried, limit: i128, call: &Call) {
        match self {
            Self::Sum(spent) => *spent = spent.saturating_add(call.amount),
            Self::Rolling(..) => {
                let Some(Window::Rolling { length_us }) = rule.window() else {
                    return;
                };
                let width = step_us(*length_us);
                self.open(call.now.div_euclid(width) * width, call.amount);
            }
            // What it used is taken, also what the bucket does not hold: then it is in debt.
            Self::Bucket(bucket) => {
                bucket.refill(whole(limit), call.now);
                bucket.level = bucket
                    .level
                    .saturating_add(call.amount.saturating_mul(i128::from(rule.window_us())));
            }
            Self::Open(ends) => ends.push(Reverse(call.end)),
        }
    }

    /// Whether it holds nothing that a later call would see.
    pub(super) fn is_idle(&self, limit: i128, start: i64, now: i64) -> bool {
        match self {
            Self::Sum(spent) => *spent == 0,
            Self::Rolling(_, steps) => steps.back().is_none_or(|(step, _)| *step < start),
            Self::Bucket(bucket) => {
                let mut bucket = *bucket;
                bucket.refill(whole(limit), now);
                bucket.level == 0
            }
            Self::Open(ends) => ends.iter().all(|Reverse(end)| *end <= now),
        }
    }
}

/// As [`crate::decide::fits`] says of a worst case that is what the call came to.
fn within(rule: &Tried, spent: i128, limit: i128, amount: i128) -> bool {
    let none = matches!(rule, Tried::Budget(budget) if budget.reservation == Reservation::None);
    amount == 0
        || if none {
            spent < limit
        } else {
            spent.saturating_add(amount) <= limit
        }
}

fn whole(count: i128) -> u64 {
    u64::try_from(count.max(0)).unwrap_or(u64::MAX)
}
