//! Payload columns that filters are made of: the place of each document in an order of all.

use latewood::{Filter, TokenMatrix};
use latewood_benches::random::Random;

/// Orders by nearness there are; each query takes the one of the point that it is nearest to.
const POINTS: usize = 16;

/// Which documents a filter lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Drawn at random.
    Random,
    /// Those whose mean token is nearest to that of a query like this one.
    Near,
    /// Those whose mean token is farthest from it.
    Far,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Random, Self::Near, Self::Far];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Near => "near the query",
            Self::Far => "far from the query",
        }
    }
}

/// The columns: places from 0 in a random order, and in the order of nearness to each of some points.
pub(crate) struct Columns {
    documents: usize,
    random: Vec<usize>,
    near: Vec<Vec<usize>>,
    /// The point of each query.
    points: Vec<usize>,
}

impl Columns {
    /// Of documents and queries whose tokens have `dim` numbers. The points are the means of the first queries.
    pub(crate) fn new(documents: &[TokenMatrix], queries: &[Vec<f32>], dim: usize) -> Self {
        let means: Vec<Vec<f32>> = documents
            .iter()
            .map(|document| mean(&document.to_f32(), dim))
            .collect();
        let asked: Vec<Vec<f32>> = queries.iter().map(|query| mean(query, dim)).collect();
        Self::of(&means, &asked)
    }

    /// Of unit vectors. The points are the first queries.
    pub(crate) fn of(means: &[Vec<f32>], asked: &[Vec<f32>]) -> Self {
        let points = &asked[..POINTS.min(asked.len())];
        let nearest = |query: &Vec<f32>| {
            let scores = points.iter().map(|point| dot(point, query));
            scores
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(at, _)| at)
        };
        let mut random = Random::new(0x0066_696c_7465_7273, 0);
        let drawn: Vec<f32> = means.iter().map(|_| random.unit() as f32).collect();
        Self {
            documents: means.len(),
            random: places(&drawn),
            near: points
                .iter()
                .map(|point| places(&means.iter().map(|mean| -dot(point, mean)).collect::<Vec<_>>()))
                .collect(),
            points: asked.iter().map(nearest).collect(),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        std::iter::once("random".to_owned()).chain((0..self.near.len()).map(|point| format!("near{point}")))
    }

    /// Names and values of a document.
    pub(crate) fn values(&self, document: usize) -> impl Iterator<Item = (String, u64)> {
        let columns = std::iter::once(&self.random).chain(&self.near);
        self.names()
            .zip(columns.map(move |places| places[document] as u64))
    }

    /// Documents that a filter of this share lets through.
    pub(crate) fn matching(&self, share: f64) -> usize {
        ((self.documents as f64 * share).round() as usize).clamp(1, self.documents)
    }

    /// The filter of a query.
    pub(crate) fn filter(&self, kind: Kind, share: f64, query: usize) -> Filter {
        let matching = self.matching(share) as i64;
        let near = format!("near{}", self.points[query]);
        match kind {
            Kind::Random => Filter::lt("random", matching),
            Kind::Near => Filter::lt(near, matching),
            Kind::Far => Filter::gte(near, self.documents as i64 - matching),
        }
    }
}

fn mean(tokens: &[f32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dim];
    for token in tokens.chunks_exact(dim) {
        sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
    }
    let norm = sum
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    sum.iter().map(|x| x / norm).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The place of each in ascending order.
fn places(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut places = vec![0; values.len()];
    order
        .into_iter()
        .enumerate()
        .for_each(|(place, at)| places[at] = place);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_permutation_in_order() {
        assert_eq!(places(&[0.5, -1.0, 3.0]), [1, 0, 2]);
        let matrix = |x: f32| TokenMatrix::from_f32(8, &[x, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        let documents = [matrix(-1.0), matrix(2.0), matrix(0.5)];
        let mut query = vec![0.0; 8];
        query[0] = 1.0;
        let columns = Columns::new(&documents, &[query], 8);
        let near: Vec<u64> = (0..3).map(|at| columns.values(at).nth(1).unwrap().1).collect();
        assert_eq!(near, [2, 0, 1]);
        assert_eq!(columns.filter(Kind::Near, 0.5, 0), Filter::lt("near0", 2_i64));
        assert_eq!(columns.filter(Kind::Far, 0.001, 0), Filter::gte("near0", 2_i64));
        assert_eq!(columns.names().count(), 2);
    }
}
