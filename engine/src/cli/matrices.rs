//! Token matrices of queries, from numpy files.

use std::path::Path;

use super::output::Failure;
use crate::import::{NpyReader, read_lengths};

/// The queries of a file, each a list of tokens: queries x tokens x dimensions, or tokens x dimensions with the number of
/// tokens of each query in a file of their own.
pub(super) fn read_matrices(path: &Path, lengths: Option<&Path>) -> Result<Vec<Vec<Vec<f32>>>, Failure> {
    let mut reader = NpyReader::open(path)?;
    let lengths = match (reader.header().shape.as_slice(), lengths) {
        (&[queries, tokens, _], None) => vec![tokens; usize::try_from(queries).unwrap_or(usize::MAX)],
        (&[rows, _], Some(path)) => {
            let lengths = read_lengths(path)?;
            let sum: u64 = lengths.iter().sum();
            if sum != rows {
                let message = format!(
                    "{} has {rows} tokens, the lengths add up to {sum}",
                    reader.path().display()
                );
                return Err(Failure::Said(message, "give the lengths of the same queries"));
            }
            lengths
        }
        (shape, _) => {
            let message = format!("{}: shape {shape:?}", reader.path().display());
            return Err(Failure::Said(
                message,
                "give queries x tokens x dimensions, or tokens x dimensions with --querylens",
            ));
        }
    };
    let mut matrices = Vec::with_capacity(lengths.len());
    for length in lengths {
        let mut matrix = Vec::new();
        for _ in 0..length {
            let mut row = Vec::with_capacity(reader.row_len());
            reader.read_f32(1, &mut row)?;
            matrix.push(row);
        }
        matrices.push(matrix);
    }
    Ok(matrices)
}
