//! Making the inverted index of sparse vectors from their rows.

use std::collections::HashMap;
use std::path::Path;

use super::super::component::Component;
use super::super::ends::write_ends;
use super::super::packing::{BLOCK, SLACK, pack_block};
use super::super::writer::{ComponentWriter, Finished};
use super::index::{CODES, COUNTS, DIMENSIONS, ENTRY, GREATEST, LISTS, PLACES};
use super::rows::SparseRows;
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::wire::to_u32;

/// Dimensions below this are counted in a table, others in a map.
const SMALL: usize = 1 << 20;

/// Writes the index of `rows`, holding at most about `at_once` postings at a time.
pub(crate) fn write_index(
    backend: &dyn StorageBackend,
    dir: &Path,
    component: Component,
    rows: &SparseRows<'_>,
    at_once: usize,
) -> Result<Finished> {
    let path = dir.join(component.name());
    let tags = [LISTS, DIMENSIONS, PLACES, COUNTS, GREATEST];
    let mut writer = ComponentWriter::create(backend, &path, component.kind(), &tags)?;
    let (dimensions, numbers) = count(rows)?;
    let (mut lengths, mut first) = (Vec::with_capacity(dimensions.len()), 0);
    while first < dimensions.len() {
        let mut held = 0;
        let fits = |(_, count): &&(u32, u32)| {
            held += *count as usize;
            held <= at_once
        };
        let rest = dimensions.get(first..).unwrap_or_default();
        let past = first + rest.iter().take_while(fits).count().max(1);
        let group = dimensions.get(first..past).unwrap_or_default();
        for list in gather(rows, &numbers, group, first)? {
            let encoded = encode(&list)?;
            lengths.push(encoded.len());
            writer.append(LISTS, &encoded)?;
            let greatest = list.iter().map(|posting| posting.1).fold(0.0, f32::max);
            writer.append(GREATEST, &greatest.to_le_bytes())?;
        }
        first = past;
    }
    writer.append(LISTS, &[0; SLACK])?;
    for (dimension, count) in &dimensions {
        writer.append(DIMENSIONS, &dimension.to_le_bytes())?;
        writer.append(COUNTS, &count.to_le_bytes())?;
    }
    let bytes = lengths.iter().map(|length| *length as u64).sum();
    write_ends(&mut writer, PLACES, lengths.into_iter(), bytes)?;
    writer.finish([
        u64::from(rows.len()),
        dimensions.len() as u64,
        bytes,
        rows.entries(),
        0,
        0,
    ])
}

/// The number of each dimension.
struct Numbers {
    small: Vec<u32>,
    large: HashMap<u32, u32>,
}

impl Numbers {
    fn slot(&mut self, dimension: u32) -> &mut u32 {
        match self.small.get_mut(dimension as usize) {
            Some(slot) => slot,
            None => self.large.entry(dimension).or_default(),
        }
    }

    fn get(&self, dimension: u32) -> usize {
        let number = match self.small.get(dimension as usize) {
            Some(number) => Some(number),
            None => self.large.get(&dimension),
        };
        number.map_or(usize::MAX, |number| *number as usize)
    }
}

/// The dimensions, ascending, and how many rows have each; and the place of each among them.
fn count(rows: &SparseRows<'_>) -> Result<(Vec<(u32, u32)>, Numbers)> {
    let mut numbers = Numbers {
        small: vec![0; SMALL],
        large: HashMap::new(),
    };
    let mut read = Vec::new();
    for row in 0..rows.len() {
        rows.read(row, &mut read)?;
        read.iter().for_each(|dimension| *numbers.slot(*dimension) += 1);
    }
    let small = (0u32..)
        .zip(&numbers.small)
        .map(|(dimension, count)| (dimension, *count));
    let large = numbers
        .large
        .iter()
        .map(|(dimension, count)| (*dimension, *count));
    let mut counts: Vec<(u32, u32)> = small.chain(large).filter(|(_, count)| *count > 0).collect();
    counts.sort_unstable();
    for (number, (dimension, _)) in counts.iter().enumerate() {
        *numbers.slot(*dimension) = to_u32(number)?;
    }
    Ok((counts, numbers))
}

/// A posting list: rows, ascending, and their weights.
type List = Vec<(u32, f32)>;

/// The lists of some neighbouring dimensions, of which the first has the number `first`.
fn gather(rows: &SparseRows<'_>, numbers: &Numbers, group: &[(u32, u32)], first: usize) -> Result<Vec<List>> {
    let mut lists: Vec<List> = group
        .iter()
        .map(|(_, count)| Vec::with_capacity(*count as usize))
        .collect();
    let (Some((least, _)), Some((most, _))) = (group.first(), group.last()) else {
        return Ok(lists);
    };
    let mut read = Vec::new();
    for row in 0..rows.len() {
        let weights = rows.read(row, &mut read)?;
        let from = read.partition_point(|dimension| dimension < least);
        let wanted = read
            .iter()
            .zip(weights)
            .skip(from)
            .take_while(|(dimension, _)| *dimension <= most);
        for (dimension, weight) in wanted {
            if let Some(list) = lists.get_mut(numbers.get(*dimension).wrapping_sub(first)) {
                list.push((row, *weight));
            }
        }
    }
    Ok(lists)
}

fn encode(list: &List) -> Result<Vec<u8>> {
    let greatest = list.iter().map(|posting| posting.1).fold(0.0, f32::max);
    let blocks = list.len().div_ceil(BLOCK);
    let table = if blocks > 1 { blocks * ENTRY } else { 0 };
    let mut out = vec![0; table];
    let (mut next, mut gaps) = (0u32, Vec::with_capacity(BLOCK));
    for (number, block) in list.chunks(BLOCK).enumerate() {
        gaps.clear();
        for (row, _) in block {
            gaps.push(row.wrapping_sub(next));
            next = row.wrapping_add(1);
        }
        pack_block(&gaps, &mut out);
        out.extend(block.iter().map(|(_, weight)| code(*weight, greatest)));
        let end = u32::try_from(out.len() - table).map_err(|_| too_long())?;
        let entry: [u32; 2] = [next.wrapping_sub(1), end];
        if let Some(to) = out
            .get_mut(..table)
            .and_then(|table| table.get_mut(number * ENTRY..)?.first_chunk_mut())
        {
            let to: &mut [u8; ENTRY] = to;
            to.copy_from_slice(bytemuck::cast_slice(&entry));
        }
    }
    Ok(out)
}

fn too_long() -> StorageError {
    StorageError::InvalidSchema {
        reason: "a sparse dimension stands in more than a billion documents of one segment".to_owned(),
    }
}

/// A weight in a byte, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped to a byte"
)]
fn code(weight: f32, greatest: f32) -> u8 {
    let share = f64::from(weight) / f64::from(greatest) * f64::from(CODES);
    share.ceil().clamp(1.0, f64::from(CODES)) as u8
}
