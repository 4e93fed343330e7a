//! The report as tables in Markdown.

use std::fmt::Write;

use latewood_benches::recall::Recall;

use crate::measure::{Measured, Setting, StageFigures};
use crate::report::{CodecReport, Match, Report};

pub(crate) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let data = &report.data;
    let _ = writeln!(
        out,
        "{} documents, {} tokens of {} dimensions; {} queries of {} tokens, top 10, one thread a query.",
        data.documents, data.tokens, data.dim, data.queries, data.query_tokens
    );
    if let (Some(before), Some(after)) = &report.load {
        let _ = writeln!(out, "Load averages before {before}, after {after}.");
    }
    size_and_build(&mut out, report);
    exhaustive(&mut out, report);
    recall_and_latency(&mut out, report);
    for codec in &report.codecs {
        stages(&mut out, codec);
    }
    peers(&mut out, report);
    out
}

fn size_and_build(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "\n| bits | centroids | bytes a token: {} | build s (write + optimize) | tokens/s | peak memory MiB |\n|---|---|---|---|---|---|",
        TOKEN_FILES.join(" / ")
    );
    for codec in &report.codecs {
        let stats = &codec.stats;
        let per_token = |name: &&str| {
            let bytes = stats.bytes.get(*name).copied().unwrap_or(0);
            format!("{:.2}", bytes as f64 / stats.tokens.max(1) as f64)
        };
        let parts: Vec<String> = TOKEN_FILES.iter().map(per_token).collect();
        let (seconds, speed, memory) = match codec.build {
            Some(build) => (
                format!("{:.1} + {:.1}", build.ingest_s, build.optimize_s),
                format!("{:.0}", build.tokens_per_s),
                build
                    .peak_memory_mib
                    .map_or_else(String::new, |mib| format!("{mib:.0}")),
            ),
            None => Default::default(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | **{:.1}**: {} | {seconds} | {speed} | {memory} |",
            codec.codec,
            stats.centroids.unwrap_or(0),
            stats.bytes_per_token,
            parts.join(" / ")
        );
    }
}

/// The files that are there because of tokens.
const TOKEN_FILES: [&str; 4] = ["tokens", "ivf", "codebook", "original"];

fn exhaustive(out: &mut String, report: &Report) {
    out.push_str(
        "\n| exhaustive scan | p50 ms | p95 ms | CPU ms, mean | GMAC/s | recall@10, float32 |\n|---|---|---|---|---|---|\n",
    );
    for codec in &report.codecs {
        let scan = &codec.scan;
        let codes = scan
            .stages
            .iter()
            .max_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
        let _ = writeln!(
            out,
            "| {} bits | {:.2} | {:.2} | {} | {:.1} | {} |",
            codec.codec,
            scan.times.p50(),
            scan.times.p95(),
            number(scan.cpu_ms, 2),
            codes.map_or(f64::NAN, |stage| stage.gmacs_per_s),
            optional(scan.recall_float32)
        );
    }
    if let Some(float32) = &report.float32 {
        for (name, scan) in [
            ("MaxSimQuery::score_f32", &float32.prepared),
            ("maxsim", &float32.checked),
        ] {
            let gmacs_per_s = float32.gmacs / scan.times.p50() * 1e3;
            let _ = writeln!(
                out,
                "| float32, `{name}` | {:.2} | {:.2} | {} | {gmacs_per_s:.1} | 1 |",
                scan.times.p50(),
                scan.times.p95(),
                number(scan.cpu_ms, 2)
            );
        }
    }
}

fn recall_and_latency(out: &mut String, report: &Report) {
    out.push_str(
        "\n| bits | target | n_probe / candidates / margin | p50 ms | p95 ms | CPU ms, mean | recall@10, same codes | recall@10, float32 \
         | documents met | postings | refined |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for codec in &report.codecs {
        for target in &codec.targets {
            let aim = format!("{}", target.recall);
            match &target.chosen {
                Some((setting, measured)) => row(out, codec, &aim, &shown(*setting), measured),
                None => {
                    let _ = writeln!(
                        out,
                        "| {} | {aim} | not reached by any setting tried | | | | | | | | |",
                        codec.codec
                    );
                }
            }
        }
        for (recall, measured) in &codec.knob {
            row(
                out,
                codec,
                &format!("recall({recall})"),
                "tuned when built",
                measured,
            );
        }
        row(out, codec, "defaults", "chosen by the planner", &codec.defaults);
    }
}

