//! One state of the changed collection beside the fresh one.

use std::path::Path;
use std::time::{Duration, Instant};

use latewood::{Collection, Database, QueryTokens, Stats};
use latewood_benches::Failure;
use latewood_benches::ask::{self, Answers, Ask};
use latewood_benches::recall::Recall;

use crate::NAME;

const K: usize = 10;
/// So long must nothing change for the background to be at rest.
const STILL: Duration = Duration::from_secs(20);
/// So long it is waited for at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// Both collections and what they are asked.
pub(crate) struct Compared<'a> {
    pub(crate) fresh: &'a Path,
    pub(crate) changed: &'a Path,
    pub(crate) queries: &'a [QueryTokens],
    /// The exact ranking of the documents in the end.
    pub(crate) truth: &'a [Vec<u32>],
}

/// A row of the table.
pub(crate) struct State {
    name: String,
    stats: Stats,
    answers: Answers,
    recall_codes: Recall,
    recall_float32: Option<Recall>,
    settings: String,
}

impl Compared<'_> {
    /// Measures the changed collection and the fresh one, query by query in turn, and prints both.
    pub(crate) fn print(&self, name: &str) -> Result<(), Failure> {
        let (fresh_db, fresh) = reader(self.fresh)?;
        let (changed_db, changed) = reader(self.changed)?;
        let states = self.measure(&[("built at once", &fresh), (name, &changed)], true)?;
        states.iter().for_each(State::print);
        if let [fresh, changed] = &states[..] {
            changed.print_ratio(fresh);
        }
        drop((fresh, changed));
        fresh_db.close()?;
        Ok(changed_db.close()?)
    }

    /// Measures one collection, whose documents are others than those of the exact ranking.
    pub(crate) fn print_alone(&self, name: &str, path: &Path) -> Result<(), Failure> {
        let (db, collection) = reader(path)?;
        let states = self.measure(&[(name, &collection)], false)?;
        states.iter().for_each(State::print);
        drop(collection);
        Ok(db.close()?)
    }

    fn measure(&self, named: &[(&str, &Collection)], exact: bool) -> Result<Vec<State>, Failure> {
        let collections: Vec<&Collection> = named.iter().map(|(_, collection)| *collection).collect();
        let run = |recall| ask::all(&collections, self.queries, Ask { k: K, recall }, &[]);
        let scanned = run(Some(1.0))?;
        let asked = run(None)?;
        let mut states = Vec::new();
        for (((name, collection), scanned), answers) in named.iter().zip(scanned).zip(asked) {
            let plan = collection
                .query()
                .tokens(self.queries[0].clone())
                .plan("maxsim")
                .explain()?;
            states.push(State {
                name: (*name).to_owned(),
                stats: collection.stats()?,
                recall_codes: Recall::at(K, &answers.found, &scanned.found),
                recall_float32: exact.then(|| Recall::at(K, &answers.found, self.truth)),
                answers,
                settings: plan
                    .stages
                    .first()
                    .map_or_else(String::new, |first| first.reason.clone()),
            });
        }
        Ok(states)
    }
}

fn reader(path: &Path) -> Result<(Database, Collection), Failure> {
    let db = Database::options().threads(1).read_only(true).open(path)?;
    let collection = db.collection(NAME)?;
    Ok((db, collection))
}

impl State {
    pub(crate) fn print_header() {
        println!(
            "| state | segments | deleted | bytes a token | p50 ms | p95 ms | recall@10, same codes | recall@10, float32 |"
        );
        println!("|---|---|---|---|---|---|---|---|");
    }

    fn print(&self) {
        let float32 = self.recall_float32.map_or_else(String::new, |recall| {
            format!("{:.4} ± {:.3}", recall.mean, recall.margin)
        });
        println!(
            "| {} | {} | {} | {:.1} | {:.2} | {:.2} | {:.4} ± {:.3} | {float32} |",
            self.name,
            self.stats.segments,
            self.stats.deleted,
            self.stats.bytes_per_token,
            self.answers.times.p50(),
            self.answers.times.p95(),
            self.recall_codes.mean,
            self.recall_codes.margin,
        );
        eprintln!("{}: {:?}\n  {}", self.name, self.stats.bytes, self.settings);
    }

    fn print_ratio(&self, fresh: &Self) {
        let float32 = |state: &Self| state.recall_float32.map_or(f64::NAN, |recall| recall.mean);
        println!(
            "| ratio | | | {:.3} | {:.3} | {:.3} | {:.4} | {:.4} |",
            self.stats.bytes_per_token / fresh.stats.bytes_per_token,
            self.answers.times.p50() / fresh.answers.times.p50(),
            self.answers.times.p95() / fresh.answers.times.p95(),
            self.recall_codes.mean / fresh.recall_codes.mean,
            float32(self) / float32(fresh),
        );
    }
}

/// Prints the codebooks in use, for the person who runs it.
pub(crate) fn print_codebooks(collection: &Collection) -> Result<(), Failure> {
    for codebook in collection.stats()?.codebooks {
        let (id, coded, fit) = (codebook.id, codebook.tokens, codebook.fit);
        let drift = codebook.drift.unwrap_or(f64::NAN);
        eprintln!("codebook {id}: {coded} tokens, drift {drift:.3}, {fit}");
    }
    Ok(())
}

/// Waits until files and counts have not changed for a while; how long the last change took to come.
pub(crate) fn wait_for_rest(collection: &Collection) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut last, mut since) = (collection.stats()?, Instant::now());
    while since.elapsed() < STILL && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
        let now = collection.stats()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(since.duration_since(begun))
}
