//! Which segments to merge, and when to train a codebook. Pure functions of what the segments hold.
//!
//! Codes of one codebook are copied. To code them with another, tokens have to be made of codes first, which loses a part
//! of what the first codes had left; so segments of different codebooks are kept apart, and an old codebook goes with the
//! last of its documents.

use std::collections::BTreeMap;

use crate::schema::VectorKind;
use crate::segment::{GRAPH_MIN_ROWS, Segment};
use crate::snapshot::Snapshot;

/// Segments that a collection may have before the smallest are merged.
const MAX_SEGMENTS: usize = 8;
/// How many are merged at least then.
const MIN_MERGED: usize = 4;
/// Raw tokens from which a segment waits for its codebook rather than being copied about.
const LARGE_RAW: u64 = 1 << 20;
/// Raw tokens from which a first codebook is trained in the background.
const TRAIN_FROM: u64 = 65_536;
/// A codebook is outgrown when there are so many times the tokens that it was trained for.
const OUTGROWN: u64 = 4;
/// Raw tokens that no codebook fits from which another one is trained, at least this part of those that the last was
/// trained for: until then they are scanned, which takes a few milliseconds at most.
const UNFIT_FROM: u64 = 16_384;
const UNFIT_PART: u64 = 64;
/// Tokens from which `optimize` trains a first codebook: below, raw tokens cost little and are exact.
const OPTIMIZE_FROM: u64 = 4_096;
/// When writing pauses, the segments of a codebook become one as soon as this part of its rows is deleted or outside of
/// the largest: what changes is then copied so many times on average, and queries wade through no more than that.
const UNSETTLED: u64 = 8;
/// The same where a graph over dense vectors is to be brought up to date, which takes far longer than copying.
const UNSETTLED_WITH_GRAPH: u64 = 4;
/// Codebooks in use at most. Each costs a query its centroids; beyond, the documents of the smallest are coded anew.
const MAX_CODEBOOKS: usize = 4;
/// Tokens of a memtable from which a pause in writing is used to code them: scanning these takes a fraction of a
/// millisecond.
const CODE_FROM: u64 = 2_048;
/// Tokens of a memtable that are coded without waiting for a pause: a first look at these takes a quarter of a millisecond.
const CODE_AT_ONCE: u64 = 16_384;
/// Tokens of a memtable from which writers wait until those before are coded. More of them would not be coded sooner, and every
/// query looks at them.
pub(super) const HOLD_WRITERS: u64 = 2 * CODE_AT_ONCE;

/// Deleted rows take at most this part of what lives, also while writing never pauses: what replaces a segment is written
/// before it goes, so files may take twice what lives for a moment, and with the log no more than 2.5 times.
const DEAD: u64 = 5;
/// The same where a graph over dense vectors is built anew.
const DEAD_WITH_GRAPH: u64 = 3;
/// Deleted rows that are left alone.
const DEAD_FROM: u64 = 256 << 10;
/// A log takes at most this part of what lives in segments before it is flushed: tokens wait in it at several times the
/// size of their codes.
const LOG_PART: u64 = 8;
/// A log that is left alone.
const LOG_FROM: u64 = 1 << 20;

/// Log and deleted rows together take at most this part of what lives before writers wait, which keeps files within 2.5 times
/// of it where the disk or other work holds up what would make them smaller.
const OVERFULL: u64 = 2;
/// What writers never wait for.
const OVERFULL_FROM: u64 = 4 << 20;

/// What the policy looks at in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) rows: u64,
    pub(super) live: u64,
    /// Tokens that are not coded yet.
    pub(super) raw_tokens: u64,
    /// What its tokens are coded with.
    pub(super) codebook: Option<u64>,
    /// Of all its files.
    pub(super) bytes: u64,
    /// Whether dense vectors are known to have no graph that they would get if the segment were written anew.
    pub(super) lacks_graph: bool,
}

impl Facts {
    /// What its live rows take, were all rows alike.
    pub(super) fn live_bytes(&self) -> u64 {
        let live = u128::from(self.bytes) * u128::from(self.live) / u128::from(self.rows.max(1));
        u64::try_from(live).unwrap_or(self.bytes)
    }

    fn dead_bytes(&self) -> u64 {
        self.bytes - self.live_bytes().min(self.bytes)
    }

    /// Whether writing it anew would do it good.
    fn is_untidy(&self, newest: Option<u64>) -> bool {
        self.live < self.rows || self.lacks_graph || (self.raw_tokens > 0 && newest.is_some())
    }
}

