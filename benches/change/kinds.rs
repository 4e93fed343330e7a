//! Documents and queries of two kinds: as they are in the data, and turned into another part of the space.

use latewood::{QueryTokens, TokenMatrix};
use latewood_benches::Failure;
use latewood_benches::ask;
use latewood_codecs::MaxSimQuery;

/// Hits of the exact ranking that are kept.
const DEPTH: usize = 10;

/// A token with its numbers in reverse order: as far from others of its kind as before, and far from those of the first kind.
fn turned(numbers: &[f32], dim: usize) -> Vec<f32> {
    numbers
        .chunks_exact(dim)
        .flat_map(|token| token.iter().rev().copied())
        .collect()
}

/// Every other document, turned.
pub(crate) fn turn_odd(matrices: &mut [TokenMatrix], dim: usize) -> Result<(), Failure> {
    for matrix in matrices.iter_mut().skip(1).step_by(2) {
        *matrix = TokenMatrix::from_f32(dim, &turned(&matrix.to_f32(), dim))?;
    }
    Ok(())
}

/// Every other query, turned, and its exact ranking among the first `documents` matrices.
pub(crate) fn queries(
    rows: &[Vec<f32>],
    dim: usize,
    matrices: &[TokenMatrix],
) -> Result<(Vec<QueryTokens>, Vec<Vec<u32>>), Failure> {
    let odd = |(at, row): (usize, &Vec<f32>)| {
        if at % 2 == 1 {
            turned(row, dim)
        } else {
            row.clone()
        }
    };
    let rows: Vec<Vec<f32>> = rows.iter().enumerate().map(odd).collect();
    let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::new(); rows.len()];
    let asked = rows.iter().map(|row| MaxSimQuery::new(dim, row));
    let asked: Vec<MaxSimQuery> = asked.collect::<Result<_, _>>()?;
    for (number, matrix) in (0_u32..).zip(matrices) {
        let tokens = matrix.to_f32();
        for (query, best) in asked.iter().zip(&mut best) {
            best.push((query.score_f32(&tokens), number));
            if best.len() >= 64 * DEPTH {
                cut(best);
            }
        }
    }
    best.iter_mut().for_each(cut);
    let rankings = best
        .into_iter()
        .map(|best| best.into_iter().map(|(_, number)| number).collect());
    Ok((ask::queries(&rows, dim), rankings.collect()))
}

fn cut(best: &mut Vec<(f32, u32)>) {
    best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    best.truncate(DEPTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_documents_are_found_by_turned_queries() {
        let row = |first: f32| -> Vec<f32> {
            (0..8_u8)
                .map(|at| if at == 0 { first } else { f32::from(at) / 9.0 })
                .collect()
        };
        let mut matrices: Vec<TokenMatrix> = [3.0, 3.0, -3.0]
            .iter()
            .map(|x| TokenMatrix::from_f32(8, &row(*x)).unwrap())
            .collect();
        turn_odd(&mut matrices, 8).unwrap();
        let (_, rankings) = queries(&[row(3.0), row(3.0)], 8, &matrices).unwrap();
        assert_eq!((rankings[0][0], rankings[1][0]), (0, 1));
        assert_eq!(rankings[0].len(), 3);
    }
}
