//! The lexical index of a file of texts.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::documents::Documents;
use super::build::IndexBuilder;
use super::encoded::LexicalIndex;
use super::merge::{Source, merge};
use crate::error::Result;
use crate::text::{Analyzer, LexicalSpec};

/// Blocks of documents that one thread takes at a time: some 8 MiB of text, about a million terms.
const BLOCKS: usize = 512;

/// Makes the index of a segment's texts, in parallel: each thread makes indexes of consecutive rows, which are merged. What
/// is held in memory is the index, compressed, and a million occurrences a thread.
pub(crate) fn index_texts(
    documents: Documents<'_>,
    spec: &LexicalSpec,
    pool: Option<&ThreadPool>,
) -> Result<LexicalIndex> {
    let analyzer = Analyzer::new(spec);
    let blocks = documents.blocks()?.len();
    let parts: Vec<std::ops::Range<usize>> = (0..blocks)
        .step_by(BLOCKS)
        .map(|start| start..(start + BLOCKS).min(blocks))
        .collect();
    let each = |part: &std::ops::Range<usize>| index_part(documents, part.clone(), &analyzer);
    let made: Vec<Vec<LexicalIndex>> = match pool {
        Some(pool) => pool.install(|| parts.par_iter().map(each).collect::<Result<_>>())?,
        None => parts.iter().map(each).collect::<Result<_>>()?,
    };
    let mut made: Vec<LexicalIndex> = made.into_iter().flatten().collect();
    if made.len() == 1
        && let Some(only) = made.pop()
    {
        return Ok(only);
    }
    let mut first = 0;
    let mut sources = Vec::with_capacity(made.len());
    for index in &made {
        let (start, view) = (first, index.view());
        first += view.rows();
        let row = Box::new(move |row| Some(start + row));
        sources.push(Source { view, row });
    }
    merge(&sources)
}

fn index_part(
    documents: Documents<'_>,
    blocks: std::ops::Range<usize>,
    analyzer: &Analyzer,
) -> Result<Vec<LexicalIndex>> {
    let mut made = Vec::new();
    let mut builder = IndexBuilder::new(analyzer);
    for number in blocks {
        let block = documents.block(number)?;
        for row in documents.rows_of(number)? {
            let document = block.get(row).ok_or_else(|| documents.bad_row(number, row))?;
            builder.push(document.text)?;
        }
        if builder.is_full() {
            made.push(std::mem::replace(&mut builder, IndexBuilder::new(analyzer)).finish()?);
        }
    }
    made.push(builder.finish()?);
    Ok(made)
}