/// Segments to make one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Merge {
    /// By index, ascending; fewer than two only to reclaim deleted rows or to code raw tokens.
    pub(super) segments: Vec<usize>,
    /// What their tokens are to be coded with; none: they stay raw.
    pub(super) codebook: Option<u64>,
}

/// Whether a graph over dense vectors is missing: flushes build none for a few rows, and a damaged one is as good as none.
fn lacks_graph(segment: &Segment) -> bool {
    let schema = segment.schema();
    let own = schema.dense.is_some()
        && segment.len() as usize >= GRAPH_MIN_ROWS
        && segment.graph().is_ok_and(|graph| graph.is_none());
    let named = |(field, kind): (usize, &VectorKind)| {
        let large = |rows: usize| rows >= GRAPH_MIN_ROWS;
        matches!(kind, VectorKind::Dense(_))
            && segment
                .named(field)
                .is_ok_and(|rows| rows.is_some_and(|rows| large(rows.len() as usize)))
            && segment.named_graph(field).is_none()
    };
    let kinds = schema.vectors.iter().map(|spec| &spec.kind);
    own || kinds.enumerate().any(named)
}

/// The facts of each segment, as far as they cost nothing.
pub(super) fn facts(snapshot: &Snapshot) -> Vec<Facts> {
    let facts = snapshot.segments().iter().map(|view| {
        let codebook = view.segment.codebook_id();
        Facts {
            rows: u64::from(view.segment.len()),
            live: view.live_len(),
            raw_tokens: if codebook.is_some() {
                0
            } else {
                view.segment.num_tokens()
            },
            codebook,
            bytes: view.segment.total_bytes(),
            lacks_graph: false,
        }
    });
    facts.collect()
}

/// The same, with a look at the graphs, which reads them if nobody has yet.
pub(super) fn facts_with_graphs(snapshot: &Snapshot) -> Vec<Facts> {
    let mut all = facts(snapshot);
    for (facts, view) in all.iter_mut().zip(snapshot.segments()) {
        facts.lacks_graph = lacks_graph(&view.segment);
    }
    all
}

/// Bytes of live and of deleted rows.
fn live_and_dead(segments: &[Facts]) -> (u64, u64) {
    let sum = |bytes: fn(&Facts) -> u64| segments.iter().map(bytes).sum();
    (sum(Facts::live_bytes), sum(Facts::dead_bytes))
}

/// Whether deleted rows take more room than they may while writing goes on.
pub(super) fn is_wasteful(segments: &[Facts], graph: bool) -> bool {
    let (live, dead) = live_and_dead(segments);
    let share = if graph { DEAD_WITH_GRAPH } else { DEAD };
    dead >= DEAD_FROM && dead.saturating_mul(share) > live
}

/// Whether log and deleted rows take so much, beside what lives, that writers wait until they take less.
pub(super) fn is_overfull(segments: &[Facts], log: u64) -> bool {
    let (live, dead) = live_and_dead(segments);
    let waste = log + dead;
    waste >= OVERFULL_FROM && waste.saturating_mul(OVERFULL) > live
}

/// Whether a log takes so much, beside what lives in segments, that it is flushed at once.
pub(super) fn log_is_long(log: u64, live: u64) -> bool {
    log >= LOG_FROM.max(live / LOG_PART)
}

/// Segments, by index, by what they are or would be coded with.
type Groups = BTreeMap<Option<u64>, Vec<usize>>;

fn groups(segments: &[Facts], newest: Option<u64>) -> Groups {
    let mut groups = Groups::new();
    for (index, facts) in segments.iter().enumerate() {
        groups.entry(facts.codebook.or(newest)).or_default().push(index);
    }
    groups
}

/// What to merge next, whether or not writing goes on. `raw_fit`: raw tokens are to be coded with the codebook `newest`.
pub(super) fn choose(segments: &[Facts], newest: Option<u64>, raw_fit: bool, graph: bool) -> Option<Merge> {
    let all = || segments.iter().enumerate();
    let dying = all().find(|(_, facts)| facts.live * 2 < facts.rows);
    let deadest = || all().max_by_key(|(_, facts)| facts.dead_bytes());
    let wasteful = || is_wasteful(segments, graph).then(deadest).flatten();
    if let Some((index, facts)) = dying.or_else(wasteful) {
        return Some(Merge {
            segments: vec![index],
            codebook: facts.codebook.or(newest.filter(|_| raw_fit)),
        });
    }
    let raw: Vec<usize> = all()
        .filter(|(_, facts)| facts.raw_tokens > 0)
        .map(|(index, _)| index)
        .collect();
    if newest.is_some() && raw_fit && !raw.is_empty() {
        return Some(Merge {
            segments: raw,
            codebook: newest,
        });
    }
    if segments.len() <= MAX_SEGMENTS {
        return None;
    }
    let groups = groups(segments, newest);
    let merges = groups.into_iter().filter_map(|(codebook, group)| {
        let segments = smallest(segments, &group)?;
        Some(Merge { segments, codebook })
    });
    merges.max_by_key(|merge| merge.segments.len())
}

