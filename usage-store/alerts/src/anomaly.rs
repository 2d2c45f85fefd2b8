//! When an hour is far outside of its own history.
//!
//! The method, over the four weeks before the hour, of one counter. What is not in the history is an hour in which nothing was spent.
//!
//! 1. Nothing is said of a counter that first spent something less than [`HISTORY_HOURS_MIN`] hours ago.
//! 2. The hour is compared with the same hour of the week, and with the hours before and behind that, in each of the four weeks: twelve hours, of which the
//!    neighbours are brought to the level of the one by the slope between them. Their median is what is usual. If the last day lay above what is usual for its hours (a team that grows), the usual is raised by the median of that; it is never
//!    lowered, so that the day after a holiday is no surprise.
//! 3. The spread is the median of how far the hours of the four weeks that lie above what is usual for them do so, brought to a standard deviation. What lies
//!    below does not count: holidays do. It is taken of logarithms, since what varies in spend is its factor.
//! 4. The bound is the largest of: [`RATIO_MIN`] times the usual; the usual and [`SPREADS_MIN`] spreads; [`RATIO_OF_UPPER_MIN`] times the upper quarter of the
//!    twelve, or the median of the same hour alone if that is more; the usual and the floor. So a batch that comes each night is none, nor is a tiny hour.
//! 5. Where less than half of the twelve spent anything, the hour is compared with all hours of the four weeks that did, and their upper tenth takes the
//!    place of the upper quarter. Of fewer than [`ACTIVE_HOURS_MIN`] of those nothing is said.
//!
//! The sum of an hour only grows: it may be judged before the hour has ended, and is then an anomaly as soon as it is one.
//!
//! Amounts are integers. The statistics are floats, of which only factors come out, rounded to thousandths.

use tollgate_record::{Amount, Timestamp};

/// Hours that a counter must have been spending for: two weeks.
pub const HISTORY_HOURS_MIN: i64 = 14 * 24;
/// Hours that are looked at: four weeks. What is older need not be in a history.
pub const HISTORY_HOURS: i64 = 28 * 24;
/// Hours with spend that are needed where most have none.
pub const ACTIVE_HOURS_MIN: usize = 24;
/// How many times the usual an anomaly is, at least.
pub const RATIO_MIN: f64 = 3.0;
/// How many spreads above the usual it is, at least.
pub const SPREADS_MIN: f64 = 3.5;
/// How many times the upper quarter of what it is compared with it is, at least.
pub const RATIO_OF_UPPER_MIN: f64 = 2.5;

const HOUR_US: i64 = 3_600_000_000;
const WEEK_HOURS: usize = 7 * 24;
const WINDOW: usize = 4 * WEEK_HOURS;
const DAY_HOURS: usize = 24;
/// Hours of the last day with something to say that a shift of its level needs.
const LEVEL_HOURS_MIN: usize = 6;
/// The most that the level of the last day raises what is usual: eight times.
const LEVEL_MAX: f64 = 8.0;
/// The spread is never taken for less, however even the history: a tenth.
const SPREAD_MIN: f64 = 0.1;
/// Median absolute deviation to standard deviation, of a normal distribution.
const DEVIATION: f64 = 1.4826;
/// The largest factor, in thousandths: what is beyond fits no amount either.
const FACTOR_MAX: f64 = 1e15;

/// An hour of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

/// What makes an hour an anomaly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anomaly {
    /// What is usual in such an hour.
    pub usual: Amount,
    /// The most that would have been none.
    pub bound: Amount,
    /// How many spreads above the usual it lies.
    pub score: f64,
}

/// What an hour is compared with.
struct Usual {
    /// In units.
    middle: i128,
    /// By which the middle is raised, as a logarithm.
    level: f64,
    spread: f64,
    /// How far the upper part lies above the middle, as a logarithm.
    upper: f64,
}

/// Four weeks, hour by hour.
struct Window {
    units: Vec<i128>,
    logs: Vec<f64>,
    /// The first place that is known.
    begun: usize,
    /// What is added before a logarithm is taken, in units: less than that is as good as nothing.
    little: i128,
}

