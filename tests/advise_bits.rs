//! Advice on residual bits: collections whose answer is known, and real ones that were loaded at each width.

use std::path::Path;
use std::sync::Arc;

use latewood::evaluation::{Judgments, Measures, Verdict};
use latewood::import::{JsonLines, read_queries};
use latewood::{
    Advice, AdviseOptions, Answer, Collection, Database, Document, LexicalSpec, Maintenance, OriginalCodec,
    PlanName, SchemaBuilder, TokenCodec, TokenMatrix, Widths,
};
use latewood_tests::given::GivenEncoder;
use latewood_tests::random::Random;

const DIM: usize = 32;
const TOKENS: usize = 8;
const QUERIES: usize = 60;
const TWINS: usize = 10;

/// Documents and the queries that they answer: query n is about the first document of family n.
struct Families {
    documents: Vec<(String, Vec<f32>)>,
    encoder: GivenEncoder,
    queries: Vec<(String, String)>,
    judgments: Judgments,
}

impl Families {
    /// Sixty families of ten documents, whose tokens are `apart` from one another; the query has the tokens of the first.
    fn new(apart: f32) -> Self {
        let mut random = Random::new(7);
        let mut out = Self {
            documents: Vec::new(),
            encoder: GivenEncoder::new("given", DIM),
            queries: Vec::new(),
            judgments: Judgments::default(),
        };
        for family in 0..QUERIES {
            let middle: Vec<f32> = (0..TOKENS).flat_map(|_| unit(&mut random)).collect();
            for member in 0..TWINS {
                let tokens: Vec<f32> = middle
                    .chunks_exact(DIM)
                    .flat_map(|token| {
                        let off = unit(&mut random);
                        normal(token.iter().zip(off).map(|(x, off)| x + apart * off).collect())
                    })
                    .collect();
                let id = format!("d{family}-{member}");
                if member == 0 {
                    let (query, text) = (format!("q{family}"), format!("about {id}"));
                    out.encoder.give(text.clone(), tokens.clone());
                    out.judgments.insert(query.clone(), id.clone(), 1);
                    out.queries.push((query, text));
                }
                out.encoder.give(format!("text of {id}"), tokens.clone());
                out.documents.push((id, tokens));
            }
        }
        out
    }

    /// A collection of them whose documents bring their tokens, and their texts if wanted.
    fn load(&mut self, db: &Database, name: &str, schema: SchemaBuilder, texts: bool) -> Collection {
        let encoder = std::mem::replace(&mut self.encoder, GivenEncoder::new("gone", DIM));
        let collection = db
            .create_collection(name, schema.encoder(Arc::new(encoder)))
            .unwrap();
        let documents = self.documents.iter().map(|(id, tokens)| {
            let document = Document::new(id.as_str()).tokens(TokenMatrix::from_f32(DIM, tokens).unwrap());
            if texts {
                document.text(format!("text of {id}"))
            } else {
                document
            }
        });
        collection.upsert_many(documents.collect::<Vec<_>>()).unwrap();
        optimize(&collection);
        collection
    }

    fn advise(&self, collection: &Collection, options: &AdviseOptions) -> Advice {
        collection
            .advise(&self.queries, &self.judgments, options)
            .unwrap()
    }
}

fn unit(random: &mut Random) -> Vec<f32> {
    normal((0..DIM).map(|_| random.unit() as f32 * 2.0 - 1.0).collect())
}

fn normal(mut row: Vec<f32>) -> Vec<f32> {
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter_mut().for_each(|x| *x /= length);
    row
}

