//! How much a meter looks at and how much it keeps, for tests and fuzzing; of the counter nothing is left in other builds.

#[cfg(any(test, fuzzing))]
use std::cell::Cell;

#[cfg(any(test, fuzzing))]
thread_local! {
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Limits while fuzzing, in bytes: inputs there are short, and are to go beyond them.
const FUZZED_BYTES_MAX: usize = 1 << 10;

/// A limit in bytes as it holds in this build: a much lower one while fuzzing.
pub(crate) const fn limit(bytes: usize) -> usize {
    if cfg!(fuzzing) && bytes > FUZZED_BYTES_MAX {
        FUZZED_BYTES_MAX
    } else {
        bytes
    }
}

/// Notes that bytes are searched, parsed or copied.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_at(bytes: usize) {
    BYTES.set(BYTES.get().saturating_add(bytes as u64));
}

/// Notes nothing.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
pub(crate) const fn look_at(_bytes: usize) {}

/// Bytes that were looked at on this thread since this was asked last.
#[cfg(any(test, fuzzing))]
pub(crate) fn take() -> u64 {
    BYTES.take()
}
