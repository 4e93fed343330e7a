//! Writes what a repaired collection is made of: merged copies of damaged segments, and the documents that were saved one by
//! one.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use half::f16;
use latewood_codecs::TokenMatrix;
use roaring::RoaringBitmap;
use serde_json::{Value, json};

use super::Repair;
use super::aside::Aside;
use super::parts::{Found, Part};
use super::report::RepairReport;
use crate::collection::{codebook_path, segment_dir};
use crate::document::{DocumentId, Record};
use crate::error::{IoContext, Result};
use crate::manifest::SegmentEntry;
use crate::memtable::record_bytes;
use crate::segment::{Codebook, LostRows, Origin, SegmentView, merge_segments, write_segment_with};
use crate::tombstones::write_tombstones;

/// The segments of the repaired collection, in order.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    pub(super) segments: Vec<SegmentEntry>,
}

pub(super) fn rebuild(
    repair: &Repair<'_>,
    found: &mut Found,
    records: Vec<Record>,
    sequence: u64,
    number: u64,
    aside: &Aside<'_>,
    report: &mut RepairReport,
) -> Result<Rebuilt> {
    let mut rebuilder = Rebuilder {
        repair,
        sequence,
        lost: Lost::new(repair, aside),
        waiting: Vec::new(),
        waiting_bytes: 0,
        saved: Vec::new(),
        next_segment: found.next_segment,
    };
    let mut segments = Vec::new();
    for part in &found.parts {
        let entry = match &part.patched {
            None => rebuilder.keep(part, number)?,
            Some(lost) => rebuilder.rewrite(found, part, lost, report)?,
        };
        segments.extend(entry);
    }
    for (id, rows) in &found.gone {
        report.lost += u64::from(*rows);
        report.uncertain.push(format!(
            "segment {id}: nothing of its {rows} documents can be read"
        ));
    }
    for record in records {
        rebuilder.add(found, record, report)?;
    }
    rebuilder.flush(found)?;
    rebuilder.lost.finish()?;
    segments.append(&mut rebuilder.saved);
    found.next_segment = rebuilder.next_segment;
    let folder = |entry: &SegmentEntry| segment_dir(repair.dir, entry.id);
    let kept: HashSet<u64> = found.parts.iter().map(|part| part.id).collect();
    found.made = segments
        .iter()
        .filter(|entry| !kept.contains(&entry.id))
        .map(folder)
        .collect();
    found.made.append(&mut found.copies);
    rebuild_codebooks(repair, found, aside, report)?;
    Ok(Rebuilt { segments })
}

/// Writes the damaged one of a codebook's files again from the others.
fn rebuild_codebooks(
    repair: &Repair<'_>,
    found: &Found,
    aside: &Aside<'_>,
    report: &mut RepairReport,
) -> Result<()> {
    let folder = repair.dir.join("codebooks");
    for entry in repair.backend.list(&folder).at("list", &folder)? {
        let known =
            crate::segment::codebook_number(&entry.name).is_some_and(|id| found.codebooks.contains_key(&id));
        if !known {
            aside.keep(&folder.join(&entry.name))?;
        }
    }
    for (id, codebook) in &found.codebooks {
        let path = codebook_path(repair.dir, *id);
        for file in Codebook::damaged_files(repair.backend, &path) {
            let path = &file.path;
            aside.keep(path)?;
            if repair.backend.exists(path).at("look for", path)? {
                repair.backend.remove_file(path).at("remove", path)?;
            }
            codebook.write_one(repair.backend, &file)?;
            report
                .rebuilt
                .push(format!("codebook {id}, from its other files"));
        }
    }
    Ok(())
}

struct Rebuilder<'a> {
    repair: &'a Repair<'a>,
    sequence: u64,
    lost: Lost<'a>,
    /// Documents on their way to a segment of their own.
    waiting: Vec<Arc<Record>>,
    waiting_bytes: u64,
    saved: Vec<SegmentEntry>,
    next_segment: u64,
}

