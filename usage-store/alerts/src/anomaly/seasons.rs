//! Synthetic seasons: how often an hour without cause is called an anomaly, and how seldom a runaway is missed.

use super::*;

/// Weeks of a season.
const WEEKS: i64 = 14;
/// Seasons of each kind.
const SEEDS: u64 = 3;
/// A Monday: 2026-01-05.
const MONDAY: i64 = 491_064 + 24;

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A factor whose logarithm is normal with this deviation (Box and Muller).
    fn noise(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        (sigma * radius * (std::f64::consts::TAU * self.share()).cos()).exp()
    }
}

/// Dollars of an hour of the season.
type Season = fn(i64, &mut Random) -> f64;

/// A working day and a quiet night; a third at the weekend.
fn office(hour: i64) -> f64 {
    let (day, weekday) = (hour.rem_euclid(24) as f64, hour.div_euclid(24).rem_euclid(7));
    let daily = 1.0 + 19.0 * (-((day - 14.0) / 4.0).powi(2)).exp();
    if weekday >= 5 { daily * 0.3 } else { daily }
}

const SEASONS: &[(&str, Season)] = &[
    ("office", |hour, random| office(hour) * random.noise(0.3)),
    ("service round the clock", |_, random| 12.0 * random.noise(0.25)),
    ("growth of a tenth a week", |hour, random| {
        office(hour) * 1.1_f64.powf(hour as f64 / 168.0) * random.noise(0.3)
    }),
    ("a week of holidays", |hour, random| {
        let factor = if (9..10).contains(&hour.div_euclid(168)) { 0.15 } else { 1.0 };
        office(hour) * factor * random.noise(0.3)
    }),
    ("two weeks of holidays", |hour, random| {
        let factor = if (8..10).contains(&hour.div_euclid(168)) { 0.25 } else { 1.0 };
        office(hour) * factor * random.noise(0.3)
    }),
    ("a new team that doubles each week", |hour, random| {
        let week = (hour - 4 * 168) as f64 / 168.0;
        if week < 0.0 {
            0.0
        } else {
            office(hour) * 0.1 * 2_f64.powf(week.min(5.0)) * random.noise(0.3)
        }
    }),
    ("twice as much from one day on", |hour, random| {
        office(hour) * if hour >= 7 * 168 + 33 { 2.0 } else { 1.0 } * random.noise(0.3)
    }),
    ("clocks put forward", |hour, random| {
        office(if hour >= 7 * 168 { hour + 1 } else { hour }) * random.noise(0.3)
    }),
    ("a batch on weekday nights", |hour, random| {
        let night = hour.rem_euclid(24) == 2 && hour.div_euclid(24).rem_euclid(7) < 5;
        if night {
            60.0 * random.noise(0.3)
        } else {
            office(hour) * 0.2 * random.noise(0.3)
        }
    }),
    ("a person now and then", |hour, random| {
        let works = (8..19).contains(&hour.rem_euclid(24)) && hour.div_euclid(24).rem_euclid(7) < 5;
        if works && random.share() < 0.12 {
            2.0 * random.noise(0.9)
        } else {
            0.0
        }
    }),
    ("an agent in bursts", |_, random| {
        if random.share() < 0.3 { 5.0 * random.noise(0.8) } else { 0.0 }
    }),
    ("tiny spends", |_, random| 0.004 * random.noise(1.2)),
];

fn dollars(amount: f64) -> Amount {
    Amount::from_units((amount * 1e6) as i128 * 1_000_000).unwrap()
}

fn season(spend: Season, seed: u64) -> Vec<(Hour, Amount)> {
    let mut random = Random(seed);
    (0..WEEKS * 168)
        .map(|hour| (Hour(MONDAY + hour), dollars(spend(hour, &mut random))))
        .filter(|(_, amount)| !amount.is_zero())
        .collect()
}

/// A budget of 1,000 dollars a month.
fn month() -> Amount {
    floor(dollars(1000.0), 30 * 24 * HOUR_US)
}

/// Hours in which nothing was amiss and which were called anomalies all the same, in thousandths of the counter-hours of all seasons of a kind.
fn false_alarms_per_mille(spend: Season) -> f64 {
    let mut alarms = 0_u32;
    for seed in 1..=SEEDS {
        let season = season(spend, seed);
        let is_alarm = |place: &usize| judged(&season, *place, 1).is_some();
        alarms += u32::try_from((0..season.len()).filter(is_alarm).count()).unwrap();
    }
    f64::from(alarms) * 1000.0 / (WEEKS * 168 * SEEDS as i64) as f64
}

/// What is said of an hour of a season, if so many times its spend had been spent.
fn judged(season: &[(Hour, Amount)], place: usize, factor: i128) -> Option<Anomaly> {
    let (hour, amount) = season[place];
    let from = season.partition_point(|(other, _)| *other < hour.plus(-HISTORY_HOURS));
    judge(&season[from..place], hour, amount.mul_ratio(factor, 1).unwrap(), month())
}

