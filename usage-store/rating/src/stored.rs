//! Price lists as bytes: what their versions are made of, and what the folder `prices` keeps.
//!
//! Format 1 is that of lists without terms, format 2 has the terms behind it. A list without terms is written in format 1, so that its version is
//! the same whichever release made it, and an older release can read it.

use tollgate_record::{Name, Price, PriceList, Terms};

/// What a list without terms is: its fields in their order.
type Plain = (Name, Name, Name, bool, Vec<Price>);

/// A list's content, in the format that it needs.
pub fn content(list: &PriceList) -> Vec<u8> {
    let bytes = if list.terms.is_empty() {
        postcard::to_stdvec(&(&list.name, &list.provider, &list.currency, list.shipped, &list.prices))
    } else {
        postcard::to_stdvec(list)
    };
    bytes.expect("a price list has a known length")
}

/// Reads [`content`] of format 1.
pub fn plain(bytes: &[u8]) -> Option<PriceList> {
    let (name, provider, currency, shipped, prices): Plain = postcard::from_bytes(bytes).ok()?;
    Some(PriceList {
        name,
        provider,
        currency,
        shipped,
        prices,
        terms: Terms::default(),
    })
}

/// Reads [`content`] of format 2.
pub fn with_terms(bytes: &[u8]) -> Option<PriceList> {
    postcard::from_bytes(bytes).ok()
}
