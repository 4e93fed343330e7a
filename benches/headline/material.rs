//! Documents, queries, judgments and models.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use latewood::evaluation::{Judgments, Measures, mean_measures};
use latewood::import::{JsonLines, read_queries};
use latewood::models::{ModelOptions, OnnxEncoder, OnnxReranker, TextEncoder};
use latewood::{Collection, Database, Document, Hit, Maintenance, Metric, SchemaBuilder};
use latewood_benches::Failure;

use crate::args::Args;
use crate::flops::Shape;

/// The models, each on one thread.
pub(crate) struct Models {
    pub(crate) dense: OnnxEncoder,
    pub(crate) late: OnnxEncoder,
    pub(crate) cross: Arc<OnnxReranker>,
    pub(crate) late_shape: Shape,
    pub(crate) cross_shape: Shape,
    pub(crate) names: String,
}

/// A query with what the models make of it.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) dense: Vec<f32>,
    pub(crate) tokens: Vec<f32>,
    /// Tokens that the model of the token vectors read.
    pub(crate) input_tokens: usize,
}

/// Everything that is measured with.
pub(crate) struct Material {
    pub(crate) models: Models,
    /// With a text, a dense vector and a token matrix each.
    pub(crate) documents: Vec<Document>,
    pub(crate) queries: Vec<Asked>,
    pub(crate) judgments: Judgments,
}

/// The documents in a database, at 2 bits, the library's default.
pub(crate) struct Stored {
    _db: Database,
    pub(crate) collection: Collection,
}

impl Material {
    pub(crate) fn load(args: &Args) -> Result<Self, Failure> {
        args.check()?;
        let models = Models::load(args)?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/examples/data");
        let folder = args.packages.clone().unwrap_or(shipped);
        let corpus = if args.packages.is_some() {
            "corpus.jsonl.zst"
        } else {
            "packages.jsonl"
        };
        let judgments = Judgments::read(folder.join("qrels.tsv"))?;
        let mut queries = Vec::new();
        let judged = read_queries(folder.join("queries.jsonl"))?.into_iter();
        for query in judged
            .filter(|q| judgments.has_relevant(&q.id))
            .take(args.queries)
        {
            queries.push(models.ask(query.id, query.text)?);
        }
        if queries.is_empty() {
            return Err("no query of queries.jsonl has a relevant document in qrels.tsv".into());
        }
        let mut documents = read_documents(&folder.join(corpus), &queries, &judgments, args.limit)?;
        models.encode(&mut documents)?;
        Ok(Self {
            models,
            documents,
            queries,
            judgments,
        })
    }

    /// Numbers a token.
    pub(crate) fn token_dim(&self) -> usize {
        self.models.late.token_dim().unwrap_or(0)
    }

    /// Numbers a sentence.
    pub(crate) fn dense_dim(&self) -> usize {
        self.models.dense.dense_dim().unwrap_or(0)
    }

    pub(crate) fn store(&self, folder: &Path) -> Result<Stored, Failure> {
        let db = open(&folder.join("both"))?;
        let schema = SchemaBuilder::new()
            .dense(self.dense_dim(), Metric::Cosine)
            .tokens(self.token_dim(), 2)
            .reranker(Arc::clone(&self.models.cross));
        let collection = db.create_collection("both", schema)?;
        collection
            .ingest(self.documents.iter().cloned())
            .optimize(true)
            .run()?;
        Ok(Stored { _db: db, collection })
    }

    /// The mean measures of a ranking of each query.
    pub(crate) fn measure(&self, rankings: &[Vec<String>]) -> Measures {
        let pairs = self.queries.iter().zip(rankings);
        let all: Vec<Measures> = pairs
            .filter_map(|(query, ranking)| Measures::of(&self.judgments, &query.id, ranking))
            .collect();
        mean_measures(&all)
    }
}

/// A database of one thread that does nothing by itself.
pub(crate) fn open(path: &Path) -> Result<Database, Failure> {
    let options = Database::options().maintenance(Maintenance::Manual).threads(1);
    Ok(options.open(path)?)
}

/// The ids of hits, best first.
pub(crate) fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.id.to_string()).collect()
}

/// The documents that answer the queries, then the first others.
fn read_documents(
    path: &Path,
    queries: &[Asked],
    judgments: &Judgments,
    limit: usize,
) -> Result<Vec<Document>, Failure> {
    let (mut answers, mut others) = (Vec::new(), Vec::new());
    let judged: Vec<_> = queries.iter().filter_map(|q| judgments.of(&q.id)).collect();
    for document in JsonLines::open(path)? {
        let document = document?;
        if document.text.as_ref().is_none_or(|text| text.trim().is_empty()) {
            continue;
        }
        let id = document.id.to_string();
        let is_answer = judged
            .iter()
            .any(|judged| judged.get(&id).is_some_and(|&relevance| relevance > 0));
        if is_answer {
            answers.push(document);
        } else if others.len() < limit {
            others.push(document);
        }
    }
    if limit < answers.len() {
        let few = format!(
            "--limit {limit} is less than the {} documents that answer the queries",
            answers.len()
        );
        return Err(few.into());
    }
    others.truncate(limit - answers.len());
    answers.append(&mut others);
    Ok(answers)
}

impl Models {
    fn load(args: &Args) -> Result<Self, Failure> {
        let options = ModelOptions::new().runtime(args.onnxruntime.clone()).threads(1);
        let Some(folder) = &args.models else {
            return Ok(Self {
                dense: OnnxEncoder::builtin("tiny", &options)?,
                late: OnnxEncoder::builtin("tiny", &options)?,
                cross: Arc::new(OnnxReranker::builtin("tiny-cross", &options)?),
                late_shape: Shape::TINY,
                cross_shape: Shape::TINY,
                names: "tiny, tiny-cross".to_owned(),
            });
        };
        let [dense, late, cross] =
            ["minilm", "colbert-minilm", "cross-minilm"].map(|name| -> PathBuf { folder.join(name) });
        Ok(Self {
            late_shape: args.late_shape.map_or_else(|| Shape::of_folder(&late), Ok)?,
            cross_shape: Shape::of_folder(&cross)?,
            dense: OnnxEncoder::open(dense, &options)?,
            late: OnnxEncoder::open(late, &options)?,
            cross: Arc::new(OnnxReranker::open(cross, &options)?),
            names: "minilm, colbert-minilm, cross-minilm".to_owned(),
        })
    }

    fn ask(&self, id: String, text: String) -> Result<Asked, Failure> {
        let dense = self.dense.encode_query(&text)?;
        let late = self.late.encode_query(&text)?;
        Ok(Asked {
            dense: dense.dense.ok_or("the model of sentences gives no vector")?,
            tokens: late.tokens.ok_or("the model of tokens gives no vectors")?,
            input_tokens: late.input_tokens,
            id,
            text,
        })
    }

    fn encode(&self, documents: &mut [Document]) -> Result<(), Failure> {
        let dim = self.late.token_dim().unwrap_or(1);
        for block in documents.chunks_mut(256) {
            let texts: Vec<String> = block.iter().filter_map(|d| d.text.clone()).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let dense = self.dense.encode_documents(&texts, None)?;
            let late = self.late.encode_documents(&texts, None)?;
            for ((document, dense), late) in block.iter_mut().zip(dense).zip(late) {
                let rows = late.tokens.unwrap_or_default();
                let rows: Vec<Vec<f32>> = rows.chunks(dim).map(<[f32]>::to_vec).collect();
                document.dense = dense.dense;
                document.tokens = Some(latewood::TokenRows::Rows(rows));
            }
        }
        Ok(())
    }
}
