//! When a budget is going to be exceeded.
//!
//! The method: what is spent at the window's end is what was spent so far, times the window's length, over what has passed of it: the same as column
//! `projected` of table `budgets`. It is a straight line: it knows neither weekends nor nights. So that it is not drawn through too little, nobody is told
//! 1. before a tenth of the window has passed, nor before a tenth of the limit is spent;
//! 2. once the limit itself is reached, which is a percentage like any other;
//! 3. of a rolling window, which has no end.

use tollgate_record::rule::Window;
use tollgate_record::{Amount, Timestamp};

/// The part of a window, and of a limit, from which on a projection is told: a tenth.
pub const TOLD_FROM: i128 = 10;

/// What is spent at the end of the window from `start` to `end`, if it goes on as it did since its start; `None` before and behind it, and if it is more than
/// an amount can be.
pub fn at_end(spent: Amount, start: Timestamp, end: Timestamp, now: Timestamp) -> Option<Amount> {
    let (whole, passed) = parts(start, end, now)?;
    spent.mul_ratio(whole, passed).ok()
}

/// The projected spend, if someone is to be told that it exceeds the limit.
pub fn overrun(window: &Window, start: Timestamp, end: Timestamp, now: Timestamp, spent: Amount, limit: Amount) -> Option<Amount> {
    if matches!(window, Window::Rolling { .. }) || spent >= limit {
        return None;
    }
    let (whole, passed) = parts(start, end, now)?;
    let is_early = passed.checked_mul(TOLD_FROM)? < whole || spent.units().checked_mul(TOLD_FROM)? < limit.units();
    if is_early {
        return None;
    }
    at_end(spent, start, end, now).filter(|projected| *projected > limit)
}

/// The window's length, and what has passed of it, in microseconds.
fn parts(start: Timestamp, end: Timestamp, now: Timestamp) -> Option<(i128, i128)> {
    let [start, end, now] = [start, end, now].map(|at| i128::from(at.unix_us()));
    (start < now && now < end).then_some((end - start, now - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: &str = "100";

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn at(us: i64) -> Timestamp {
        Timestamp::from_unix_us(us)
    }

    /// Of a window of 1,000 microseconds and a limit of 100.
    fn told(now: i64, spent: &str) -> Option<Amount> {
        let once = Window::Once {
            start: at(0),
            end: at(1000),
        };
        overrun(&once, at(0), at(1000), at(now), amount(spent), amount(LIMIT))
    }

    #[test]
    fn what_goes_on_as_before_is_a_straight_line() {
        // 30 in a quarter of the window are 120 in all of it.
        assert_eq!(told(250, "30"), Some(amount("120")));
        assert_eq!(told(250, "25"), None, "100 is not more than 100");
        assert_eq!(told(500, "50.000000000001"), Some(amount("100.000000000002")));
        assert_eq!(at_end(amount("1"), at(0), at(3), at(2)), Some(amount("1.5")));
    }

    #[test]
    fn nothing_is_said_before_a_tenth_of_the_window_and_of_the_limit() {
        assert_eq!(told(99, "40"), None);
        assert_eq!(told(100, "40"), Some(amount("400")));
        assert_eq!(told(0, "40"), None);
        // A limit of 100 that is to be exceeded by what was spent in a tenth needs more than 10 of it.
        assert_eq!(told(100, "9.99"), None);
        assert_eq!(told(100, "10.01"), Some(amount("100.1")));
    }

    #[test]
    fn nothing_is_said_of_a_limit_that_is_reached_nor_outside_of_the_window() {
        assert_eq!(told(500, "100"), None);
        assert_eq!(told(500, "99.9"), Some(amount("199.8")));
        assert_eq!((told(1000, "99.9"), told(-5, "99.9")), (None, None));
        let rolling = Window::Rolling { length_us: 1000 };
        assert_eq!(overrun(&rolling, at(0), at(1000), at(500), amount("99"), amount(LIMIT)), None);
        assert_eq!(overrun(&rolling, at(0), at(1000), at(500), amount("0"), amount("0")), None);
    }
}