/// The smallest segments of a group, as many as are worth merging.
fn smallest(segments: &[Facts], group: &[usize]) -> Option<Vec<usize>> {
    let mut by_size: Vec<(u64, usize)> = group
        .iter()
        .filter_map(|&index| Some((segments.get(index)?, index)))
        .filter(|(facts, _)| facts.raw_tokens < LARGE_RAW)
        .map(|(facts, index)| (facts.live, index))
        .collect();
    by_size.sort_unstable();
    let mut sum = 0;
    let mut chosen: Vec<usize> = Vec::new();
    for (live, index) in by_size {
        // A segment larger than all smaller ones together would be copied for little.
        if chosen.len() >= MIN_MERGED && live > sum {
            break;
        }
        sum += live;
        chosen.push(index);
    }
    chosen.sort_unstable();
    (chosen.len() >= MIN_MERGED).then_some(chosen)
}

/// The codebook, other than the newest, with the fewest documents.
fn smallest_old(segments: &[Facts], groups: &Groups, newest: Option<u64>) -> Option<Option<u64>> {
    let live = |group: &[usize]| -> u64 {
        let facts = group.iter().filter_map(|&index| segments.get(index));
        facts.map(|facts| facts.live).sum()
    };
    let old = groups.iter().filter(|(codebook, _)| **codebook != newest);
    let smallest = old.min_by_key(|(_, group)| live(group))?;
    Some(*smallest.0)
}

/// What to merge when writing pauses, so that a collection that has changed is searched like one that was built at once.
pub(super) fn settle(segments: &[Facts], newest: Option<u64>, graph: bool) -> Option<Merge> {
    let groups = groups(segments, newest);
    if groups.len() > MAX_CODEBOOKS {
        let smallest = smallest_old(segments, &groups, newest)?;
        return Some(Merge {
            segments: groups.get(&smallest)?.clone(),
            codebook: newest,
        });
    }
    let share = if graph { UNSETTLED_WITH_GRAPH } else { UNSETTLED };
    let unsettled = |group: &[usize]| {
        let of = || group.iter().filter_map(|&index| segments.get(index));
        let (live, rows): (u64, u64) = of().fold((0, 0), |(l, r), facts| (l + facts.live, r + facts.rows));
        let largest = of().map(|facts| facts.live).max().unwrap_or(0);
        let waste = (rows - live) + (live - largest);
        waste > 0 && waste * share >= live
    };
    let (codebook, segments) = groups.into_iter().find(|(_, group)| unsettled(group))?;
    Some(Merge { segments, codebook })
}

/// Each group of segments that is not in its best shape: one segment without deleted rows or raw tokens, with
/// its graphs.
pub(super) fn tidy_up(segments: &[Facts], newest: Option<u64>) -> Vec<Merge> {
    let untidy = |group: &[usize]| match group {
        [only] => segments.get(*only).is_some_and(|facts| facts.is_untidy(newest)),
        _ => true,
    };
    let mut groups = groups(segments, newest);
    while groups.len() > MAX_CODEBOOKS
        && let Some(smallest) = smallest_old(segments, &groups, newest)
    {
        let coded_anew = groups.remove(&smallest).unwrap_or_default();
        let all = groups.entry(newest).or_default();
        all.extend(coded_anew);
        all.sort_unstable();
    }
    groups
        .into_iter()
        .filter(|(_, group)| untidy(group))
        .map(|(codebook, segments)| Merge { segments, codebook })
        .collect()
}

/// Whether the tokens of a memtable should be coded: at once, or else when writing `pauses`. `raw` are those in segments.
pub(super) fn should_code(memtable: u64, raw: u64, newest: Option<u64>, pauses: bool) -> bool {
    match newest {
        None => pauses && memtable > 0 && memtable + raw >= TRAIN_FROM,
        Some(_) => memtable >= if pauses { CODE_FROM } else { CODE_AT_ONCE },
    }
}