fn shown(setting: Setting) -> String {
    format!(
        "{} / {} / {}",
        setting.n_probe,
        setting.candidates,
        setting.margin()
    )
}

fn row(out: &mut String, codec: &CodecReport, target: &str, setting: &str, measured: &Measured) {
    let of = |word: &str, figure: fn(&StageFigures) -> f64| {
        let stage = measured.stages.iter().find(|stage| stage.name.ends_with(word));
        stage.map_or_else(String::new, |stage| format!("{:.0}", figure(stage)))
    };
    let _ = writeln!(
        out,
        "| {} | {target} | {setting} | {:.2} | {:.2} | {} | {} | {} | {} | {} | {} |",
        codec.codec,
        measured.times.p50(),
        measured.times.p95(),
        number(measured.cpu_ms, 2),
        with_margin(measured.recall_codes),
        optional(measured.recall_float32),
        of("index: postings", |s| s.candidates_in),
        of("index: postings", |s| s.work),
        of("index: codes", |s| s.candidates_in),
    );
}

fn with_margin(recall: Recall) -> String {
    format!("{:.4} ± {:.4}", recall.mean, recall.margin)
}

fn faster(found: &Match<'_>) -> String {
    let cpu = found
        .cpu_speed()
        .map_or_else(String::new, |ratio| format!(" ({ratio:.1})"));
    number(found.speed(), 1) + &cpu
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

fn optional(recall: Option<Recall>) -> String {
    recall.map_or_else(String::new, |recall| format!("{:.4}", recall.mean))
}

/// Median microseconds of each stage, a column for each row of the table above.
fn stages(out: &mut String, codec: &CodecReport) {
    let mut columns: Vec<(String, &Measured)> = codec
        .targets
        .iter()
        .filter_map(|t| t.chosen.as_ref().map(|(_, m)| (t.recall.to_string(), m)))
        .collect();
    columns.push(("defaults".to_owned(), &codec.defaults));
    let mut names: Vec<&str> = Vec::new();
    for stage in columns.iter().rev().flat_map(|(_, m)| &m.stages) {
        if !names.contains(&stage.name.as_str()) {
            names.push(&stage.name);
        }
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    let _ = writeln!(
        out,
        "\n| {} bits: us a stage (median) | {} |\n|---{}|",
        codec.codec,
        heads.join(" | "),
        "|---".repeat(heads.len())
    );
    for name in names {
        let cell = |(_, m): &(String, &Measured)| {
            let stage = m.stages.iter().find(|stage| stage.name == name);
            stage.map_or_else(String::new, |stage| format!("{:.0}", stage.microseconds))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
}

fn peers(out: &mut String, report: &Report) {
    let matches = report.matches();
    if matches.is_empty() {
        return;
    }
    out.push_str(
        "\n| engine | setting | p50 ms | recall@10, float32 | bytes a token | build s | ours at no lower recall | our p50 ms \
         | times faster: p50 (CPU) | our bytes, share of theirs |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for found in &matches {
        let peer = found.peer;
        let ours = match found.ours {
            Some((codec, setting, measured)) => format!(
                "{codec} bits, {} ({})",
                shown(setting),
                optional(measured.recall_float32)
            ),
            None => "not reached".to_owned(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.2} | {:.4} | {} | {} | {ours} | {} | {} | {} |",
            peer.name,
            peer.setting,
            peer.p50_ms,
            peer.recall,
            number(peer.bytes_per_token, 1),
            number(peer.build_s, 0),
            number(found.ours.map(|(_, _, m)| m.times.p50()), 2),
            faster(found),
            number(found.size(), 2),
        );
    }
}
