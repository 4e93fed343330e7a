//! Advice: how often it is right where the truth is known, and what it says of real judged queries.

use std::path::Path;

use latewood::evaluation::{Judged, Judgments, Verdict, judge};
use latewood::import::read_queries;
use latewood::{AdviseOptions, Answer, Database, Document, Error, SchemaBuilder};
use latewood_tests::random::Random;
use latewood_tests::simulated::Simulated;

const WORTH: f64 = 0.01;
const LABELS: [usize; 6] = [25, 50, 100, 150, 200, 300];

/// How often each answer was given, and how often it was wrong.
#[derive(Default)]
struct Tally {
    collections: usize,
    used: usize,
    used_right: usize,
    used_worth: usize,
    skipped: usize,
    skipped_wrong: usize,
    /// Of the gains within 0.03 of none: how many, and the half-widths of their intervals.
    close: (usize, f64),
}

impl Tally {
    fn add(&mut self, judged: &Judged, simulated: &Simulated) {
        let best = simulated.gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.collections += 1;
        if best.abs() < 0.03 {
            let half = (judged.gain.high - judged.gain.low) / 2.0;
            self.close = (self.close.0 + 1, self.close.1 + half);
        }
        match judged.verdict {
            Verdict::Use { option } => {
                self.used += 1;
                self.used_right += usize::from(simulated.gains[option] > 0.0);
                self.used_worth += usize::from(simulated.gains[option] >= WORTH);
            }
            Verdict::Skip => {
                self.skipped += 1;
                self.skipped_wrong += usize::from(best >= WORTH);
            }
            _ => {}
        }
    }

    fn row(&self, name: &str) -> String {
        let Self {
            collections,
            used,
            used_right,
            used_worth,
            skipped,
            skipped_wrong,
            close,
        } = self;
        format!(
            "| {name} | {collections} | {used} | {used_right} | {used_worth} | {skipped} | {skipped_wrong} | {} | {:.3} |",
            collections - used - skipped,
            close.1 / close.0.max(1) as f64
        )
    }
}

#[test]
fn verdicts_on_simulated_collections_are_right_as_often_as_they_must_be() {
    let mut random = Random::new(12);
    let (mut all, mut by_labels) = (Tally::default(), LABELS.map(|_| Tally::default()));
    let (mut small, mut plain) = (Tally::default(), Tally::default());
    for number in 0..600_usize {
        let gain = -0.05 + 0.25 * random.unit();
        let which = number % LABELS.len();
        let simulated = Simulated::draw(gain, LABELS[which], number / LABELS.len(), &mut random);
        let judged = judge(&simulated.baselines, |_| &simulated.options, WORTH, number as u64);
        all.add(&judged, &simulated);
        by_labels[which].add(&judged, &simulated);
        if gain.abs() < 0.03 {
            small.add(&judged, &simulated);
        }
        if gain <= 0.0 {
            plain.add(&judged, &simulated);
        }
    }
    println!(
        "| labels | collections | use | right | worth it | skip | wrong | inconclusive | half-width, gains within 0.03 of none |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (labels, tally) in LABELS.iter().zip(&by_labels) {
        println!("{}", tally.row(&labels.to_string()));
    }
    println!("{}", all.row("all"));
    println!("{}", small.row("gains of -0.03 to 0.03"));
    println!("{}", plain.row("no gain"));
    assert!(all.used >= 200 && all.skipped >= 30, "{}", all.row("all"));
    assert!(all.used_right * 10 >= all.used * 9, "{}", all.row("all"));
    assert!(all.skipped_wrong * 10 <= all.skipped, "{}", all.row("all"));
    // Of collections without any gain few are told to pay.
    assert!(plain.used * 10 <= plain.collections, "{}", plain.row("no gain"));
}

#[test]
fn verdicts_on_simulated_widths_are_right_as_often_as_they_must_be() {
    let mut random = Random::new(13);
    let (mut all, mut by_labels) = (Tally::default(), LABELS.map(|_| Tally::default()));
    let mut plain = Tally::default();
    for number in 0..600_usize {
        // Wider codes hardly ever lose; of three collections one gains nothing by them.
        let gain = if number % 3 == 0 {
            0.0
        } else {
            -0.005 + 0.085 * random.unit()
        };
        let which = number / 3 % LABELS.len();
        let simulated = Simulated::widths(gain, LABELS[which], &mut random);
        let judged = judge(&simulated.baselines, |_| &simulated.options, WORTH, number as u64);
        all.add(&judged, &simulated);
        by_labels[which].add(&judged, &simulated);
        if gain <= 0.0 {
            plain.add(&judged, &simulated);
        }
    }
    println!(
        "| labels | collections | use | right | worth it | skip | wrong | inconclusive | half-width, gains within 0.03 of none |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (labels, tally) in LABELS.iter().zip(&by_labels) {
        println!("{}", tally.row(&labels.to_string()));
    }
    println!("{}", all.row("all"));
    println!("{}", plain.row("no gain"));
    assert!(all.used >= 100 && all.skipped >= 30, "{}", all.row("all"));
    assert!(all.used_right * 20 >= all.used * 19, "{}", all.row("all"));
    assert!(all.skipped_wrong * 10 <= all.skipped, "{}", all.row("all"));
    assert!(plain.used * 20 <= plain.collections, "{}", plain.row("no gain"));
}

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/examples/data")
        .join(name)
}