/// The least excess that is an anomaly, of a budget: what its limit comes to in half an hour, if it is spent evenly over a window of so many microseconds.
pub fn floor(limit: Amount, window_us: i64) -> Amount {
    let share = limit.mul_ratio(i128::from(HOUR_US / 2), i128::from(window_us.max(HOUR_US / 2)));
    share
        .unwrap_or(Amount::ZERO)
        .max(Amount::from_units(1).unwrap_or(Amount::ZERO))
}

/// Judges an hour of one counter, in which so much was spent (as of yet), by its history: sums of hours before it, in any order, each hour once.
pub fn judge(history: &[(Hour, Amount)], hour: Hour, spent: Amount, floor: Amount) -> Option<Anomaly> {
    // Most hours of most counters.
    if spent <= floor {
        return None;
    }
    let window = Window::new(history, hour, floor)?;
    let found = window.seasonal().or_else(|| window.active())?;
    let usual = window.times(found.middle, found.level)?;
    let over = RATIO_MIN
        .ln()
        .max(found.spread * SPREADS_MIN)
        .max(found.upper + RATIO_OF_UPPER_MIN.ln() - found.level);
    let bound = window.times(usual.units(), over)?.max(usual.checked_add(floor).ok()?);
    if spent <= bound {
        return None;
    }
    let distance = window.log(spent.units()) - window.log(usual.units());
    Some(Anomaly {
        usual,
        bound,
        score: distance / found.spread,
    })
}

// === impl Hour ===

impl Hour {
    /// The hour that an instant lies in.
    pub const fn of(at: Timestamp) -> Self {
        Self(at.unix_us().div_euclid(HOUR_US))
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_unix_us(self.0.saturating_mul(HOUR_US))
    }

    /// The hour so many hours later, or before.
    #[must_use]
    pub const fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }
}

// === impl Window ===

impl Window {
    /// `None` if the history is too short.
    fn new(history: &[(Hour, Amount)], hour: Hour, floor: Amount) -> Option<Self> {
        let before = |of: Hour| usize::try_from(hour.0.saturating_sub(of.0)).unwrap_or(0);
        let little = (floor.units() / 10).max(1);
        let mut units = vec![0; WINDOW];
        let mut begun = 0;
        for (of, amount) in history {
            let distance = before(*of);
            if distance == 0 || *amount <= Amount::ZERO {
                continue;
            }
            begun = begun.max(distance);
            if let Some(place) = WINDOW.checked_sub(distance)
                && let Some(unit) = units.get_mut(place)
            {
                *unit = amount.units();
            }
        }
        if i64::try_from(begun).unwrap_or(i64::MAX) < HISTORY_HOURS_MIN {
            return None;
        }
        let mut window = Self {
            units,
            logs: Vec::new(),
            begun: WINDOW.saturating_sub(begun),
            little,
        };
        window.logs = window.units.iter().map(|units| window.log(*units)).collect();
        Some(window)
    }

    fn log(&self, units: i128) -> f64 {
        (units.saturating_add(self.little) as f64).ln()
    }

    fn is_active(&self, place: usize) -> bool {
        self.units.get(place).is_some_and(|units| *units >= self.little)
    }

    /// An amount times a factor that is given as a logarithm.
    fn times(&self, units: i128, factor: f64) -> Option<Amount> {
        let thousandths = (factor.exp() * 1000.0).round();
        if !(0.0..=FACTOR_MAX).contains(&thousandths) {
            return None;
        }
        let raised = Amount::from_units(units.checked_add(self.little)?).ok()?;
        let raised = raised.mul_ratio(thousandths as i128, 1000).ok()?;
        Amount::from_units(raised.units() - self.little).ok()
    }