fn optimize(collection: &Collection) {
    collection
        .optimize(|_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    assert!(
        collection.stats().unwrap().centroids.is_some(),
        "the tokens are coded"
    );
}

fn database(place: &tempfile::TempDir) -> Database {
    let options = Database::options().maintenance(Maintenance::Manual).threads(2);
    options.open(place.path()).unwrap()
}

fn widths(advice: &Advice) -> &Widths {
    match &advice.bits {
        Answer::Measured(widths) => widths,
        other => panic!("{other:?}"),
    }
}

fn reason(advice: &Advice) -> &str {
    match &advice.bits {
        Answer::NotMeasured { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn ndcgs(widths: &Widths) -> Vec<f64> {
    widths.widths.iter().map(|width| width.ndcg_at_10).collect()
}

/// Mean nDCG@10 of the exhaustive late interaction search.
fn searched(collection: &Collection, queries: &[(String, String)], judgments: &Judgments) -> f64 {
    let each = queries.iter().map(|(id, text)| {
        let hits = collection
            .query()
            .text(text)
            .plan(PlanName::MAXSIM)
            .exact(true)
            .limit(10)
            .run()
            .unwrap();
        let ids: Vec<String> = hits.iter().map(|hit| hit.id.to_string()).collect();
        Measures::of(judgments, id, &ids).unwrap().ndcg_at_10
    });
    each.sum::<f64>() / queries.len() as f64
}

#[test]
fn bits_pay_where_documents_differ_in_what_1_bit_loses() {
    let place = tempfile::tempdir().unwrap();
    let mut families = Families::new(0.03);
    let schema = SchemaBuilder::new().bits(2).keep_original(OriginalCodec::F16);
    let collection = families.load(&database(&place), "twins", schema, false);
    let advice = families.advise(&collection, &AdviseOptions::default());
    let widths = widths(&advice);
    let ndcg = ndcgs(widths);
    assert!(
        ndcg[0] < 0.95 && ndcg[2] > ndcg[0] + 0.05 && ndcg[3] > 0.99,
        "{ndcg:?}"
    );
    let Verdict::Use { option } = widths.judged.verdict else {
        panic!("{widths:?}")
    };
    let used = advice.bits.used().unwrap();
    assert_eq!(
        used.bytes_per_document,
        widths.widths[option + 1].bytes_per_document
    );
    assert!(
        used.ndcg_at_10 > ndcg[3] - 0.02,
        "the one that gains what there is to gain: {used:?}"
    );
    // The originals are what the collection scores by, and what all others are compared with.
    let current: Vec<bool> = widths.widths.iter().map(|width| width.current).collect();
    assert_eq!(current, [false, false, false, true]);
    let lost = &widths.widths[0].gain_over_current;
    assert!(
        lost.high < 0.0 && (lost.mean - (ndcg[0] - ndcg[3])).abs() < 1e-9,
        "{lost:?}"
    );
    let exact = searched(&collection, &families.queries, &families.judgments);
    assert!((ndcg[3] - exact).abs() < 1e-9, "{exact} by searching, {ndcg:?}");
}

#[test]
fn bits_do_not_pay_where_1_bit_tells_documents_apart() {
    let place = tempfile::tempdir().unwrap();
    let mut families = Families::new(3.0);
    let schema = SchemaBuilder::new().bits(4).keep_original(OriginalCodec::Int8);
    let collection = families.load(&database(&place), "apart", schema, false);
    let advice = families.advise(&collection, &AdviseOptions::default());
    let widths = widths(&advice);
    assert_eq!(widths.judged.verdict, Verdict::Skip, "{widths:?}");
    assert!(ndcgs(widths)[0] > 0.99, "{widths:?}");
    assert_eq!((widths.queries, widths.depth, widths.documents), (60, 100, 600));
    let used = advice.bits.used().unwrap();
    assert_eq!((used.bits, used.original), (1, None), "1 bit does");
    // Eight tokens of 32 numbers: codes, centroid, factors; in int8 a byte a number and a scale.
    let bytes: Vec<f64> = widths
        .widths
        .iter()
        .map(|width| width.bytes_per_document)
        .collect();
    assert_eq!(bytes, [64.0, 96.0, 160.0, 64.0 + 288.0]);
}

#[test]
fn texts_are_encoded_again_where_tokens_were_not_kept() {
    for codec in [TokenCodec::Buckets, TokenCodec::Trellis] {
        let place = tempfile::tempdir().unwrap();
        let mut families = Families::new(0.03);
        let schema = SchemaBuilder::new().bits(2).token_codec(codec);
        let collection = families.load(&database(&place), "texts", schema, true);
        let advice = families.advise(&collection, &AdviseOptions::default());
        let measured = widths(&advice);
        assert!(measured.note.contains("encoded to again"), "{}", measured.note);
        // Codes of the tokens of the texts are the codes that are stored.
        let ndcg = ndcgs(measured);
        let exact = searched(&collection, &families.queries, &families.judgments);
        assert!(
            (ndcg[1] - exact).abs() < 1e-9,
            "{codec:?} {exact} by searching, {ndcg:?}"
        );
        assert!(measured.widths[1].current && ndcg[3] > 0.99);
    }
}

#[test]
fn documents_that_are_coded_are_bounded() {
    let place = tempfile::tempdir().unwrap();
    let mut families = Families::new(0.03);
    let collection = families.load(&database(&place), "many", SchemaBuilder::new().bits(2), true);
    // Fewer documents: fewer of each query, then fewer queries.
    let at_most = |bits_documents| {
        let options = AdviseOptions {
            bits_documents,
            ..AdviseOptions::default()
        };
        families.advise(&collection, &options)
    };
    let advice = at_most(400);
    let fewer = widths(&advice);
    assert!(
        fewer.documents <= 400 && fewer.depth == 30 && fewer.queries < 60,
        "{fewer:?}"
    );
    assert!(fewer.note.contains("of 60 queries the first"), "{}", fewer.note);
    assert!(reason(&at_most(5)).contains("more than 5"));
    assert!(reason(&at_most(0)).contains("not asked for"));
}

#[test]
fn what_is_not_there_is_not_guessed() {
    let place = tempfile::tempdir().unwrap();
    let db = database(&place);
    let mut families = Families::new(0.03);
    let collection = families.load(&db, "codes", SchemaBuilder::new().bits(2), false);
    let told = families.advise(&collection, &AdviseOptions::default());
    assert!(
        reason(&told).contains("only the codes of document") && reason(&told).contains("--keep-original f16")
    );

    // A database of its own: models are known by their names. Texts, whose encoder gives other tokens than those that were brought.
    let mut families = Families::new(0.03);
    let others = Families::new(3.0);
    for (id, tokens) in &others.documents {
        families
            .encoder
            .give(format!("text of {id}"), tokens.iter().rev().copied().collect());
    }
    let other_place = tempfile::tempdir().unwrap();
    let collection = families.load(
        &database(&other_place),
        "brought",
        SchemaBuilder::new().bits(2),
        true,
    );
    let told = families.advise(&collection, &AdviseOptions::default());
    assert!(
        reason(&told).contains("are not those that given makes of their texts"),
        "{}",
        reason(&told)
    );

    let words = SchemaBuilder::new()
        .tokens(DIM, 2)
        .lexical(LexicalSpec::default());
    let words = db.create_collection("words", words).unwrap();
    let document = |(id, tokens): &(String, Vec<f32>)| {
        let matrix = TokenMatrix::from_f32(DIM, tokens).unwrap();
        Document::new(id.as_str())
            .text(format!("text about {id}"))
            .tokens(matrix)
    };
    words
        .upsert_many(families.documents.iter().map(document).collect::<Vec<_>>())
        .unwrap();
    let told = families.advise(&words, &AdviseOptions::default());
    assert!(reason(&told).contains("has no encoder"), "{}", reason(&told));

    let schema = SchemaBuilder::new()
        .dense(2, latewood::Metric::Cosine)
        .lexical(LexicalSpec::default());
    let plain = db.create_collection("plain", schema).unwrap();
    let document = Document::new("d0-0").text("about d0-0").dense(vec![1.0, 0.0]);
    plain.upsert(document).unwrap();
    let told = families.advise(&plain, &AdviseOptions::default());
    assert!(reason(&told).contains("no token matrices"), "{}", reason(&told));
}

#[test]
fn collections_of_each_width_rank_as_the_advice_says() {
    let place = tempfile::tempdir().unwrap();
    let db = database(&place);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/examples/data");
    let queries = read_queries(data.join("queries.jsonl")).unwrap();
    let queries: Vec<(String, String)> = queries.into_iter().map(|query| (query.id, query.text)).collect();
    let judgments = Judgments::read(data.join("qrels.tsv")).unwrap();
    let schema = || SchemaBuilder::new().encoder("tiny").pool_factor(2);
    let whole = db
        .create_collection("whole", schema().bits(4).keep_original(OriginalCodec::F16))
        .unwrap();
    let lines = JsonLines::open(data.join("packages.jsonl")).unwrap();
    whole
        .upsert_many(lines.map(Result::unwrap).collect::<Vec<_>>())
        .unwrap();
    optimize(&whole);
    let advice = whole
        .advise(&queries, &judgments, &AdviseOptions::default())
        .unwrap();
    let told = ndcgs(widths(&advice));
    let stored = searched(&whole, &queries, &judgments);
    assert!(
        (told[3] - stored).abs() < 1e-9,
        "{stored} by the originals, {told:?}"
    );

    for (bits, told) in [1, 2, 4].into_iter().zip(told) {
        let codes = db
            .create_collection(&format!("codes-{bits}"), schema().bits(bits))
            .unwrap();
        let lines = JsonLines::open(data.join("packages.jsonl")).unwrap();
        codes
            .upsert_many(lines.map(Result::unwrap).collect::<Vec<_>>())
            .unwrap();
        optimize(&codes);
        let found = searched(&codes, &queries, &judgments);
        println!("{bits} bits: {found:.4} by searching, {told:.4} by the advice");
        assert!(
            (told - found).abs() < 0.02,
            "{bits} bits: {found} by searching, {told} by the advice"
        );
        if bits != 2 {
            continue;
        }
        // Of its own width a collection says just what it is, from texts that are encoded again.
        let advice = codes
            .advise(&queries, &judgments, &AdviseOptions::default())
            .unwrap();
        let own = widths(&advice).widths.iter().find(|width| width.current).unwrap();
        assert_eq!(own.bits, bits);
        assert!(
            (own.ndcg_at_10 - found).abs() < 1e-9,
            "{found} by searching, {own:?}"
        );
    }
}
