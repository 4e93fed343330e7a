//! Everything that was measured, as data, as JSON and as a plot.

use latewood::Stats;
use latewood_benches::peers::Peer;
use latewood_benches::recall::Recall;
use latewood_benches::svg::{Series, plot};
use serde_json::{Value, json};

use crate::args::Codec;
use crate::collection::Build;
use crate::exhaustive::{Float32, Scan};
use crate::measure::{Measured, Setting, StageFigures};
use crate::sweep::Target;

/// What was searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataSummary {
    pub(crate) documents: usize,
    pub(crate) tokens: usize,
    pub(crate) dim: usize,
    pub(crate) queries: usize,
    pub(crate) query_tokens: usize,
}

/// One codec.
#[derive(Debug)]
pub(crate) struct CodecReport {
    pub(crate) codec: Codec,
    pub(crate) build: Option<Build>,
    pub(crate) stats: Stats,
    pub(crate) scan: Measured,
    /// `Query::run` as it is.
    pub(crate) defaults: Measured,
    /// `Query::recall` of each target: settings that were tuned when the collection was built.
    pub(crate) knob: Vec<(f64, Measured)>,
    pub(crate) targets: Vec<Target>,
    pub(crate) frontier: Vec<(Setting, Measured)>,
}

/// A run of the bench.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) data: DataSummary,
    pub(crate) float32: Option<Float32>,
    pub(crate) codecs: Vec<CodecReport>,
    pub(crate) peers: Vec<Peer>,
    /// Load averages before and after.
    pub(crate) load: (Option<String>, Option<String>),
}

/// A peer and the cheapest setting of ours that finds at least as much.
pub(crate) struct Match<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) ours: Option<(Codec, Setting, &'a Measured)>,
    pub(crate) bytes_per_token: f64,
}

impl Match<'_> {
    /// Their median time over ours.
    pub(crate) fn speed(&self) -> Option<f64> {
        self.ours.map(|(_, _, ours)| self.peer.p50_ms / ours.times.p50())
    }

    /// Their mean processor time over ours, which other processes disturb less than they do the median.
    pub(crate) fn cpu_speed(&self) -> Option<f64> {
        self.ours
            .and_then(|(_, _, ours)| Some(self.peer.cpu_mean_ms? / ours.cpu_ms?))
    }

    /// Our bytes over theirs.
    pub(crate) fn size(&self) -> Option<f64> {
        self.ours
            .and(self.peer.bytes_per_token)
            .map(|theirs| self.bytes_per_token / theirs)
    }
}

impl CodecReport {
    /// Every setting that was reported, targets and frontier.
    fn points(&self) -> impl Iterator<Item = (Setting, &Measured)> {
        let targets = self.targets.iter().filter_map(|t| t.chosen.as_ref());
        targets
            .chain(&self.frontier)
            .map(|(setting, measured)| (*setting, measured))
    }
}

impl Report {
    /// For each peer of this data the fastest of our points whose recall against float32 is no lower.
    pub(crate) fn matches(&self) -> Vec<Match<'_>> {
        let same = |peer: &&Peer| peer.documents.is_none_or(|n| n == self.data.documents as u64);
        self.peers
            .iter()
            .filter(same)
            .map(|peer| self.match_of(peer))
            .collect()
    }

    fn match_of<'a>(&'a self, peer: &'a Peer) -> Match<'a> {
        let points = self
            .codecs
            .iter()
            .flat_map(|c| c.points().map(move |(s, m)| (c, s, m)));
        let good = points.filter(|(_, _, m)| m.recall_float32.is_some_and(|r| r.mean >= peer.recall));
        let best = good.min_by(|a, b| a.2.cost().total_cmp(&b.2.cost()));
        Match {
            peer,
            ours: best.map(|(codec, setting, measured)| (codec.codec, setting, measured)),
            bytes_per_token: best.map_or(f64::NAN, |(codec, _, _)| codec.stats.bytes_per_token),
        }
    }

    pub(crate) fn svg(&self) -> String {
        let mut series = Vec::new();
        for codec in &self.codecs {
            let line = |name: String, dashed, recall: fn(&Measured) -> Option<Recall>| Series {
                name,
                dashed,
                points: codec
                    .points()
                    .filter_map(|(_, m)| Some((recall(m)?.mean, m.times.p50())))
                    .collect(),
            };
            let bits = codec.codec;
            if self.codecs.iter().any(|c| c.scan.recall_float32.is_some()) {
                series.push(line(format!("Latewood, {bits} bits"), false, |m| {
                    m.recall_float32
                }));
            }
            if self.codecs.len() == 1 {
                series.push(line("the same, against its codes".to_owned(), true, |m| {
                    Some(m.recall_codes)
                }));
            }
        }
        for found in self.matches() {
            let point = (found.peer.recall, found.peer.p50_ms);
            match series.iter_mut().find(|s| s.name == found.peer.name) {
                Some(known) => known.points.push(point),
                None => series.push(Series {
                    name: found.peer.name.clone(),
                    points: vec![point],
                    dashed: false,
                }),
            }
        }
        let DataSummary {
            documents, tokens, ..
        } = self.data;
        plot(
            &format!("Top 10 of {documents} documents, {tokens} tokens; recall against float32"),
            &series,
        )
    }

    pub(crate) fn json(&self) -> Value {
        let DataSummary {
            documents,
            tokens,
            dim,
            queries,
            query_tokens,
        } = self.data;
        json!({
            "documents": documents,
            "tokens": tokens,
            "dim": dim,
            "queries": queries,
            "query_tokens": query_tokens,
            "load_before": self.load.0,
            "load_after": self.load.1,
            "float32": self.float32.as_ref().map(|f| json!({
                "gmacs_a_query": f.gmacs,
                "score_f32": scan_json(&f.prepared),
                "maxsim": scan_json(&f.checked),
            })),
            "codecs": self.codecs.iter().map(codec_json).collect::<Vec<_>>(),
            "peers": self.matches().iter().map(match_json).collect::<Vec<_>>(),
        })
    }
}

