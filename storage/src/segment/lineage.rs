//! Where the vectors of a merged segment come from: the graphs of its sources, and where their rows have gone.

use super::graph::Part;
use super::merge::Remap;
use super::view::SegmentView;
use crate::error::Result;

/// The sources of a merge.
#[derive(Clone, Copy)]
pub(crate) struct Lineage<'d> {
    pub(crate) sources: &'d [SegmentView],
    /// Where the rows of each have gone.
    pub(crate) remaps: &'d [Remap],
}

impl<'d> Lineage<'d> {
    /// The parts of the vectors of the named field of this number, or of the schema's dense field, in the order in which
    /// merging copies them. A damaged graph is left out.
    pub(crate) fn parts(&self, field: Option<usize>) -> Result<Vec<Part<'d>>> {
        let mut next = 0;
        let mut parts = Vec::with_capacity(self.sources.len());
        for (source, remap) in self.sources.iter().zip(self.remaps) {
            let Some((graph, documents)) = vectors(source, field)? else {
                continue;
            };
            let rows = documents.map(|document| {
                remap.get(document)?;
                next += 1;
                Some(next - 1)
            });
            parts.push(Part::new(graph, rows));
        }
        Ok(parts)
    }
}

/// The graph over the vectors of a source, and the documents that they are of, in order.
type Vectors<'d> = (
    Option<super::graph::GraphView<'d>>,
    Box<dyn Iterator<Item = u32> + 'd>,
);

fn vectors(source: &SegmentView, field: Option<usize>) -> Result<Option<Vectors<'_>>> {
    let segment = &source.segment;
    let Some(field) = field else {
        return Ok(Some((segment.graph()?, Box::new(0..segment.len()))));
    };
    let Some(named) = segment.named(field)? else {
        return Ok(None);
    };
    let documents: Box<dyn Iterator<Item = u32>> = match named.documents() {
        Some(documents) => Box::new(documents.iter().copied()),
        None => Box::new(0..named.len()),
    };
    Ok(Some((segment.named_graph(field), documents)))
}
