//! A near centroid of each token, found in two levels: among the centroids of the groups whose heads the token is near.

use super::assign::Assigner;
use super::contest::{Bound, Contest};
use crate::kernel::{BytePanels, Kernel, LANES};
use crate::kmeans::KMeans;

/// Centroids from which on two levels are cheaper than one.
const GROUPED_FROM: usize = 4096;
/// Iterations of the k-means that groups the centroids.
const ITERATIONS: usize = 5;
/// Seed of that k-means: the same centroids are always grouped alike.
const SEED: u64 = 0x6865_6164;
/// How far below the nearest head another may be whose group is searched, in cosine.
const REACH: f32 = 0.25;
/// Most groups that are searched for a token.
const MOST_GROUPS: usize = 32;
/// Tokens that are assigned together: enough for most groups to be searched for many of them at once.
const TOKENS: usize = 2048;
/// Tokens that pass over the heads together: their int8 codes stay in the L1 cache.
const TOKENS_AT_HEADS: usize = 96;

/// How the centroid of a token is looked for: among all of them, or, when there are many, in two levels.
#[derive(Clone, Debug)]
pub(crate) enum CentroidSearch {
    Exact(Assigner),
    TwoLevel(Groups),
}

impl CentroidSearch {
    /// Lays out centroids of `dim` numbers.
    pub(crate) fn new(dim: usize, centroids: &[f32], kernel: Kernel) -> Self {
        if centroids.len() / dim >= GROUPED_FROM
            && let Some(groups) = Groups::new(dim, centroids, kernel)
        {
            return Self::TwoLevel(groups);
        }
        Self::Exact(Assigner::new(dim, centroids, kernel))
    }

    /// Appends a near centroid of each token, in most cases the nearest. It depends on the token and the centroids alone.
    pub(crate) fn assign(&self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        match self {
            Self::Exact(assigner) => assigner.assign(dim, centroids, tokens, codes),
            Self::TwoLevel(groups) => groups.assign(dim, centroids, tokens, codes),
        }
    }
}

/// Centroids in groups, about as many groups as twice the root of their number, made by k-means over the centroids.
///
/// A token is compared with the heads of the groups, and then with the centroids of the groups whose head is within
/// [`REACH`] of the nearest head, the nearest [`MOST_GROUPS`] at most. Tokens of one group meet its centroids together, so that
/// both levels are matrix products. docs/decisions/0008-assignment.md has how often another centroid than the nearest
/// is found, and what that costs.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    kernel: Kernel,
    heads: BytePanels,
    count: usize,
    /// The centroids, group after group, each group filled up to whole panels.
    centroids: BytePanels,
    /// The first panel of each group, and the end.
    firsts: Vec<usize>,
    /// The centroid in each lane; none in the fill.
    members: Vec<Option<usize>>,
    bound: Bound,
}

impl Groups {
    /// Groups centroids; `None` when they are not finite.
    fn new(dim: usize, centroids: &[f32], kernel: Kernel) -> Option<Self> {
        let count = (4 * centroids.len() / dim).isqrt().next_multiple_of(LANES);
        let mut kmeans = KMeans::new(dim, count, centroids, SEED).ok()?;
        for _ in 0..ITERATIONS {
            let codes = kmeans.assign(centroids);
            kmeans.update(centroids, &codes);
        }
        let codes = kmeans.assign(centroids);
        let mut groups = vec![Vec::new(); count];
        for (centroid, group) in codes.iter().enumerate() {
            groups[*group as usize].push(centroid);
        }
        let (mut rows, mut members, mut firsts) = (Vec::new(), Vec::new(), vec![0]);
        for group in &groups {
            members.extend(group.iter().copied().map(Some));
            members.resize(members.len().next_multiple_of(LANES), None);
            for centroid in group {
                rows.extend_from_slice(&centroids[centroid * dim..][..dim]);
            }
            rows.resize(members.len() * dim, 0.0);
            firsts.push(members.len() / LANES);
        }
        Some(Self {
            kernel,
            heads: BytePanels::new(&kmeans.finish(), dim),
            count,
            centroids: BytePanels::new(&rows, dim),
            firsts,
            members,
            bound: Bound::new(dim, centroids),
        })
    }

    fn assign(&self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        let (mut contest, mut visits) = (Contest::default(), Visits::default());
        for tokens in tokens.chunks(TOKENS * dim) {
            contest.begin(&self.bound, dim, tokens);
            visits.choose(self, dim, &contest);
            // The nearest group first: what it finds keeps most of the others' centroids out.
            visits.make(self, dim, &mut contest, Round::First);
            visits.make(self, dim, &mut contest, Round::Others);
            contest.decide(dim, centroids, tokens, codes);
        }
    }
}

