//! Synthetic seasons: how often an hour without cause is called an anomaly, and how seldom a runaway is missed.

use super::*;

/// Weeks of a season.
const WEEKS: i64 = 14;
/// Seasons of each kind.
const SEEDS: u64 = 6;
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
        if week < 0.0 { 0.0 } else { office(hour) * 0.1 * 2_f64.powf(week.min(5.0)) * random.noise(0.3) }
    }),
    ("twice as much from one day on", |hour, random| {
        office(hour) * if hour >= 7 * 168 + 33 { 2.0 } else { 1.0 } * random.noise(0.3)
    }),
    ("clocks put forward", |hour, random| {
        office(if hour >= 7 * 168 { hour + 1 } else { hour }) * random.noise(0.3)
    }),
    ("a batch on weekday nights", |hour, random| {
        let night = hour.rem_euclid(24) == 2 && hour.div_euclid(24).rem_euclid(7) < 5;
        if night { 60.0 * random.noise(0.3) } else { office(hour) * 0.2 * random.noise(0.3) }
    }),
    ("a batch on the first of a month", |hour, random| {
        let first = hour.div_euclid(24).rem_euclid(30) == 3 && hour.rem_euclid(24) == 4;
        if first { 80.0 } else { office(hour) * random.noise(0.3) }
    }),
    ("a person now and then", |hour, random| {
        let works = (8..19).contains(&hour.rem_euclid(24)) && hour.div_euclid(24).rem_euclid(7) < 5;
        if works && random.share() < 0.12 { 2.0 * random.noise(0.9) } else { 0.0 }
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

#[test]
fn tune() {
    for (name, spend) in SEASONS {
        let (mut hours, mut alarms) = (0, 0);
        let mut at = vec![];
        let mut found = [[0; 2]; 4];
        for seed in 0..SEEDS {
            let season = season(*spend, seed + 1);
            let mut random = Random(seed + 77);
            for (place, (hour, amount)) in season.iter().enumerate() {
                let from = season.partition_point(|(other, _)| other.0 < hour.0 - HISTORY_HOURS);
                let history = &season[from..place];
                hours += 1;
                if judge(history, *hour, *amount, month()).is_some() {
                    alarms += 1;
                    at.push(((hour.0 - MONDAY) / 168, (hour.0 - MONDAY) % 168));
                }
                if (hour.0 - MONDAY) > 5 * 168 && random.share() < 0.1 {
                    for (kind, factor) in [5, 7, 10, 20].into_iter().enumerate() {
                        let runaway = amount.mul_ratio(factor, 1).unwrap();
                        if runaway.checked_sub(*amount).unwrap() < month() { continue }
                        found[kind][1] += 1;
                        found[kind][0] += usize::from(judge(history, *hour, runaway, month()).is_some());
                    }
                }
            }
        }
        let hours = WEEKS as usize * 168 * SEEDS as usize + 0 * hours;
        println!("{name}: {alarms} of {hours}: {:.2} per 1000; found {:?}", alarms as f64 * 1000.0 / hours as f64, found.map(|f| format!("{}/{}={:.2}", f[0], f[1], f[0] as f64 / f[1] as f64)));
        at.truncate(12);
        println!("    {at:?}");
    }
}