    /// Places of an hour of the week, that of the first place and so many behind it.
    fn same(&self, hour: usize) -> impl Iterator<Item = usize> + '_ {
        let all = (hour % WEEK_HOURS..WINDOW).step_by(WEEK_HOURS);
        all.filter(|place| *place >= self.begun)
    }

    /// Logarithms of an hour of the week and of its neighbours, those brought to its level by the slope from the one to the other.
    fn levelled(&self, hour: usize) -> Vec<f64> {
        // A week on, so that there is an hour before the first one.
        let neighbours = [hour + WEEK_HOURS - 1, hour, hour + 1];
        let [before, same, behind] = neighbours.map(|hour| self.logs_of(self.same(hour)));
        let slope = match (quantile(&mut before.clone(), 1, 2), quantile(&mut behind.clone(), 1, 2)) {
            (Some(before), Some(behind)) => (behind - before) / 2.0,
            _ => 0.0,
        };
        let before = before.into_iter().map(|log| log + slope);
        same.into_iter()
            .chain(before)
            .chain(behind.into_iter().map(|log| log - slope))
            .collect()
    }

    fn logs_of(&self, places: impl Iterator<Item = usize>) -> Vec<f64> {
        places.filter_map(|place| self.logs.get(place).copied()).collect()
    }

    /// By the same hour of the week. `None` where most of those have nothing.
    fn seasonal(&self) -> Option<Usual> {
        // The hour that is judged stands a whole number of weeks behind the first place.
        let places: Vec<usize> = [WEEK_HOURS - 1, 0, 1].into_iter().flat_map(|hour| self.same(hour)).collect();
        let active = places.iter().filter(|place| self.is_active(**place)).count();
        if active * 2 < places.len() {
            return None;
        }
        let mut logs = self.levelled(0);
        let level_of_middle = quantile(&mut logs, 1, 2)?;
        let same = quantile(&mut self.logs_of(self.same(0)), 1, 2)?;
        let upper = quantile(&mut logs, 3, 4)?.max(same) - level_of_middle;
        let mut units: Vec<i128> = places.iter().filter_map(|place| self.units.get(*place).copied()).collect();
        let at = units.len().checked_sub(1)? / 2;
        let (_, middle, _) = units.select_nth_unstable(at);
        let middle = *middle;

        let usual: Vec<f64> = (0..WEEK_HOURS)
            .map(|place| quantile(&mut self.levelled(place), 1, 2).unwrap_or(f64::NAN))
            .collect();
        let off = |place: usize| {
            let usual = usual.get(place % WEEK_HOURS)?;
            let spends = self.is_active(place) || *usual > self.log(self.little);
            (spends && usual.is_finite()).then_some(self.logs.get(place)? - usual)
        };
        // Each is a distance from what is usual already.
        let all = deviation((self.begun..WINDOW).filter_map(off))?;
        let mut day: Vec<f64> = (WINDOW - DAY_HOURS..WINDOW).filter_map(off).collect();
        let level = match day.len() >= LEVEL_HOURS_MIN {
            true => quantile(&mut day, 1, 2)?.clamp(0.0, LEVEL_MAX.ln()),
            false => 0.0,
        };
        Some(Usual {
            middle,
            level,
            spread: all.max(SPREAD_MIN),
            upper,
        })
    }

    /// By all hours that spent something.
    fn active(&self) -> Option<Usual> {
        let places: Vec<usize> = (self.begun..WINDOW).filter(|place| self.is_active(*place)).collect();
        if places.len() < ACTIVE_HOURS_MIN {
            return None;
        }
        let mut logs = self.logs_of(places.iter().copied());
        let middle = quantile(&mut logs, 1, 2)?;
        let upper = quantile(&mut logs, 9, 10)? - middle;
        let spread = deviation(logs.iter().map(|log| log - middle))?.max(SPREAD_MIN);
        let mut units: Vec<i128> = places.iter().filter_map(|place| self.units.get(*place).copied()).collect();
        let at = units.len().checked_sub(1)? / 2;
        let (_, middle, _) = units.select_nth_unstable(at);
        Some(Usual {
            middle: *middle,
            level: 0.0,
            spread,
            upper,
        })
    }
}

/// The value that so large a part of the values does not exceed; the lower one of two in the middle.
fn quantile(values: &mut [f64], numerator: usize, denominator: usize) -> Option<f64> {
    let at = values.len().checked_sub(1)? * numerator / denominator;
    Some(*values.select_nth_unstable_by(at, f64::total_cmp).1)
}

/// The median of how far values lie above the middle, as a standard deviation. What lies below is another matter: holidays do.
fn deviation(off: impl Iterator<Item = f64>) -> Option<f64> {
    let mut above: Vec<f64> = off.filter(|off| *off >= 0.0).collect();
    quantile(&mut above, 1, 2).map(|distance| distance * DEVIATION)
}

#[cfg(test)]
mod seasons;