fn judged_queries() -> (Vec<(String, String)>, Judgments) {
    let queries = read_queries(shipped("queries.jsonl")).unwrap();
    let queries = queries.into_iter().map(|query| (query.id, query.text)).collect();
    (queries, Judgments::read(shipped("qrels.tsv")).unwrap())
}

#[test]
fn real_queries_are_advised_on() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path()).unwrap();
    let schema = SchemaBuilder::new().encoder("tiny").reranker("tiny");
    let packages = db.create_collection("packages", schema).unwrap();
    let lines = latewood::import::JsonLines::open(shipped("packages.jsonl")).unwrap();
    packages
        .upsert_many(lines.map(Result::unwrap).collect::<Vec<_>>())
        .unwrap();
    let (queries, judgments) = judged_queries();
    let options = AdviseOptions {
        depths: vec![5, 10],
        ..AdviseOptions::default()
    };
    let advice = packages.advise(&queries, &judgments, &options).unwrap();
    assert_eq!(advice.queries, 60);
    for answer in [&advice.rerank, &advice.late_interaction] {
        let Answer::Measured(comparison) = answer else {
            panic!("{answer:?}")
        };
        let judged = &comparison.judged;
        assert!(judged.gain.low <= judged.gain.mean && judged.gain.mean <= judged.gain.high);
        assert!(comparison.baseline.ndcg_at_10 > 0.6 && comparison.baseline.milliseconds > 0.0);
        let option = comparison.option().unwrap();
        let gain = option.ndcg_at_10 - comparison.baseline.ndcg_at_10;
        assert!((gain - option.gain.mean).abs() < 1e-9, "gains are differences");
        assert!(!comparison.baseline.plan.reranks());
    }
    let Answer::Measured(rerank) = &advice.rerank else {
        panic!()
    };
    assert_eq!(
        rerank.options.iter().map(|o| o.depth).collect::<Vec<_>>(),
        [Some(5), Some(10)]
    );
    let gap = rerank.oracle_gap.unwrap();
    assert!(
        rerank.options.iter().all(|option| option.gain.mean <= gap + 1e-9),
        "no rerank beats the best order"
    );
    let Answer::Measured(late) = &advice.late_interaction else {
        panic!()
    };
    assert!(!late.baseline.plan.uses_tokens() && late.options.iter().all(|o| o.plan.uses_tokens()));
    // Nothing is coded before there is a codebook, whenever the background makes it.
    let told = match &advice.bits {
        Answer::NotMeasured { reason } => reason.contains("not coded yet"),
        Answer::Measured(widths) => widths.queries == 60,
        _ => false,
    };
    assert!(told, "{:?}", advice.bits);
    let storage = advice.storage.unwrap();
    assert_eq!(
        storage.bits.iter().map(|(bits, _)| *bits).collect::<Vec<_>>(),
        [1, 2, 4]
    );
    assert!(storage.dense.unwrap() > 0.0 && storage.tokens_per_document > 10.0);
    // The plan's own rerank gives what the advice was measured by.
    let mut sum = 0.0;
    for (id, text) in &queries {
        let mut query = packages
            .query()
            .text(text)
            .plan(rerank.options[1].plan.clone())
            .rerank_depth(10);
        if let Some(fusion) = &rerank.options[1].fusion {
            query = query.fusion(fusion.clone()).candidates(100);
        }
        let ids: Vec<String> = query
            .run()
            .unwrap()
            .iter()
            .map(|hit| hit.id.to_string())
            .collect();
        sum += latewood::evaluation::Measures::of(&judgments, id, &ids)
            .unwrap()
            .ndcg_at_10;
    }
    let told = rerank.options[1].ndcg_at_10;
    assert!(
        (sum / 60.0 - told).abs() < 0.005,
        "{} by the plan, {told} by the advice",
        sum / 60.0
    );
}

#[test]
fn what_cannot_be_advised_is_an_error_that_says_why() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path()).unwrap();
    let schema = SchemaBuilder::new().dense(4, latewood::Metric::Cosine);
    let bare = db.create_collection("bare", schema).unwrap();
    bare.upsert(Document::new("a").dense(vec![1.0, 0.0, 0.0, 0.0]))
        .unwrap();
    let (queries, judgments) = judged_queries();
    let refused = |queries: &[(String, String)], options: &AdviseOptions| {
        let error = bare.advise(queries, &judgments, options).unwrap_err();
        assert!(matches!(error, Error::Advise { .. }), "{error}");
        error.to_string()
    };
    let options = AdviseOptions::default();
    assert!(refused(&queries, &options).contains("neither an encoder nor a lexical index"));
    assert!(refused(&[("nobody".into(), "asks".into())], &options).contains("none of the 1 queries"));
    let worth = AdviseOptions {
        worth: f64::NAN,
        ..options.clone()
    };
    assert!(refused(&queries, &worth).contains("0 to 1"));
    for depths in [vec![], vec![0], vec![10, 101]] {
        let depths = AdviseOptions {
            depths,
            ..options.clone()
        };
        assert!(refused(&queries, &depths).contains("from 1 to 100"));
    }
}
