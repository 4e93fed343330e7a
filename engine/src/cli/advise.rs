//! `latewood advise`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::args::{CollectionArgs, Global, ModelArgs};
use super::output::{Failure, print, print_json};
use crate::evaluation::{Judgments, Paired, Verdict};
use crate::import::read_queries;
use crate::{Advice, AdviseOptions, Answer, Comparison, Figures, StorageBill, Width, Widths};

#[derive(Debug, Args)]
pub(super) struct AdviseArgs {
    #[command(flatten)]
    target: CollectionArgs,
    /// Lines {"_id", "text"}
    #[arg(long, value_name = "FILE.jsonl")]
    queries: PathBuf,
    /// Judgments: query, document, relevance (BEIR), or query, 0, document, relevance (TREC)
    #[arg(long, value_name = "FILE.tsv")]
    qrels: PathBuf,
    /// Rerank with this model instead of the collection's own: `tiny` or a model folder
    #[arg(long, value_name = "FOLDER|tiny")]
    reranker: Option<String>,
    /// The least gain of nDCG@10 that is worth paying for
    #[arg(long, value_name = "GAIN", default_value_t = 0.01)]
    worth: f64,
    /// Depths of the rerank to try, 1 to 100
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [5, 10, 20, 50, 100])]
    depths: Vec<usize>,
    /// Documents to code at 1, 2 and 4 bits for the advice on residual bits, at most; those whose tokens are not kept are encoded
    /// again. 0: none
    #[arg(long, value_name = "N", default_value_t = 8_000)]
    bits_documents: usize,
    /// Only the first N queries
    #[arg(long, value_name = "N")]
    limit_queries: Option<usize>,
    #[command(flatten)]
    models: ModelArgs,
}

pub(super) fn run(global: &Global, args: &AdviseArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, None)?;
    let judgments = Judgments::read(&args.qrels)?;
    let mut queries = read_queries(&args.queries)?;
    queries.truncate(args.limit_queries.unwrap_or(usize::MAX));
    let queries: Vec<(String, String)> = queries.into_iter().map(|query| (query.id, query.text)).collect();
    let options = AdviseOptions {
        worth: args.worth,
        depths: args.depths.clone(),
        reranker: args.reranker.as_deref().map(Into::into),
        bits_documents: args.bits_documents,
        ..AdviseOptions::default()
    };
    let advice = collection.advise(&queries, &judgments, &options)?;
    if global.json {
        print_json(&advice)
    } else {
        print(as_text(&advice))
    }
}

// Writing to a string does not fail, so the results of `writeln!` are not looked at.
fn as_text(advice: &Advice) -> String {
    let mut text = format!(
        "{} judged queries; a gain of {} nDCG@10 is worth paying for\n",
        advice.queries, advice.worth
    );
    write_answer(&mut text, "rerank", &advice.rerank);
    write_answer(&mut text, "late interaction", &advice.late_interaction);
    write_bits(&mut text, &advice.bits);
    if let Some(storage) = &advice.storage {
        write_storage(&mut text, storage);
    }
    text
}

fn write_answer(text: &mut String, question: &str, answer: &Answer) {
    match answer {
        Answer::NotMeasured { reason } => {
            let _ = writeln!(text, "\n{question}: not measured: {reason}");
        }
        Answer::Measured(comparison) => write_comparison(text, question, comparison),
    }
}

fn write_comparison(text: &mut String, question: &str, comparison: &Comparison) {
    let chosen = comparison.option().map(name).unwrap_or_default();
    let answer = match comparison.judged.verdict {
        Verdict::Use { .. } => format!("use {chosen}"),
        Verdict::Skip => "skip it".to_owned(),
        Verdict::Inconclusive { labels_needed } => {
            format!("inconclusive: some {labels_needed} judged queries would tell")
        }
    };
    let gain = &comparison.judged.gain;
    let _ = writeln!(
        text,
        "\n{question}: {answer}\n  held-out gain {:+.4} ({:+.4} to {:+.4}); {:+.4} where it was chosen",
        gain.mean, gain.low, gain.high, comparison.judged.fitted_gain
    );
    if let Some(gap) = comparison.oracle_gap {
        let _ = writeln!(
            text,
            "  the best order of the deepest candidates would gain {gap:+.4}"
        );
    }
    let _ = writeln!(
        text,
        "  {:<60} {:>8} {:>8}  {:<19} {:>9}",
        "", "nDCG@10", "gain", "95% interval", "ms"
    );
    write_figures(text, &comparison.baseline, false);
    for figures in &comparison.options {
        write_figures(text, figures, true);
    }
    if let Some(note) = &comparison.note {
        let _ = writeln!(text, "  {note}");
    }
}

