//! Where the indexes of a snapshot are, and what they say of all its documents together.

use std::collections::HashMap;

use latewood_storage::{Analyzer, LexicalView, Snapshot, TermInfo};

use super::bm25::Weighting;
use super::syntax::{LexicalQuery, Node};
use super::{MAX_QUERY_TERMS, boolean::Tree};
use crate::error::QueryError;

/// The index of one segment, or of some slots of the memtable.
pub(super) struct Source<'a> {
    pub(super) view: LexicalView<'a>,
    /// The segment's number in positions.
    pub(super) segment: u32,
    /// The ordinal of the first row.
    pub(super) first: u32,
}

/// A query bound to a snapshot: its terms with their weights over all segments and the memtable.
pub(super) struct Bound<'a> {
    pub(super) sources: Vec<Source<'a>>,
    /// For each source, what is known of each term there.
    pub(super) infos: Vec<Vec<Option<TermInfo>>>,
    pub(super) weighting: Weighting,
    pub(super) tree: Tree,
}

/// Binds a query; `None` when the collection has no lexical index.
pub(super) fn bind<'a>(
    snapshot: &'a Snapshot,
    query: &LexicalQuery,
) -> Result<Option<Bound<'a>>, QueryError> {
    let Some(spec) = &snapshot.schema().lexical else {
        return Ok(None);
    };
    let mut terms = Terms {
        analyzer: Analyzer::new(spec),
        numbers: HashMap::new(),
        terms: Vec::new(),
    };
    let tree = terms.tree(&query.0);
    if terms.terms.len() > MAX_QUERY_TERMS {
        return Err(QueryError::QueryTerms {
            got: terms.terms.len(),
            most: MAX_QUERY_TERMS,
        });
    }
    let sources = sources(snapshot)?;
    let mut infos = Vec::with_capacity(sources.len());
    let mut documents = vec![0u64; terms.terms.len()];
    for source in &sources {
        let mut own = Vec::with_capacity(terms.terms.len());
        for (term, documents) in terms.terms.iter().zip(&mut documents) {
            let info = source.view.find(term)?;
            *documents += info.map_or(0, |info| u64::from(info.documents));
            own.push(info);
        }
        infos.push(own);
    }
    let all = sources.iter().map(|source| source.view.documents()).sum();
    let total = sources.iter().map(|source| source.view.total_length()).sum();
    Ok(Some(Bound {
        sources,
        infos,
        weighting: Weighting::new(all, total, &documents),
        tree,
    }))
}

fn sources(snapshot: &Snapshot) -> Result<Vec<Source<'_>>, QueryError> {
    let mut sources = Vec::new();
    for (view, segment) in snapshot.segments().iter().zip(0u32..) {
        if let Some(view) = view.segment.lexical()? {
            let first = 0;
            sources.push(Source { view, segment, first });
        }
    }
    let segment = u32::try_from(snapshot.segments().len()).unwrap_or(u32::MAX);
    if let Some(spec) = &snapshot.schema().lexical {
        for (first, view) in snapshot.memtable().lexical(spec)? {
            sources.push(Source { view, segment, first });
        }
    }
    Ok(sources)
}

/// Numbers the different terms of a query.
struct Terms {
    analyzer: Analyzer,
    numbers: HashMap<String, usize>,
    terms: Vec<String>,
}

impl Terms {
    fn numbers(&mut self, text: &str) -> Vec<usize> {
        let (numbers, terms) = (&mut self.numbers, &mut self.terms);
        let mut out = Vec::new();
        self.analyzer.each_term(text, |term| {
            let number = numbers.get(term).copied().unwrap_or_else(|| {
                terms.push(term.to_owned());
                numbers.insert(term.to_owned(), terms.len() - 1);
                terms.len() - 1
            });
            out.push(number);
        });
        out
    }

    /// The query over numbers of terms; parts without terms are left out.
    fn tree(&mut self, node: &Node) -> Tree {
        match node {
            Node::Text(text) => Tree::Any(self.numbers(text)),
            Node::Phrase(text) => match self.numbers(text) {
                one if one.len() < 2 => Tree::Any(one),
                several => Tree::Phrase(several),
            },
            Node::Boolean(clauses) => {
                let mut each = |nodes: &[Node]| -> Vec<Tree> {
                    let trees = nodes.iter().map(|node| self.tree(node));
                    trees.filter(|tree| !tree.is_empty()).collect()
                };
                Tree::boolean(each(&clauses.must), each(&clauses.should), each(&clauses.not))
            }
        }
    }
}