/// Which groups are searched for a token: the nearest, then the others within reach.
#[derive(Clone, Copy)]
enum Round {
    First,
    Others,
}

/// Which groups are searched for which tokens.
#[derive(Default)]
struct Visits {
    /// Group and token, for each round.
    first: Vec<(u32, u32)>,
    others: Vec<(u32, u32)>,
    /// The heads within reach of each token that is at the heads, with their scores.
    near: Vec<Vec<(u32, f32)>>,
    floors: Vec<f32>,
    /// Tokens by group, and where each group's end.
    tokens: Vec<u32>,
    ends: Vec<usize>,
    rows: Vec<u8>,
}

impl Visits {
    /// Compares tokens with the heads.
    fn choose(&mut self, groups: &Groups, dim: usize, contest: &Contest) {
        self.first.clear();
        self.others.clear();
        self.near.resize_with(TOKENS_AT_HEADS, Vec::new);
        let (bytes, norms) = contest.tokens();
        let blocks = bytes
            .chunks(TOKENS_AT_HEADS * dim)
            .zip(norms.chunks(TOKENS_AT_HEADS));
        for (block, (bytes, norms)) in blocks.enumerate() {
            let mut best = [f32::NEG_INFINITY; TOKENS_AT_HEADS];
            self.near.iter_mut().for_each(Vec::clear);
            self.floors.clear();
            self.floors.resize(norms.len(), f32::NEG_INFINITY);
            let near = &mut self.near;
            let found = &mut |token: usize, head: usize, score: f32| {
                if head < groups.count {
                    near[token].push((low_u32(head), score));
                    best[token] = best[token].max(score);
                }
                best[token] - REACH * norms[token]
            };
            let panels = 0..groups.heads.panels();
            groups
                .kernel
                .nearest(&groups.heads, panels, bytes, &mut self.floors, found);
            for (at, (near, norm)) in self.near.iter_mut().zip(norms).enumerate() {
                let token = low_u32(block * TOKENS_AT_HEADS + at);
                let floor = best[at] - REACH * norm;
                near.retain(|(_, score)| *score >= floor);
                let by_score = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
                if near.len() > MOST_GROUPS {
                    near.select_nth_unstable_by(MOST_GROUPS, by_score);
                    near.truncate(MOST_GROUPS);
                }
                let nearest = near.iter().copied().min_by(by_score).map(|(head, _)| head);
                self.first.extend(nearest.map(|head| (head, token)));
                let others = near
                    .iter()
                    .map(|(head, _)| *head)
                    .filter(|head| Some(*head) != nearest);
                self.others.extend(others.map(|head| (head, token)));
            }
        }
    }

    /// Has the tokens of a round meet the centroids of their groups.
    fn make(&mut self, groups: &Groups, dim: usize, contest: &mut Contest, round: Round) {
        let visits = match round {
            Round::First => &self.first,
            Round::Others => &self.others,
        };
        by_group(visits, groups.count, &mut self.tokens, &mut self.ends);
        let (bytes, mut entries) = contest.parts();
        let mut start = 0;
        for (group, end) in self.ends.iter().enumerate() {
            let tokens = &self.tokens[std::mem::replace(&mut start, *end)..*end];
            self.rows.clear();
            self.floors.clear();
            for token in tokens {
                let token = *token as usize;
                self.rows.extend_from_slice(&bytes[token * dim..][..dim]);
                self.floors.push(entries.floor(token));
            }
            let panels = groups.firsts[group]..groups.firsts[group + 1];
            groups.kernel.nearest(
                &groups.centroids,
                panels,
                &self.rows,
                &mut self.floors,
                &mut |row, lane, score| {
                    let token = tokens[row] as usize;
                    match groups.members[lane] {
                        Some(centroid) => entries.enter(token, centroid, score),
                        None => entries.floor(token),
                    }
                },
            );
        }
    }
}

/// Sorts tokens by their group, by counting.
fn by_group(visits: &[(u32, u32)], groups: usize, tokens: &mut Vec<u32>, ends: &mut Vec<usize>) {
    ends.clear();
    ends.resize(groups, 0);
    for (group, _) in visits {
        ends[*group as usize] += 1;
    }
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    tokens.clear();
    tokens.resize(visits.len(), 0);
    for (group, token) in visits {
        let at = &mut ends[*group as usize];
        tokens[*at] = *token;
        *at += 1;
    }
}

/// A number that is known to be small.
fn low_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
