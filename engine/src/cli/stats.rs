//! `latewood stats`

use std::fmt::Write;

use super::args::{Global, TargetArgs};
use super::create::describe;
use super::output::{Failure, bytes, count, print, print_json};
use crate::Stats;

pub(super) fn run(global: &Global, args: &TargetArgs) -> Result<(), Failure> {
    let db = super::options(global, None).read_only(true).open(&args.db)?;
    let mut all = Vec::new();
    for collection in super::chosen(&db, args.collection.as_deref())? {
        all.push(collection.stats()?);
    }
    match (global.json, args.collection.is_some(), all.as_slice()) {
        (true, true, [one]) => print_json(one),
        (true, ..) => print_json(&all),
        (false, _, []) => print("no collections\n"),
        (false, ..) => print(all.iter().map(as_text).collect::<Vec<_>>().join("\n")),
    }
}

fn as_text(stats: &Stats) -> String {
    let mut text = format!(
        "{}: {} documents, {} tokens\n  {}\n",
        stats.collection,
        count(stats.documents),
        count(stats.tokens),
        describe(&stats.schema)
    );
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "\n  {:<14}{:>12}{:>16}{:>14}",
        "component", "on disk", "B / document", "B / token"
    );
    let mut components: Vec<(&String, &u64)> = stats.bytes.iter().filter(|(_, bytes)| **bytes > 0).collect();
    components.sort_by(|a, b| b.1.cmp(a.1));
    for (component, &size) in components {
        let _ = writeln!(
            text,
            "  {component:<14}{:>12}{}",
            bytes(size),
            shares(stats, size)
        );
    }
    let _ = writeln!(
        text,
        "  {:<14}{:>12}{}",
        "all",
        bytes(stats.bytes_total),
        shares(stats, stats.bytes_total)
    );
    if stats.tokens > 0 {
        let _ = writeln!(
            text,
            "\n  late interaction takes {} of it: {:.1} bytes a token",
            bytes(stats.token_bytes()),
            stats.bytes_per_token
        );
    }
    for codebook in &stats.codebooks {
        let drift = codebook
            .drift
            .map_or_else(|| "not known".to_owned(), |drift| format!("{drift:.2}"));
        let _ = writeln!(
            text,
            "  codebook {}: {} centroids, trained on {} tokens, {} coded with it, drift {drift}: {}",
            codebook.id,
            count(codebook.centroids),
            count(codebook.trained_on_tokens),
            count(codebook.tokens),
            codebook.fit
        );
    }
    let centroids = stats.centroids.map_or_else(
        || "no codebook yet".to_owned(),
        |n| format!("{} centroids", count(n)),
    );
    let _ = writeln!(
        text,
        "  {} segments, {centroids}, {} tokens not coded, {} deleted documents",
        stats.segments,
        count(stats.raw_tokens),
        count(stats.deleted)
    );
    for (role, model) in [("encoder", &stats.encoder), ("reranker", &stats.reranker)] {
        if let Some(model) = model {
            let _ = writeln!(
                text,
                "  {role} {} from {}, {}",
                model.identity.name, model.identity.source, model.identity.fingerprint
            );
            for note in &model.notes {
                let _ = writeln!(text, "    note: {note}");
            }
        }
    }
    text
}

fn shares(stats: &Stats, size: u64) -> String {
    let share = |things: u64| match things {
        0 => "-".to_owned(),
        n => format!("{:.1}", size as f64 / n as f64),
    };
    format!("{:>16}{:>14}", share(stats.documents), share(stats.tokens))
}
