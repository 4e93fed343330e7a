//! Query tokens that point the same way, taken together.

use crate::kernel::LANES;
use crate::maxsim::MaxSimQuery;
use crate::metric::squared_norm;

/// Least cosine of a token with the sum of the group that it joins.
const ALIKE: f32 = 0.9;
/// The same where it saves a panel, one after the other while there is more than one.
const ALIKE_ENOUGH: [f32; 2] = [0.8, 0.7];

/// Sums of query tokens that point the same way. Nearest to the sum is nearly what is nearest to each, so that documents
/// are ranked by it for candidates. A ColBERT query is filled up with mask tokens, most of which repeat the query's own
/// (Formal et al., "A White Box Analysis of ColBERT", ECIR 2021); a query of tokens that all differ stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Directions {
    /// The sums, row after row.
    pub(crate) sums: Vec<f32>,
    /// What a level of each group is worth: its length in 255 steps, and zeros up to a multiple of 16.
    pub(crate) units: Vec<f32>,
    /// How much more a member's score may vary than its group's, as a share of its length: the sine of their angle over the
    /// root of the dimension.
    pub(super) spreads: Vec<f32>,
}

impl Directions {
    pub(crate) fn new(query: &MaxSimQuery) -> Self {
        let tokens = query.num_tokens();
        let mut products = vec![0.0; tokens * tokens];
        query
            .kernel()
            .scores_f32(query.panels(), query.tokens(), &mut products);
        let panels = |groups: &[Vec<usize>]| groups.len().div_ceil(LANES);
        let mut groups = grouped(&products, tokens, ALIKE);
        for least in ALIKE_ENOUGH {
            if panels(&groups) > 1 {
                let fewer = grouped(&products, tokens, least);
                if panels(&fewer) < panels(&groups) {
                    groups = fewer;
                }
            }
        }
        if groups.is_empty() {
            // Numbers so small that their squares vanish.
            groups.push((0..tokens).collect());
        }
        let dim = query.dim();
        let mut sums = vec![0.0; groups.len() * dim];
        let mut units = vec![0.0; groups.len().div_ceil(LANES) * LANES];
        let mut spreads = vec![0.0; units.len()];
        let lanes = units.iter_mut().zip(&mut spreads);
        for ((members, sum), (unit, spread)) in groups.iter().zip(sums.chunks_exact_mut(dim)).zip(lanes) {
            let mut lengths = 0.0;
            for member in members {
                let token = &query.tokens()[member * dim..][..dim];
                sum.iter_mut().zip(token).for_each(|(sum, v)| *sum += v);
                lengths += squared_norm(token).sqrt();
            }
            let length = squared_norm(sum).sqrt();
            *unit = length / 255.0;
            let cosine = (length / lengths.max(f32::MIN_POSITIVE)).min(1.0);
            #[expect(clippy::cast_precision_loss, reason = "at most 1,024")]
            let root = (dim as f32).sqrt();
            *spread = (1.0 - cosine * cosine).sqrt() / root;
        }
        Self { sums, units, spreads }
    }
}

/// A group as it grows.
struct Group {
    members: Vec<usize>,
    squared: f32,
    /// The dot product of the sum with each token.
    products: Vec<f32>,
}

/// Each token joins the group that it is most alike, or begins one. Tokens of zeros are in none.
fn grouped(products: &[f32], tokens: usize, least: f32) -> Vec<Vec<usize>> {
    let mut groups: Vec<Group> = Vec::new();
    for (token, row) in products.chunks_exact(tokens).enumerate() {
        let squared = row[token];
        if squared <= 0.0 {
            continue;
        }
        let cosine = |group: &Group| group.products[token] / (squared * group.squared).sqrt();
        let nearest = groups
            .iter_mut()
            .map(|group| (cosine(group), group))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        match nearest {
            Some((cosine, group)) if cosine >= least => {
                group.squared += 2.0 * group.products[token] + squared;
                group.members.push(token);
                let sums = group.products.iter_mut().zip(row);
                sums.for_each(|(sum, product)| *sum += product);
            }
            _ => groups.push(Group {
                members: vec![token],
                squared,
                products: row.to_vec(),
            }),
        }
    }
    groups.into_iter().map(|group| group.members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directions(rows: &[[f32; 8]]) -> Directions {
        Directions::new(&MaxSimQuery::new(8, rows.as_flattened()).unwrap())
    }

    fn axis(at: usize, length: f32, tilt: f32) -> [f32; 8] {
        let mut row = [0.0; 8];
        (row[at], row[7]) = (length, tilt);
        row
    }

    #[test]
    fn what_points_the_same_way_is_summed_and_zeros_are_left_out() {
        let found = directions(&[
            axis(0, 1.0, 0.1),
            axis(1, 2.0, 0.0),
            [0.0; 8],
            axis(0, 0.5, 0.0),
            axis(0, -1.0, 0.0),
        ]);
        let expected = [axis(0, 1.5, 0.1), axis(1, 2.0, 0.0), axis(0, -1.0, 0.0)];
        assert_eq!(found.sums, expected.as_flattened());
        assert_eq!(found.units.len(), LANES);
        assert!((found.units[1] - 2.0 / 255.0).abs() < 1e-7 && found.units[3] == 0.0);
        assert!(found.spreads[0] > 0.0 && found.spreads[0] < 0.05 && found.spreads[1] < 1e-3);
    }

    #[test]
    fn a_wider_angle_is_taken_where_it_saves_a_panel() {
        // 17 tokens of 7 directions at a cosine of 0.86 in between, 16 of them nearly one.
        let near = |tilt: f32| axis(0, 1.0, tilt);
        let mut rows: Vec<[f32; 8]> = (0..6).map(|at| axis(at + 1, 1.0, 0.0)).collect();
        rows.extend([near(0.0), near(0.6)]);
        assert_eq!(directions(&rows).sums.len(), 8 * 8, "no panel is saved");
        let mut wide = vec![[0.0; 8]; 0];
        for at in 0..6 {
            for sign in [1.0, -1.0] {
                wide.push(axis(at, sign, 0.0));
            }
        }
        wide.extend([axis(7, 1.0, 1.0), axis(7, -1.0, -1.0)]);
        // Two pairs at a cosine of 0.857: 14 + 4 rows, 17 groups or more at 0.9, 16 at 0.8.
        for (sign, at) in [(1.0, 0), (1.0, 1), (-1.0, 2)] {
            wide.push(axis(at, sign, 0.6));
        }
        let found = directions(&wide);
        assert!(found.units.len() == LANES, "{} groups", found.sums.len() / 8);
    }
}
