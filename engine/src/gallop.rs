//! [`partition_point_near`]: a binary search that begins where the place probably is.
//!
//! Times are mostly spread evenly, so the place of one can be guessed. From the guess on, steps double
//! until they have passed the place (exponential search; Bentley and Yao, "An almost optimal algorithm
//! for unbounded searching", 1976).

use std::ops::Range;

/// The first index in `range` of which `is_before` is false; its end when there is none. `is_before` must
/// be true up to some index and false from there on, as for [`slice::partition_point`]; otherwise the
/// answer is some index of the range, or its end. Any `guess` will do: the search calls `is_before`
/// O(log d) times, for a distance d from the guess to the answer.
#[inline]
pub(crate) fn partition_point_near(
    range: Range<usize>,
    guess: usize,
    is_before: impl Fn(usize) -> bool,
) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    if low >= high {
        return high;
    }
    let guess = guess.clamp(low, high - 1);
    // How many are passed over: none at first, as the guess is mostly right.
    let mut step = 0;
    if is_before(guess) {
        low = guess + 1;
        while low + step < high {
            if !is_before(low + step) {
                high = low + step;
                break;
            }
            low += step + 1;
            step = 2 * step + 1;
        }
    } else {
        high = guess;
        while high - low > step {
            let at = high - 1 - step;
            if is_before(at) {
                low = at + 1;
                break;
            }
            high = at;
            step = 2 * step + 1;
        }
    }
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::partition_point_near;
    use std::cell::Cell;

    /// Goal: the answer is that of a search from the start, and near guesses cost little. Method: every
    /// range, place and guess of small sizes; then one large range, calls counted.
    #[test]
    fn the_place_is_found_from_any_guess() {
        for start in [0, 3] {
            for end in start..start + 20 {
                for place in start..=end {
                    for guess in 0..end + 3 {
                        let found = partition_point_near(start..end, guess, |i| {
                            assert!((start..end).contains(&i), "{i} of {start}..{end}");
                            i < place
                        });
                        assert_eq!(found, place, "{start}..{end} from {guess}");
                    }
                }
            }
        }
        for distance in [0, 1, 10, 1_000, 100_000] {
            for guess in [500_000 - distance, 500_000 + distance] {
                let calls = Cell::new(0);
                let is_before = |i| {
                    calls.set(calls.get() + 1);
                    i < 500_000
                };
                assert_eq!(partition_point_near(0..1_000_000, guess, is_before), 500_000);
                let most = 4 + 2 * (distance + 1).ilog2();
                assert!(calls.get() <= most, "{} calls, {distance} away", calls.get());
            }
        }
    }
}
