//! Halving a batch that the far side refuses, down to the rows at fault. Order is kept: what stands before is settled before what stands behind.

/// A run of rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Pieces of a batch that are still to be delivered: a stack, whose top is the next. It holds at most one piece for each halving, that is 64.
#[derive(Debug)]
pub(crate) struct Pieces(Vec<Piece>);

// === impl Pieces ===

impl Pieces {
    /// A batch in one piece.
    pub(crate) fn of(rows: usize) -> Self {
        Self(if rows == 0 {
            Vec::new()
        } else {
            vec![Piece { start: 0, len: rows }]
        })
    }

    /// Takes the next piece.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        self.0.pop()
    }

    /// Puts a piece back, to be tried again as it is.
    pub(crate) fn again(&mut self, piece: Piece) {
        self.0.push(piece);
    }

    /// Puts a piece back in halves; false if it is a single row.
    pub(crate) fn halve(&mut self, piece: Piece) -> bool {
        if piece.len < 2 {
            return false;
        }
        let left = piece.len / 2;
        self.0.push(Piece {
            start: piece.start + left,
            len: piece.len - left,
        });
        self.0.push(Piece {
            start: piece.start,
            len: left,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers to a far side that refuses every piece with a bad row in it; what it took, what is bad, and the tries.
    fn delivered(rows: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut taken, mut dead, mut tries) = (Vec::new(), Vec::new(), 0);
        let mut pieces = Pieces::of(rows);
        while let Some(piece) = pieces.next() {
            tries += 1;
            let range = piece.start..piece.start + piece.len;
            if !bad.iter().any(|row| range.contains(row)) {
                taken.extend(range);
            } else if !pieces.halve(piece) {
                dead.push(piece.start);
            }
        }
        (taken, dead, tries)
    }

    #[test]
    fn exactly_the_bad_rows_are_left_over_and_the_others_keep_their_order() {
        for rows in 0..20_usize {
            for bad in [
                vec![],
                vec![0],
                vec![rows / 2],
                vec![0, rows.saturating_sub(1)],
                (0..rows).collect(),
            ] {
                let mut bad: Vec<_> = bad.into_iter().filter(|row| *row < rows).collect();
                bad.dedup();
                let (taken, dead, _) = delivered(rows, &bad);
                let good: Vec<_> = (0..rows).filter(|row| !bad.contains(row)).collect();
                assert_eq!((taken, dead), (good, bad), "of {rows} rows");
            }
        }
    }

    #[test]
    fn one_bad_row_of_a_thousand_costs_two_tries_for_each_halving() {
        assert_eq!(delivered(1024, &[700]).2, 21);
    }
}