fn scan_json(scan: &Scan) -> Value {
    json!({ "p50_ms": scan.times.p50(), "p95_ms": scan.times.p95(), "cpu_mean_ms": scan.cpu_ms })
}

fn recall_json(recall: Recall) -> Value {
    json!({ "mean": recall.mean, "margin": recall.margin })
}

fn setting_json(setting: Setting) -> Value {
    json!({ "n_probe": setting.n_probe, "candidates": setting.candidates, "margin": setting.margin() })
}

fn measured_json(measured: &Measured) -> Value {
    json!({
        "p50_ms": measured.times.p50(),
        "p95_ms": measured.times.p95(),
        "cpu_mean_ms": measured.cpu_ms,
        "recall_codes": recall_json(measured.recall_codes),
        "recall_float32": measured.recall_float32.map(recall_json),
        "stages": measured.stages.iter().map(stage_json).collect::<Vec<_>>(),
    })
}

fn stage_json(stage: &StageFigures) -> Value {
    json!({
        "name": stage.name,
        "microseconds": stage.microseconds,
        "candidates_in": stage.candidates_in,
        "candidates_out": stage.candidates_out,
        "work": stage.work,
        "bytes": stage.bytes,
        "gmacs_per_s": stage.gmacs_per_s,
    })
}

fn codec_json(report: &CodecReport) -> Value {
    let point = |(setting, measured): &(Setting, Measured)| json!({ "setting": setting_json(*setting), "measured": measured_json(measured) });
    json!({
        "bits": report.codec.to_string(),
        "build": report.build.map(Build::json),
        "bytes": report.stats.bytes,
        "bytes_per_token": report.stats.bytes_per_token,
        "centroids": report.stats.centroids,
        "scan": measured_json(&report.scan),
        "defaults": measured_json(&report.defaults),
        "knob": report.knob.iter().map(|(recall, measured)| json!({
            "recall": recall,
            "measured": measured_json(measured),
        })).collect::<Vec<_>>(),
        "targets": report.targets.iter().map(|target| json!({
            "recall": target.recall,
            "chosen": target.chosen.as_ref().map(point),
        })).collect::<Vec<_>>(),
        "frontier": report.frontier.iter().map(point).collect::<Vec<_>>(),
    })
}

fn match_json(found: &Match<'_>) -> Value {
    let peer = found.peer;
    json!({
        "name": peer.name,
        "setting": peer.setting,
        "p50_ms": peer.p50_ms,
        "p95_ms": peer.p95_ms,
        "recall_at_10": peer.recall,
        "bytes_per_token": peer.bytes_per_token,
        "build_s": peer.build_s,
        "ours": found.ours.map(|(codec, setting, measured)| json!({
            "bits": codec.to_string(),
            "setting": setting_json(setting),
            "p50_ms": measured.times.p50(),
            "recall_float32": measured.recall_float32.map(recall_json),
            "bytes_per_token": found.bytes_per_token,
        })),
        "speed_ratio": found.speed(),
        "cpu_speed_ratio": found.cpu_speed(),
        "size_ratio": found.size(),
    })
}