/// Whether writers wait for the tokens of a memtable to be coded.
pub(super) fn holds_writers(memtable: u64, newest: Option<u64>) -> bool {
    newest.is_some() && memtable >= HOLD_WRITERS
}

/// Whether there are too many tokens for a codebook that was trained for so many.
pub(super) fn has_outgrown(tokens: u64, trained: u64) -> bool {
    tokens >= OUTGROWN * trained.max(1)
}

/// Whether a codebook should be trained: `tokens` are in segments, `raw` of them not coded; `trained` is what the newest
/// was trained for. Beside a codebook, tokens stay raw that it does not fit.
pub(super) fn should_train(tokens: u64, raw: u64, trained: Option<u64>, optimizing: bool) -> bool {
    match trained {
        None => tokens >= if optimizing { OPTIMIZE_FROM } else { TRAIN_FROM },
        Some(trained) => {
            let unfit = if optimizing { OPTIMIZE_FROM } else { UNFIT_FROM };
            has_outgrown(tokens, trained) || raw >= unfit.max(trained / UNFIT_PART)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(rows: u64) -> Facts {
        Facts {
            rows,
            live: rows,
            raw_tokens: 0,
            codebook: Some(1),
            bytes: rows << 10,
            lacks_graph: false,
        }
    }

    fn of(segments: &[usize]) -> Option<Merge> {
        Some(Merge {
            segments: segments.to_vec(),
            codebook: Some(1),
        })
    }

    #[test]
    fn few_segments_are_left_alone() {
        assert_eq!(choose(&[clean(10); 8], Some(1), true, false), None);
    }

    #[test]
    fn the_smallest_are_merged_first() {
        let rows = [1000, 5, 900, 5, 5, 100_000, 5, 5, 800];
        let segments: Vec<Facts> = rows.map(clean).to_vec();
        assert_eq!(choose(&segments, Some(1), true, false), of(&[1, 3, 4, 6, 7]));
    }

    #[test]
    fn merging_ends_with_few_segments_and_each_row_is_copied_seldom() {
        let mut segments: Vec<Facts> = Vec::new();
        let mut copied = 0;
        for _ in 0..4096 {
            segments.push(clean(16));
            while let Some(chosen) = choose(&segments, Some(1), true, false) {
                let chosen = chosen.segments;
                let sum: u64 = chosen.iter().map(|index| segments[*index].rows).sum();
                copied += sum;
                for index in chosen.iter().rev() {
                    segments.remove(*index);
                }
                segments.push(clean(sum));
            }
            assert!(segments.len() <= MAX_SEGMENTS);
        }
        assert!(
            copied <= 16 * 4096 * 8,
            "each row was copied {} times",
            copied / (16 * 4096)
        );
    }

    #[test]
    fn half_deleted_and_raw_segments_are_rewritten() {
        let dying = Facts {
            live: 49,
            ..clean(100)
        };
        assert_eq!(choose(&[clean(10), dying], Some(1), true, false), of(&[1]));
        let raw = Facts {
            raw_tokens: 5000,
            codebook: None,
            ..clean(100)
        };
        assert_eq!(choose(&[raw, clean(10), raw], Some(1), true, false), of(&[0, 2]));
        assert_eq!(choose(&[raw, clean(10), raw], None, true, false), None);
        assert_eq!(
            choose(&[raw, clean(10), raw], Some(1), false, false),
            None,
            "they wait for another"
        );
    }

    #[test]
    fn codes_of_different_codebooks_are_kept_apart() {
        let old = Facts {
            codebook: Some(0),
            ..clean(5)
        };
        let dying = Facts { live: 1, ..old };
        let expected = Merge {
            segments: vec![1],
            codebook: Some(0),
        };
        assert_eq!(choose(&[clean(10), dying], Some(1), true, false), Some(expected));
        let many = [
            old,
            clean(5),
            clean(5),
            clean(5),
            clean(5),
            clean(5),
            old,
            old,
            old,
        ];
        assert_eq!(choose(&many, Some(1), true, false), of(&[1, 2, 3, 4, 5]));
        assert_eq!(settle(&[old, clean(5)], Some(1), false), None);
        let tidied = tidy_up(&[old, clean(5), old, clean(7)], Some(1));
        let codebooks: Vec<_> = tidied
            .iter()
            .map(|merge| (merge.codebook, merge.segments.clone()))
            .collect();
        assert_eq!(codebooks, [(Some(0), vec![0, 2]), (Some(1), vec![1, 3])]);
        let each = |codebook: u64| Facts {
            codebook: Some(codebook),
            ..clean(10 + codebook)
        };
        let five: Vec<Facts> = (1..6).map(each).collect();
        let expected = Merge {
            segments: vec![0],
            codebook: Some(5),
        };
        assert_eq!(
            settle(&five, Some(5), false),
            Some(expected),
            "too many codebooks"
        );
        assert_eq!(settle(&five[1..], Some(5), false), None);
        let expected = Merge {
            segments: vec![0, 4],
            codebook: Some(5),
        };
        assert_eq!(tidy_up(&five, Some(5)), [expected]);
    }

    #[test]
    fn a_pause_settles_what_has_changed_enough() {
        let deleted = |live| Facts { live, ..clean(1000) };
        assert_eq!(settle(&[clean(1000), clean(100)], Some(1), false), None);
        assert_eq!(settle(&[clean(1000), clean(150)], Some(1), false), of(&[0, 1]));
        assert_eq!(
            settle(&[clean(1000), clean(150)], Some(1), true),
            None,
            "graphs are dear"
        );
        assert_eq!(settle(&[deleted(950)], Some(1), false), None);
        assert_eq!(settle(&[deleted(800)], Some(1), false), of(&[0]));
        assert_eq!(settle(&[deleted(640)], Some(1), true), of(&[0]));
        assert_eq!(settle(&[clean(1000)], Some(1), false), None);
        assert_eq!(settle(&[], Some(1), false), None);
        assert!(tidy_up(&[clean(3)], Some(1)).is_empty() && tidy_up(&[deleted(999)], Some(1)).len() == 1);
        let without = Facts {
            lacks_graph: true,
            ..clean(1000)
        };
        assert_eq!(tidy_up(&[without], Some(1)).len(), 1, "a flush builds none");
        assert_eq!(settle(&[without], Some(1), true), None);
    }

    #[test]
    fn memtables_are_coded_in_pauses_and_large_ones_at_once() {
        assert!(should_code(CODE_FROM, 0, Some(1), true) && !should_code(CODE_FROM, 0, Some(1), false));
        assert!(
            should_code(CODE_AT_ONCE, 0, Some(1), false) && !should_code(CODE_FROM - 1, 0, Some(1), true)
        );
        assert!(
            should_code(10, TRAIN_FROM - 10, None, true) && !should_code(10, TRAIN_FROM - 11, None, true)
        );
        assert!(!should_code(TRAIN_FROM, TRAIN_FROM, None, false) && !should_code(0, TRAIN_FROM, None, true));
    }

    #[test]
    fn writers_wait_where_waste_is_half_of_what_lives() {
        let many = clean(20_000);
        let half_dead = Facts { live: 10_000, ..many };
        assert!(!is_overfull(&[many], 10_000 << 10) && is_overfull(&[many], (10_000 << 10) + 1));
        assert!(!is_overfull(&[many, many, half_dead], 0) && is_overfull(&[many, half_dead], 6_000 << 10));
        assert!(!is_overfull(&[], OVERFULL_FROM - 1) && is_overfull(&[], OVERFULL_FROM));
    }

    #[test]
    fn writers_wait_where_tokens_can_be_coded() {
        assert!(holds_writers(HOLD_WRITERS, Some(1)) && !holds_writers(HOLD_WRITERS - 1, Some(1)));
        assert!(!holds_writers(u64::MAX, None), "they wait for a codebook first");
    }

    #[test]
    fn codebooks_are_trained_at_first_at_growth_and_for_what_does_not_fit() {
        let train = |tokens, raw, trained| should_train(tokens, raw, trained, false);
        assert!(!train(TRAIN_FROM - 1, 0, None) && train(TRAIN_FROM, 0, None));
        assert!(
            should_train(OPTIMIZE_FROM, 0, None, true) && !should_train(OPTIMIZE_FROM - 1, 0, None, true)
        );
        assert!(!train(399, 0, Some(100)) && train(400, 0, Some(100)));
        let many = 1 << 24;
        assert!(
            train(many, many / UNFIT_PART, Some(many)) && !train(many, many / UNFIT_PART - 1, Some(many))
        );
        let few = UNFIT_FROM;
        assert!(train(2 * few, few, Some(few)) && !train(2 * few, few - 1, Some(few)));
        assert!(should_train(2 * few, OPTIMIZE_FROM, Some(few), true));
    }
}
