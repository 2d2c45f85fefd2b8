//! The values that a counter is of, in one piece of bytes: compared at once, and beside the counter's sums where they are short.

/// Bytes that need no allocation.
const INLINE: usize = 22;
/// Ends a value; no text has this byte.
const END: u8 = 0xff;
/// Stands for a value that is null; no text has this byte either.
const NULL: u8 = 0xfe;

/// Values as bytes.
#[derive(Clone, Debug)]
pub(crate) enum Packed {
    Short { count: u8, bytes: [u8; INLINE] },
    Long(Box<[u8]>),
}

/// Writes values behind one another, and behind what is there.
pub(crate) fn pack<'a>(values: impl Iterator<Item = Option<&'a str>>, into: &mut Vec<u8>) {
    for value in values {
        match value {
            Some(text) => into.extend_from_slice(text.as_bytes()),
            None => into.push(NULL),
        }
        into.push(END);
    }
}

impl From<&[u8]> for Packed {
    fn from(packed: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..packed.len()), u8::try_from(packed.len())) {
            (Some(place), Ok(count)) => {
                place.copy_from_slice(packed);
                Self::Short { count, bytes }
            }
            _ => Self::Long(packed.into()),
        }
    }
}

impl Packed {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { count, bytes } => bytes.get(..usize::from(*count)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }

    /// The values, in their order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&str>> {
        let ended = self.bytes().split_inclusive(|byte| *byte == END);
        ended.map(|value| match value.strip_suffix(&[END]).unwrap_or(value) {
            [NULL] => None,
            text => std::str::from_utf8(text).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let long = "x".repeat(300);
        let exact = "y".repeat(INLINE - 1);
        for values in [
            vec![],
            vec![None],
            vec![Some("")],
            vec![Some("ann"), None, Some("")],
            vec![Some(&*exact)],
            vec![Some(&*exact), None],
            vec![None, Some(&*long), Some("é")],
        ] {
            let mut bytes = Vec::new();
            pack(values.iter().copied(), &mut bytes);
            let packed = Packed::from(bytes.as_slice());
            assert_eq!(packed.bytes(), bytes);
            assert_eq!(packed.values().collect::<Vec<_>>(), values);
            assert_eq!(matches!(packed, Packed::Short { .. }), bytes.len() <= INLINE);
        }
    }

    #[test]
    fn no_two_lists_of_values_have_the_same_bytes() {
        let lists: [&[Option<&str>]; 7] = [
            &[],
            &[None],
            &[Some("")],
            &[None, None],
            &[Some(""), None],
            &[Some("a"), Some("b")],
            &[Some("ab"), Some("")],
        ];
        let mut all: Vec<Vec<u8>> = lists
            .iter()
            .map(|values| {
                let mut bytes = Vec::new();
                pack(values.iter().copied(), &mut bytes);
                bytes
            })
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), lists.len());
    }

    #[test]
    fn a_counter_with_short_values_takes_two_lines_of_the_cache() {
        assert_eq!(size_of::<Packed>(), 24);
        assert_eq!(size_of::<Option<crate::counter::Counter>>(), 128);
    }
}
