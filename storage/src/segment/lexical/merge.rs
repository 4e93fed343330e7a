//! Several lexical indexes into one, their rows one after another, without reading a text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::dictionary::Terms;
use super::encoded::LexicalIndex;
use super::postings::{Draft, PostingsBlock};
use super::view::LexicalView;
use crate::error::Result;

/// A source of a merge, and what becomes of its rows.
pub(crate) struct Source<'a> {
    pub(crate) view: LexicalView<'a>,
    /// The new row of an old one, ascending with it; `None` for one that is left out.
    pub(crate) row: Box<dyn Fn(u32) -> Option<u32> + 'a>,
}

/// Merges indexes. The rows that are kept must be numbered one after another, through the sources in order.
pub(crate) fn merge(sources: &[Source<'_>]) -> Result<LexicalIndex> {
    let mut index = LexicalIndex::default();
    for source in sources {
        let lengths = source.view.lengths();
        for row in (0..source.view.rows()).filter(|row| (source.row)(*row).is_some()) {
            index.push_row(lengths.get(row));
        }
    }
    let mut cursors: Vec<Terms<'_>> = sources.iter().map(|source| source.view.terms()).collect();
    let mut heap = BinaryHeap::new();
    for (number, (cursor, source)) in cursors.iter_mut().zip(sources).enumerate() {
        advance(cursor, source, number, &mut heap)?;
    }
    let (mut list, mut block) = (Draft::default(), PostingsBlock::default());
    while let Some(Reverse((term, first))) = heap.pop() {
        list.clear();
        let mut number = first;
        loop {
            if let (Some(cursor), Some(source)) = (cursors.get_mut(number), sources.get(number)) {
                copy(cursor, source, &mut block, &mut list)?;
                advance(cursor, source, number, &mut heap)?;
            }
            match heap.peek() {
                Some(Reverse((next, _))) if *next == term => {}
                _ => break,
            }
            let Some(Reverse((_, next))) = heap.pop() else {
                break;
            };
            number = next;
        }
        if !list.documents.is_empty() {
            index.push_term(&term, &list)?;
        }
    }
    index.close();
    Ok(index)
}

type Heap = BinaryHeap<Reverse<(Vec<u8>, usize)>>;

fn advance(cursor: &mut Terms<'_>, source: &Source<'_>, number: usize, heap: &mut Heap) -> Result<()> {
    let more = cursor
        .advance()
        .ok_or_else(|| source.view.corruption("a dictionary of terms"))?;
    if more {
        heap.push(Reverse((cursor.term.clone(), number)));
    }
    Ok(())
}

/// Appends what is kept of the list at which a cursor stands.
fn copy(cursor: &Terms<'_>, source: &Source<'_>, block: &mut PostingsBlock, list: &mut Draft) -> Result<()> {
    let damaged = || source.view.corruption("a posting list");
    let postings = source.view.postings(&cursor.info)?;
    for number in 0..postings.blocks() {
        postings.read(number, block).ok_or_else(damaged)?;
        let mut positions = postings.positions(number).ok_or_else(damaged)?;
        for (row, frequency) in block.documents.iter().zip(&block.frequencies) {
            let bytes = positions.skip(*frequency).ok_or_else(damaged)?;
            if let Some(new) = (source.row)(*row) {
                list.copy(new, *frequency, bytes);
            }
        }
    }
    Ok(())
}