/// The share of runaways of so many times an hour's spend that is found, of hours of the later weeks in which that is more than the floor.
fn found(name: &str, factors: &[i128]) -> f64 {
    let (_, spend) = SEASONS.iter().find(|(known, _)| *known == name).unwrap();
    let (mut found, mut runaways) = (0_u32, 0_u32);
    for seed in 1..=SEEDS {
        let season = season(*spend, seed);
        let mut random = Random(seed + 77);
        for (place, (hour, amount)) in season.iter().enumerate() {
            if hour.0 < MONDAY + 5 * 168 || random.share() >= 0.1 {
                continue;
            }
            for factor in factors {
                if amount.mul_ratio(factor - 1, 1).unwrap() > month() {
                    runaways += 1;
                    found += u32::from(judged(&season, place, *factor).is_some());
                }
            }
        }
    }
    assert!(runaways > 100, "only {runaways} runaways of {name}");
    f64::from(found) / f64::from(runaways)
}

#[test]
fn false_alarms_are_fewer_than_one_in_a_thousand_hours_of_every_season_and_a_third_of_that_over_all() {
    let told: Vec<(&str, f64)> = SEASONS
        .iter()
        .map(|(name, spend)| (*name, false_alarms_per_mille(*spend)))
        .collect();
    for (name, per_mille) in &told {
        assert!(*per_mille < 1.0, "{name}: {per_mille} per 1,000");
    }
    let mean = told.iter().map(|(_, per_mille)| per_mille).sum::<f64>() / told.len() as f64;
    assert!(mean < 0.33, "{mean} per 1,000: {told:?}");
}

#[test]
fn runaways_of_steady_counters_are_found() {
    for name in ["office", "service round the clock", "growth of a tenth a week"] {
        let [five, seven, up] = [&[5][..], &[7], &[5, 7, 10, 14, 20]].map(|factors| found(name, factors));
        assert!(
            five > 0.85 && seven > 0.97 && up > 0.95,
            "{name}: {five} of five times, {seven} of seven, {up} of all"
        );
    }
    // Where the pattern is broken, or spend comes in spikes.
    for name in [
        "clocks put forward",
        "a batch on weekday nights",
        "twice as much from one day on",
    ] {
        let share = found(name, &[7, 10, 20]);
        assert!(share > 0.93, "{name}: {share}");
    }
}

/// What the method is not made for, so that the page which says so stays true.
#[test]
fn the_limits_of_the_method_are_as_they_are_told() {
    // Spend that jumps by itself hides all but large jumps.
    let bursts = found("an agent in bursts", &[5]);
    assert!(bursts < 0.5, "{bursts}");
    // What comes once a month is told each time.
    let first_of_month: Season = |hour, random| {
        let first = hour.div_euclid(24).rem_euclid(30) == 3 && hour.rem_euclid(24) == 4;
        if first { 80.0 } else { office(hour) * random.noise(0.3) }
    };
    let season = season(first_of_month, 1);
    let month = usize::try_from(33 * 24 + 4).unwrap();
    assert!(judged(&season, month, 1).is_some());
}

#[test]
fn little_history_and_little_spend_say_nothing() {
    let hour = Hour(MONDAY);
    let steady = |hours: i64| -> Vec<(Hour, Amount)> { (1..=hours).map(|ago| (hour.plus(-ago), dollars(10.0))).collect() };
    let huge = dollars(1e6);
    assert_eq!(judge(&[], hour, huge, month()), None);
    assert_eq!(judge(&steady(HISTORY_HOURS_MIN - 1), hour, huge, month()), None);
    assert!(judge(&steady(HISTORY_HOURS_MIN), hour, huge, month()).is_some());
    // A jump from nothing to less than the floor: half an hour's share of 1,000 dollars in 720 hours.
    assert_eq!(month(), "0.694444444444".parse().unwrap());
    let tiny: Vec<_> = (1..=HISTORY_HOURS).map(|ago| (hour.plus(-ago), dollars(0.001))).collect();
    assert_eq!(judge(&tiny, hour, dollars(0.69), month()), None);
    // Corrections that take back more than was spent count as nothing.
    let taken_back: Vec<_> = (1..=HISTORY_HOURS).map(|ago| (hour.plus(-ago), dollars(-5.0))).collect();
    assert_eq!(judge(&taken_back, hour, huge, month()), None);
}

#[test]
fn bounds_are_exact_multiples_of_what_is_usual() {
    let hour = Hour(MONDAY);
    let steady: Vec<(Hour, Amount)> = (1..=HISTORY_HOURS).map(|ago| (hour.plus(-ago), dollars(10.0))).collect();
    let floor = dollars(1.0);
    // Nothing varies, so the bound is three times the usual, each with a tenth of the floor laid on: 10.1 * 3 - 0.1.
    let found = judge(&steady, hour, dollars(30.3), floor).unwrap();
    assert_eq!((found.usual, found.bound), (dollars(10.0), dollars(30.2)));
    assert!((found.score - (30.4_f64 / 10.1).ln() / 0.1).abs() < 1e-9, "{}", found.score);
    assert_eq!(judge(&steady, hour, dollars(30.2), floor), None);
    // The order of a history means nothing, nor does what is older than four weeks or not before the hour.
    let mut mixed: Vec<_> = steady.into_iter().rev().collect();
    mixed.extend([
        (hour.plus(-HISTORY_HOURS - 1), dollars(1e9)),
        (hour, dollars(1e9)),
        (hour.plus(3), dollars(1e9)),
    ]);
    assert_eq!(judge(&mixed, hour, dollars(30.3), floor), Some(found));
}