fn write_bits(text: &mut String, answer: &Answer<Widths>) {
    let widths = match answer {
        Answer::Measured(widths) => widths,
        Answer::NotMeasured { reason } => {
            let _ = writeln!(text, "\nresidual bits: not measured: {reason}");
            return;
        }
    };
    let verdict = match widths.judged.verdict {
        Verdict::Use { .. } => format!("use {}", widths.used().map(width_name).unwrap_or_default()),
        Verdict::Skip => "1 bit does: skip more".to_owned(),
        Verdict::Inconclusive { labels_needed } => {
            format!(
                "inconclusive: some {labels_needed} judged queries would tell whether more than 1 bit pays"
            )
        }
    };
    let gain = &widths.judged.gain;
    let _ = writeln!(
        text,
        "\nresidual bits: {verdict}\n  held-out gain over 1 bit {:+.4} ({:+.4} to {:+.4}); {:+.4} where it was chosen",
        gain.mean, gain.low, gain.high, widths.judged.fitted_gain
    );
    let _ = writeln!(
        text,
        "  {:<24} {:>8} {:<28} {:<28} {:>9}",
        "", "nDCG@10", " over 1 bit", " over what it has", "bytes"
    );
    for width in &widths.widths {
        let _ = writeln!(
            text,
            "  {:<24} {:>8.4}  {:<27}  {:<27} {:>9.0}",
            width_name(width),
            width.ndcg_at_10,
            if width.bits == 1 && width.original.is_none() {
                "the baseline".to_owned()
            } else {
                interval(&width.gain)
            },
            if width.current {
                "what it has".to_owned()
            } else {
                interval(&width.gain_over_current)
            },
            width.bytes_per_document
        );
    }
    let _ = writeln!(text, "  {}", widths.note);
}

fn interval(gain: &Paired) -> String {
    format!("{:+.4}  {:+.4} to {:+.4}", gain.mean, gain.low, gain.high)
}

fn width_name(width: &Width) -> String {
    let bits = match width.bits {
        1 => "1 bit".to_owned(),
        bits => format!("{bits} bits"),
    };
    match width.original {
        Some(original) => format!("{bits}, original {}", original.name()),
        None => bits,
    }
}

fn write_figures(text: &mut String, figures: &Figures, compared: bool) {
    let gain = if compared {
        interval(&figures.gain)
    } else {
        "the baseline".to_owned()
    };
    let _ = writeln!(
        text,
        "  {:<60} {:>8.4}  {gain:<28} {:>9.3}",
        name(figures),
        figures.ndcg_at_10,
        figures.milliseconds
    );
}

fn name(figures: &Figures) -> String {
    let mut name = figures.plan.to_string();
    if let Some(fusion) = &figures.fusion {
        let weights: Vec<String> = figures
            .plan
            .legs()
            .iter()
            .map(|leg| format!("{leg}={}", fusion.weights.of(leg)))
            .collect();
        let method = fusion.to_string();
        let method = method.split(';').next().unwrap_or_default();
        let _ = write!(name, " ({method}, {})", weights.join(","));
    }
    if let Some(depth) = figures.depth {
        let _ = write!(name, " {depth} deep");
    }
    name
}

fn write_storage(text: &mut String, storage: &StorageBill) {
    let _ = write!(text, "\nbytes a document:");
    if let Some(dense) = storage.dense {
        let _ = write!(text, " dense {dense:.0};");
    }
    for (bits, bytes) in &storage.bits {
        let _ = write!(text, " tokens at {bits} bits {bytes:.0};");
    }
    let _ = writeln!(
        text,
        " on disk: dense with graph {:.0}, tokens with all that belongs to them {:.0}",
        storage.dense_on_disk, storage.tokens_on_disk
    );
}
