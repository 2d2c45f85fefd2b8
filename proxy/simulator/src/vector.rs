//! Embedding vectors and other bytes that follow from a seed.

use crate::out::{Out, Seed};

/// A vector of length 1.
pub(crate) fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut state = Seed(seed);
    // 24 random bits are what a 32-bit float holds exactly, so the numbers are the same on every machine.
    let mut number = || ((state.next() >> 40) as f32) / 8_388_608.0 - 1.0;
    let raw: Vec<f32> = (0..dimensions).map(|_| number()).collect();
    let length = raw
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    raw.into_iter().map(|number| number / length).collect()
}

/// Writes a vector as a JSON array.
pub(crate) fn write(vector: &[f32], out: &mut Out) {
    out.raw("[");
    for (place, number) in vector.iter().enumerate() {
        out.raw(if place == 0 { "" } else { "," }).float(*number);
    }
    out.raw("]");
}

/// So many bytes that follow from a seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = Seed(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&state.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
