//! The residual codec against fast-plaid, an independent implementation: the same codes and bytes, the same scores.
//! `benches/python/golden_residual.py` made the arrays.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::kernel::Isa;
use latewood_codecs::{MaxSimQuery, ResidualCodec, ResidualCodes, ResidualQuery};
use std::path::Path;

/// The numbers of an npy file of version 1, little-endian.
fn array<T: bytemuck::Pod>(name: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..]
        .chunks_exact(size_of::<T>())
        .map(bytemuck::pod_read_unaligned)
        .collect()
}

fn wide(name: &str) -> Vec<f32> {
    array::<f16>(name).to_f32_vec()
}

struct Golden {
    dim: usize,
    query_tokens: usize,
    doclens: Vec<usize>,
    scores: serde_json::Value,
    decompressed: serde_json::Value,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/about.json");
    let about: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let number = |v: &serde_json::Value| usize::try_from(v.as_u64().unwrap()).unwrap();
    Golden {
        dim: number(&about["dim"]),
        query_tokens: number(&about["query_tokens"]),
        doclens: about["doclens"].as_array().unwrap().iter().map(number).collect(),
        scores: about["scores"].clone(),
        decompressed: about["decompressed_scores"].clone(),
    }
}

fn codec(bits: u8, dim: usize) -> ResidualCodec {
    let tables = ["cutoffs", "weights"].map(|name| array::<f32>(&format!("{name}{bits}.npy")));
    let [cutoffs, weights] = tables;
    ResidualCodec::from_parts(dim, bits, wide("centroids.npy"), cutoffs, weights).unwrap()
}

#[test]
fn codes_and_residual_bytes_are_identical() {
    let dim = golden().dim;
    for bits in [1, 2, 4] {
        let mut ours = ResidualCodes::default();
        codec(bits, dim).encode(&wide("documents.npy"), &mut ours);
        assert_eq!(
            ours.codes,
            array::<u32>(&format!("codes{bits}.npy")),
            "codes at {bits} bits"
        );
        assert_eq!(
            ours.residuals,
            array::<u8>(&format!("residuals{bits}.npy")),
            "residuals at {bits} bits"
        );
    }
}

/// fast-plaid multiplies in half precision: its scores of 32 query tokens are off by up to 0.004 of what its own bytes say
/// in double precision. The exact score is held to the latter within 1e-4, the quick one within its int8 error.
#[test]
fn scores_agree() {
    let Golden {
        dim,
        query_tokens,
        doclens,
        scores,
        decompressed,
    } = golden();
    let queries = wide("queries.npy");
    for bits in [1, 2, 4] {
        let codec = codec(bits, dim);
        let mut codes = ResidualCodes::default();
        codec.encode(&wide("documents.npy"), &mut codes);
        for (number, tokens) in queries.chunks_exact(dim * query_tokens).enumerate() {
            for isa in Isa::available() {
                let query = MaxSimQuery::with_isa(dim, tokens, isa).unwrap();
                let query = ResidualQuery::new(&codec, &query).unwrap();
                let mut first = 0;
                for (document, length) in doclens.iter().enumerate() {
                    let rows = codes.rows().slice(first..first + length);
                    first += length;
                    let of =
                        |all: &serde_json::Value| all[bits.to_string()][number][document].as_f64().unwrap();
                    let (exact, quick) = (f64::from(query.score_exact(rows)), f64::from(query.score(rows)));
                    let context = format!("{isa}, {bits} bits, document {document}");
                    assert!(
                        (exact - of(&decompressed)).abs() < 1e-4,
                        "{context}: {exact} for {}",
                        of(&decompressed)
                    );
                    assert!(
                        (exact - of(&scores)).abs() < 4e-3,
                        "{context}: {exact} for {}",
                        of(&scores)
                    );
                    assert!((quick - exact).abs() < 2e-2, "{context}: {quick} for {exact}");
                }
            }
        }
    }
}