impl Rebuilder<'_> {
    /// A segment that is whole stays as it is, but for what was deleted since.
    fn keep(&self, part: &Part, number: u64) -> Result<Option<SegmentEntry>> {
        let same = part.tombstones_known && part.saved_whole && part.dead.len() == part.saved.1;
        let tombstones = if same {
            part.saved.0
        } else {
            write_tombstones(self.repair.backend, part.segment.dir(), number, &part.dead)?;
            number
        };
        Ok(Some(SegmentEntry {
            id: part.id,
            rows: part.segment.len(),
            tombstones,
        }))
    }

    /// Writes a segment anew, without the rows that are not whole.
    fn rewrite(
        &mut self,
        found: &Found,
        part: &Part,
        lost: &LostRows,
        report: &mut RepairReport,
    ) -> Result<Option<SegmentEntry>> {
        let gone = lost.gone() - &part.dead;
        for row in &gone {
            let id = self.lost.write(part, row, lost)?;
            report.lose(id);
        }
        let half = lost.half() - &part.dead;
        for row in &half {
            match from_one_tier(found, part, row, lost.tokens.contains(row)) {
                Ok(record) => {
                    report.from_one_tier += 1;
                    self.add(found, record, report)?;
                }
                Err(_) => {
                    let id = self.lost.write(part, row, lost)?;
                    report.lose(id);
                }
            }
        }
        let view = SegmentView {
            tombstones: Arc::new((&part.dead | &gone | &half).into()),
            segment: Arc::clone(&part.segment),
        };
        if view.live_len() == 0 {
            return Ok(None);
        }
        let id = self.take_segment();
        let codebook = part.segment.codebook_id().and_then(|id| found.codebooks.get(&id));
        let origin = part.segment.origin();
        let mut options = self.repair.context.segment_options(id)?;
        options.origin = Origin {
            sequence: part.sequence,
            flushed: origin.flushed,
            sources: Vec::new(),
        };
        let (info, _) = merge_segments(
            self.repair.backend,
            &segment_dir(self.repair.dir, id),
            &found.schema,
            codebook,
            &[view],
            &options,
            &|_| ControlFlow::Continue(()),
        )?;
        report.rebuilt.push(format!(
            "segment {}, as segment {id}: {} documents",
            part.id, info.rows
        ));
        Ok(Some(SegmentEntry {
            id,
            rows: info.rows,
            tombstones: 0,
        }))
    }

    /// Puts a document into a segment to come.
    fn add(&mut self, found: &Found, record: Record, report: &mut RepairReport) -> Result<()> {
        if let Err(error) = found.schema.fits(&record) {
            tracing::warn!(%error, "a document does not fit the schema");
            report.lose(Some(record.id.clone()));
            return self.lost.line(
                &record.id,
                record.text.as_deref(),
                &record.payload,
                &["vectors that fit the schema"],
            );
        }
        self.waiting_bytes += record_bytes(&record);
        self.waiting.push(Arc::new(record));
        if self.waiting_bytes > self.repair.context.options.memtable_bytes() {
            self.flush(found)?;
        }
        Ok(())
    }

    fn flush(&mut self, found: &Found) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let id = self.take_segment();
        let mut options = self.repair.context.segment_options(id)?;
        options.origin = Origin {
            sequence: self.sequence,
            flushed: self.sequence,
            sources: Vec::new(),
        };
        let folder = segment_dir(self.repair.dir, id);
        let progress = |_| ControlFlow::Continue(());
        let info = write_segment_with(
            self.repair.backend,
            &folder,
            &found.schema,
            None,
            &records,
            &options,
            &progress,
        )?;
        self.saved.push(SegmentEntry {
            id,
            rows: info.rows,
            tombstones: 0,
        });
        Ok(())
    }

    fn take_segment(&mut self) -> u64 {
        self.next_segment += 1;
        self.next_segment - 1
    }
}

/// A document whose tokens are whole in one tier only: the original one, or the codes.
fn from_one_tier(found: &Found, part: &Part, row: u32, codes_lost: bool) -> Result<Record> {
    let segment = &part.segment;
    let range = segment.token_range(row)?;
    let dim = found.schema.tokens.as_ref().map_or(0, |spec| spec.dim);
    let mut values = vec![0.0; range.len() * dim];
    if codes_lost {
        if let Some(original) = segment.original()? {
            original.decode(range.start, &mut values);
        }
    } else if let Some(tokens) = segment.tokens()? {
        tokens.decode(range.start, &mut values);
    }
    let dense = segment.dense()?.map(|rows| {
        let mut vector = vec![0.0; rows.dim()];
        rows.decode(row as usize, &mut vector);
        vector
    });
    let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
    Ok(Record {
        id: segment.document_id(row)?,
        text: segment.text(row)?,
        payload: segment.payload(row)?,
        dense,
        tokens: Some(TokenMatrix::new(dim, halves)?),
        vectors: segment.vectors(row)?,
    })
}

/// The file that says what is left of documents that are not whole: a JSON object a line, as `latewood ingest` reads them.
struct Lost<'a> {
    repair: &'a Repair<'a>,
    aside: &'a Aside<'a>,
    file: Option<Box<dyn crate::backend::WritableFile>>,
}

impl<'a> Lost<'a> {
    fn new(repair: &'a Repair<'a>, aside: &'a Aside<'a>) -> Self {
        Self {
            repair,
            aside,
            file: None,
        }
    }

    /// Writes what is left of a row; returns its id, if that is left.
    fn write(&mut self, part: &Part, row: u32, lost: &LostRows) -> Result<Option<DocumentId>> {
        let id = part.id_of(row);
        let whole = !lost.documents.contains(row);
        let text = part.segment.text(row).ok().flatten().filter(|_| whole);
        let payload = part
            .segment
            .payload(row)
            .ok()
            .filter(|_| whole)
            .unwrap_or_default();
        let lacks = |rows: &RoaringBitmap, what: &'static str| rows.contains(row).then_some(what);
        let missing: Vec<&str> = [
            lacks(&lost.ids, "id"),
            lacks(&lost.documents, "text and payload"),
            lacks(&lost.dense, "dense vector"),
            lacks(&lost.tokens, "tokens"),
            lacks(&lost.vectors, "named vectors"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let known = id
            .clone()
            .unwrap_or_else(|| format!("lost-{}-{row}", part.id).into());
        self.line(&known, text.as_deref(), &payload, &missing)?;
        Ok(id)
    }

    fn line(
        &mut self,
        id: &DocumentId,
        text: Option<&str>,
        payload: &crate::document::Payload,
        missing: &[&str],
    ) -> Result<()> {
        let path = self.aside.draft().join("lost.jsonl");
        let mut object = payload.clone();
        let id = match id {
            DocumentId::U64(n) => Value::from(*n),
            DocumentId::Str(s) => Value::from(s.as_str()),
        };
        object.insert("id".to_owned(), id);
        if let Some(text) = text {
            object.insert("text".to_owned(), Value::from(text));
        }
        object.insert("lost".to_owned(), json!(missing));
        let file = match &mut self.file {
            Some(file) => file,
            None => self
                .file
                .insert(self.repair.backend.create(&path).at("create", &path)?),
        };
        writeln!(file, "{}", Value::Object(object)).at("write", &path)
    }

    fn finish(&mut self) -> Result<()> {
        let path = self.aside.draft().join("lost.jsonl");
        match &mut self.file {
            Some(file) => file.flush().and_then(|()| file.sync_data()).at("sync", &path),
            None => Ok(()),
        }
    }
}
