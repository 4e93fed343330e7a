//! One state of a collection, asked in turn with the one that was built at once.

use std::time::Instant;

use latewood::{Collection, PlanName};
use latewood_benches::Failure;
use latewood_benches::ask::number_of;
use latewood_benches::recall::Recall;
use latewood_benches::rows::Rows;
use latewood_benches::times::Times;

use crate::args::Args;
use crate::collection::Folder;

/// The recall that is asked beside explicit breadths.
const ASKED: f64 = 0.95;

pub(crate) struct Compared<'a> {
    pub(crate) args: &'a Args,
    pub(crate) fresh: &'a Folder,
    pub(crate) queries: &'a Rows,
    /// The exact nearest of the vectors in the end.
    pub(crate) truth: &'a [Vec<u32>],
}

/// How broadly a graph is walked.
#[derive(Clone, Copy)]
enum Breadth {
    Of(usize),
    ForRecall(f64),
}

#[derive(Default)]
struct Answers {
    found: Vec<Vec<u32>>,
    times: Vec<f64>,
}

impl Compared<'_> {
    pub(crate) fn print_header(&self) {
        let k = self.args.k;
        let asked = self.breadths().map(|breadth| match breadth {
            Breadth::Of(ef) => format!("ef {ef}"),
            Breadth::ForRecall(recall) => format!("{recall} asked"),
        });
        let columns: Vec<String> = asked
            .map(|asked| format!("{asked}: recall@{k} (to built at once), p50 to built at once"))
            .collect();
        println!(
            "| state | segments | deleted | bytes a vector | {} | CPU s |",
            columns.join(" | ")
        );
        println!("|---|---|---|---|{}---|", "---|".repeat(columns.len()));
    }

    fn breadths(&self) -> impl Iterator<Item = Breadth> + '_ {
        let explicit = self.args.ef.iter().map(|ef| Breadth::Of(*ef));
        explicit.chain([Breadth::ForRecall(ASKED)])
    }

    /// Asks both, query by query in turn, and prints a row.
    pub(crate) fn print(&self, name: &str, folder: &Folder, cpu: &str) -> Result<(), Failure> {
        let (fresh_db, fresh) = self.fresh.reader()?;
        let (db, collection) = folder.reader()?;
        let stats = collection.stats()?;
        let bytes = stats.bytes_total / stats.documents.max(1);
        print!("| {name} | {} | {} | {bytes} |", stats.segments, stats.deleted);
        for breadth in self.breadths() {
            let mut answers = [Answers::default(), Answers::default()];
            // The first round warms up, and who is asked first turns from query to query.
            for _ in 0..2 {
                answers = [Answers::default(), Answers::default()];
                for (at, query) in self.queries.iter().enumerate() {
                    for which in [at % 2, 1 - at % 2] {
                        let asked = if which == 0 { &fresh } else { &collection };
                        self.ask(asked, query, breadth, &mut answers[which])?;
                    }
                }
            }
            let [fresh, changed] =
                answers.map(|answers| (self.recall(&answers.found), Times::new(answers.times).p50()));
            let (recall, margin) = (changed.0.mean, changed.0.margin);
            let difference = recall - fresh.0.mean;
            let ratio = changed.1 / fresh.1;
            print!(" {recall:.4} ± {margin:.3} ({difference:+.4}), {ratio:.2} |");
        }
        println!(" {cpu} |");
        drop((fresh, collection));
        fresh_db.close()?;
        Ok(db.close()?)
    }

    fn recall(&self, found: &[Vec<u32>]) -> Recall {
        Recall::at(self.args.k, found, self.truth)
    }

    fn ask(
        &self,
        collection: &Collection,
        query: &[f32],
        breadth: Breadth,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let asked = collection
            .query()
            .dense(query)
            .plan(PlanName::DENSE)
            .limit(self.args.k)
            .with_payload(false)
            .with_text(false);
        let asked = match breadth {
            Breadth::Of(ef) => asked.ef_search(ef),
            Breadth::ForRecall(recall) => asked.recall(recall),
        };
        let begun = Instant::now();
        let hits = asked.run()?;
        answers.times.push(begun.elapsed().as_secs_f64() * 1e3);
        let ids: Result<Vec<u32>, Failure> = hits.iter().map(|hit| number_of(&hit.id)).collect();
        answers.found.push(ids?);
        Ok(())
    }
}
