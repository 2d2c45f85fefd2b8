//! Which known word someone may have meant.

/// The known word nearest to a misspelt one, if it is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer words are no misspelling of ours, and comparing them would cost their length.
    const CHARS_MAX: usize = 48;
    if word.chars().count() > CHARS_MAX {
        return None;
    }
    let plain = plain(word);
    known
        .into_iter()
        .map(|candidate| (distance(&plain, &self::plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Without case and word separators: `requestBody` and `request_body` are the same slip.
fn plain(word: &str) -> Vec<char> {
    word.chars()
        .filter(|letter| !matches!(letter, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Levenshtein distance.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut diagonal = row;
        let mut before = row + 1;
        let mut line = Vec::with_capacity(above.len());
        line.push(before);
        for (b, over) in right.iter().zip(above.iter().skip(1)) {
            before = (diagonal + usize::from(a != b)).min(before + 1).min(over + 1);
            diagonal = *over;
            line.push(before);
        }
        above = line;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let known = ["upstream", "template", "context", "access_control", "per"];
        assert_eq!(nearest("upstrem", known), Some("upstream"));
        assert_eq!(nearest("accessControl", known), Some("access_control"));
        assert_eq!(nearest("contxet", known), Some("context"));
        assert_eq!(nearest("retries", known), None);
        assert_eq!(nearest(&"upstream".repeat(1000), known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn distances_are_levenshteins() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (left, right, expected) in [("", "", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("flaw", "lawn", 2)] {
            assert_eq!(distance(&chars(left), &chars(right)), expected, "{left} {right}");
        }
    }
}
