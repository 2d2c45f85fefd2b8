//! What holds for every usage and every book.

use proptest::prelude::*;
use tollgate_record::{
    Adjustment, Amount, Call, Cost, CostStatus, Meter, Payer, Price, PriceList, Terms, Timestamp, Usage, UsageSource,
};

use super::super::{PriceBook, rate};
use super::{call, list, name, now, price};

/// Meters that a usage of [`usages`] needs.
const METERS: [Meter; 16] = [
    Meter::Input,
    Meter::CacheRead,
    Meter::CacheReadAudio,
    Meter::CacheReadImage,
    Meter::CacheWrite,
    Meter::CacheWrite5m,
    Meter::CacheWrite1h,
    Meter::AudioIn,
    Meter::ImageIn,
    Meter::VideoIn,
    Meter::ToolUseIn,
    Meter::Output,
    Meter::Reasoning,
    Meter::AudioOut,
    Meter::ImageOut,
    Meter::WebSearch,
];

/// Counts that no other is inside of, from which totals are added up: so parts never exceed their whole.
type Counts = [u64; 16];

fn counts() -> impl Strategy<Value = Counts> {
    let count = prop_oneof![3 => Just(0), 5 => 0_u64..10_000, 2 => 0_u64..1_000_000_000];
    prop::array::uniform16(count)
}

fn usage(counts: &Counts) -> Usage {
    let [
        input,
        read,
        read_audio,
        read_image,
        write,
        write_5m,
        write_1h,
        audio_in,
        image_in,
        video_in,
        tool_use_in,
        output,
        reasoning,
        audio_out,
        image_out,
        web_search,
    ] = *counts;
    let cache_read = read + read_audio + read_image;
    let cache_creation = write + write_5m + write_1h;
    Usage {
        source: UsageSource::Reported,
        input: Some(input + cache_read + cache_creation + audio_in + image_in + video_in + tool_use_in),
        cache_read: Some(cache_read),
        cache_read_audio: Some(read_audio),
        cache_read_image: Some(read_image),
        cache_creation: Some(cache_creation),
        cache_creation_5m: Some(write_5m),
        cache_creation_1h: Some(write_1h),
        audio_in: Some(audio_in),
        image_in: Some(image_in),
        video_in: Some(video_in),
        tool_use_in: Some(tool_use_in),
        output: Some(output + reasoning + audio_out + image_out),
        reasoning: Some(reasoning),
        audio_out: Some(audio_out),
        image_out: Some(image_out),
        web_search: Some(web_search),
        ..Usage::default()
    }
}

/// A price up to 1,000, with up to twelve places.
fn amounts() -> impl Strategy<Value = Amount> {
    (0_i128..1_000_000_000_000_000).prop_map(|units| Amount::from_units(units).unwrap())
}

fn shares() -> impl Strategy<Value = Amount> {
    (-2_000_000_000_000_i128..=1_000_000_000_000).prop_map(|units| Amount::from_units(units).unwrap())
}

/// List prices of some meters, and what was negotiated of some. Prices may have a tier of context, which must not be cheaper.
fn books() -> impl Strategy<Value = PriceBook> {
    let shipped = prop::collection::vec((0..METERS.len(), amounts(), prop::option::of(1_u64..100_000)), 0..24);
    let own = prop::collection::vec((0..METERS.len(), amounts()), 0..6);
    let adjustments = prop::collection::vec((prop::option::of(0..METERS.len()), shares()), 0..4);
    (shipped, own, adjustments).prop_map(|(shipped, own, adjustments)| {
        let mut prices: Vec<Price> = Vec::new();
        for (meter, amount, above) in shipped {
            let meter = METERS[meter];
            if prices.iter().any(|price| price.meter == meter) {
                continue;
            }
            let base = Price {
                price: amount,
                ..price("m", meter, "0")
            };
            if above.is_some() {
                prices.push(Price {
                    context_above: above,
                    price: amount.checked_add(amount).unwrap(),
                    ..base.clone()
                });
            }
            prices.push(base);
        }
        let own = own.into_iter().map(|(meter, amount)| Price {
            price: amount,
            ..price("m", METERS[meter], "0")
        });
        let adjustments = adjustments.into_iter().map(|(meter, discount)| Adjustment {
            model: name("*"),
            meter: meter.map(|meter| METERS[meter]),
            discount,
            effective_from: Timestamp::from_unix_us(0),
            effective_to: None,
            source: None,
        });
        let negotiated = PriceList {
            terms: Terms {
                org: Some(name("acme")),
                team: None,
                adjustments: adjustments.collect(),
            },
            ..list("openai", false, own.collect())
        };
        PriceBook::new(vec![list("openai", true, prices), negotiated])
    })
}

fn paid(book: &PriceBook, call: &Call, usage: &Usage) -> Cost {
    let acme = name("acme");
    let payer = Payer {
        org: Some(&acme),
        team: None,
    };
    rate(book, call, payer, None, usage, now()).unwrap()
}

fn units(amount: Option<Amount>) -> i128 {
    amount.map_or(0, Amount::units)
}

proptest! {
    #[test]
    fn a_cost_is_never_negative_and_adds_up_over_its_charges(book in books(), counts in counts()) {
        let cost = paid(&book, &call("m"), &usage(&counts));
        let mut sum = 0;
        for charge in &cost.charges {
            prop_assert!(units(charge.amount) >= 0 && charge.quantity > Amount::ZERO);
            prop_assert_eq!(charge.amount.is_some(), charge.unit_price.is_some());
            sum += units(charge.amount);
        }
        prop_assert_eq!(sum, units(cost.cost));
        prop_assert!(units(cost.list_cost) >= 0);
        prop_assert_eq!(cost.cost.is_some(), cost.list_cost.is_some());
        let unpriced = cost.charges.iter().any(|charge| charge.amount.is_none());
        prop_assert_eq!(unpriced, cost.status == CostStatus::Unpriced);
    }

    #[test]
    fn every_token_is_charged_once(book in books(), counts in counts()) {
        let usage = usage(&counts);
        let cost = paid(&book, &call("m"), &usage);
        let charged: i128 = cost.charges.iter().filter(|charge| charge.meter.unit() == "token").map(|charge| charge.quantity.units()).sum();
        let told = usage.input.unwrap() + usage.output.unwrap();
        prop_assert_eq!(charged, i128::from(told) * Amount::ONE.units());
    }

    #[test]
    fn more_of_anything_never_costs_less(book in books(), counts in counts(), index in 0..16_usize, more in 1_u64..10_000) {
        let mut larger = counts;
        larger[index] += more;
        let (before, after) = (paid(&book, &call("m"), &usage(&counts)), paid(&book, &call("m"), &usage(&larger)));
        prop_assert!(units(after.cost) >= units(before.cost), "{:?} then {:?}", before, after);
        prop_assert!(units(after.list_cost) >= units(before.list_cost));
    }

    #[test]
    fn a_stream_costs_what_the_same_answer_costs_whole(book in books(), counts in counts()) {
        let whole = call("m");
        let streamed = Call { stream: true, ..call("m") };
        prop_assert_eq!(paid(&book, &whole, &usage(&counts)), paid(&book, &streamed, &usage(&counts)));
    }

    #[test]
    fn who_negotiated_nothing_pays_the_list_price(book in books(), counts in counts()) {
        let cost = rate(&book, &call("m"), Payer::default(), None, &usage(&counts), now()).unwrap();
        prop_assert_eq!(cost.cost, cost.list_cost);
    }
}
