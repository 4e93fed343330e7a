//! What the kernels of each instruction set do on this machine: ns a call and 10^9 multiply-adds a second (of `encode`, numbers), one thread.
//! Rounds are of a millisecond and the best of them counts, so that other load on the machine is not measured with them.
//! `cargo run --release -p latewood-benches --bin kernels [WORD]`: only rows that contain WORD.

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::kernel::Isa;
use latewood_codecs::{
    CodecError, DenseCodec, DenseCodes, DenseParts, DenseQuery, DenseRows, Int4Codec, MaxSimQuery, Metric,
    ResidualCodec, ResidualCodes, ResidualQuery, TokenCodec,
};
use simsimd::SpatialSimilarity;
use std::hint::black_box;
use std::time::{Duration, Instant};

const DIM: usize = 128;
const QUERY: usize = 32;
const CENTROIDS: usize = 16_384;

fn main() -> Result<(), CodecError> {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("| kernel | shape | isa | ns a call | GMAC/s |");
    println!("|---|---|---|---:|---:|");
    let bench = Bench { only };
    bench.maxsim()?;
    bench.residual()?;
    bench.assign()?;
    bench.dense()?;
    bench.encode()
}

fn fitted(
    kind: TokenCodec,
    bits: u8,
    centroids: &[f32],
    heldout: &[f32],
) -> Result<ResidualCodec, CodecError> {
    match kind {
        TokenCodec::Buckets => ResidualCodec::fit_buckets(bits, DIM, centroids.to_vec(), heldout),
        TokenCodec::Trellis => ResidualCodec::fit_trellis(bits, DIM, centroids, heldout),
    }
}

struct Bench {
    only: String,
}

impl Bench {
    /// Times a call; prints its row.
    fn row(&self, kernel: &str, shape: &str, isa: &str, macs: usize, mut call: impl FnMut()) {
        if !format!("{kernel} {isa}").contains(&self.only) {
            return;
        }
        let mut best = f64::INFINITY;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(250) {
            let (start, mut calls) = (Instant::now(), 0u32);
            while calls == 0 || start.elapsed() < Duration::from_millis(1) {
                call();
                calls += 1;
            }
            best = best.min(start.elapsed().as_secs_f64() / f64::from(calls));
        }
        let gmacs = macs as f64 / best / 1e9;
        println!("| {kernel} | {shape} | {isa} | {:.1} | {gmacs:.1} |", best * 1e9);
    }

    fn maxsim(&self) -> Result<(), CodecError> {
        let query = unit_rows(QUERY, DIM, 1);
        for isa in Isa::available() {
            for rows in [16, 80, 180, 1030] {
                let document = unit_rows(rows, DIM, 2);
                let narrow: Vec<f16> = document.iter().map(|v| f16::from_f32(*v)).collect();
                let query = MaxSimQuery::with_isa(DIM, &query, isa)?;
                let (shape, macs) = (format!("{QUERY} x {rows} x {DIM}"), QUERY * rows * DIM);
                let isa = isa.to_string();
                self.row("maxsim f32", &shape, &isa, macs, || {
                    black_box(query.score_f32(black_box(&document)));
                });
                self.row("maxsim f16", &shape, &isa, macs, || {
                    black_box(query.score_f16(black_box(&narrow)));
                });
            }
        }
        Ok(())
    }

    /// Documents of 80 tokens, 10,000 tokens in turn, so that codes come from the cache as in a search.
    fn residual(&self) -> Result<(), CodecError> {
        let centroids = unit_rows(CENTROIDS, DIM, 3);
        let tokens = near(&centroids, 10_240, 4);
        let query = unit_rows(QUERY, DIM, 5);
        for (kind, bits) in TokenCodec::ALL
            .into_iter()
            .flat_map(|kind| [1u8, 2, 4].map(|bits| (kind, bits)))
        {
            let codec = fitted(kind, bits, &centroids, &tokens[..512 * DIM])?;
            let mut codes = ResidualCodes::default();
            codec.encode(&tokens, &mut codes);
            for isa in Isa::available() {
                let query = MaxSimQuery::with_isa(DIM, &query, isa)?;
                let isa = isa.to_string();
                if bits == 2 && kind == TokenCodec::Trellis {
                    let shape = format!("{QUERY} x {CENTROIDS} x {DIM}");
                    self.row(
                        "centroid levels and scores, int8",
                        &shape,
                        &isa,
                        QUERY * CENTROIDS * DIM,
                        || {
                            if let Ok(mut bound) = ResidualQuery::new(&codec, &query) {
                                bound.complete();
                                black_box(bound);
                            }
                        },
                    );
                }
                let mut bound = ResidualQuery::new(&codec, &query)?;
                bound.complete();
                let (shape, macs) = (format!("{QUERY} x 80 x {DIM}"), QUERY * 80 * DIM);
                let mut first = 0;
                self.row(
                    &format!("maxsim {} {bits} bits", kind.name()),
                    &shape,
                    &isa,
                    macs,
                    || {
                        black_box(bound.score(codes.rows().slice(first..first + 80)));
                        first = (first + 80) % 10_240;
                    },
                );
                if bits == 2 {
                    self.row(
                        &format!("maxsim {} exact", kind.name()),
                        &shape,
                        &isa,
                        macs,
                        || {
                            black_box(bound.score_exact(codes.rows().slice(first..first + 80)));
                            first = (first + 80) % 10_240;
                        },
                    );
                    self.row(
                        "centroid interaction",
                        &format!("{QUERY} x 80"),
                        &isa,
                        QUERY * 80,
                        || {
                            black_box(
                                bound.centroid_interaction(codes.rows().slice(first..first + 80).codes),
                            );
                            first = (first + 80) % 10_240;
                        },
                    );
                }
            }
        }
        Ok(())
    }

    /// Tokens around the centroids, as k-means leaves them; a call is 96 of them.
    fn assign(&self) -> Result<(), CodecError> {
        let centroids = unit_rows(CENTROIDS, DIM, 3);
        let tokens = near(&centroids, 96, 6);
        let shape = format!("96 x {CENTROIDS} x {DIM}");
        let (best, macs) = (Isa::best().to_string(), 96 * CENTROIDS * DIM);
        let mut codes = Vec::new();
        for kind in TokenCodec::ALL {
            let codec = fitted(kind, 2, &centroids, &tokens[..64 * DIM])?;
            let mut out = ResidualCodes::default();
            self.row(&format!("encode {}", kind.name()), &shape, &best, macs, || {
                out = ResidualCodes::default();
                codec.encode(black_box(&tokens), &mut out);
            });
        }
        let codec = fitted(TokenCodec::Trellis, 2, &centroids, &tokens[..64 * DIM])?;
        self.row("assign", &shape, &best, macs, || {
            codes.clear();
            codec.assign(black_box(&tokens), &mut codes);
        });
        for isa in Isa::available()
            .into_iter()
            .skip(1)
            .filter(|isa| *isa != Isa::Scalar)
        {
            self.row("assign", &shape, &isa.to_string(), 96 * CENTROIDS * DIM, || {
                codes.clear();
                black_box(codec.assign_with_isa(isa, &tokens, &mut codes).is_ok());
            });
        }
        Ok(())
    }

    /// A query against 64 rows in the cache, 64 rows a call; simsimd, called by itself, beside ours.
    fn dense(&self) -> Result<(), CodecError> {
        for dim in [128, 384, 768] {
            let rows = unit_rows(64, dim, 7);
            let query = unit_rows(1, dim, 8);
            let shape = format!("64 x {dim}");
            for (codec, metric) in DenseCodec::ALL
                .into_iter()
                .flat_map(|c| [Metric::InnerProduct, Metric::L2].map(|m| (c, m)))
            {
                let mut coded = DenseCodes::default();
                codec.encode(metric, &rows, dim, &mut coded)?;
                let aligned = Aligned::new(&coded.codes);
                let codes = aligned.bytes(coded.codes.len());
                let view = DenseRows::new(
                    codec,
                    metric,
                    dim,
                    DenseParts {
                        codes,
                        ..coded.parts()
                    },
                )?;
                let name = format!("dense {} {}", codec.name(), metric.name());
                let mut scores = vec![0.0; 64];
                for isa in Isa::available() {
                    let query = DenseQuery::with_isa(metric, dim, &query, isa)?;
                    self.row(&name, &shape, &isa.to_string(), 64 * dim, || {
                        query.score_range(&view, 0, black_box(&mut scores));
                    });
                }
            }
            self.simsimd(dim, &query, &rows);
        }
        Ok(())
    }

    /// 64 rows into codes: the four bits a number that graphs are built over, and those of each codec.
    fn encode(&self) -> Result<(), CodecError> {
        for dim in [128, 384, 768] {
            let rows = unit_rows(64, dim, 7);
            let shape = format!("64 x {dim}");
            let int4 = Int4Codec::new(Metric::Cosine, dim);
            let mut codes = vec![0; int4.row_bytes()];
            self.row("encode int4", &shape, "best", 64 * dim, || {
                for row in rows.chunks_exact(dim) {
                    black_box(int4.encode(row, &mut codes));
                }
            });
            for codec in DenseCodec::ALL {
                let mut failed = Ok(());
                self.row(
                    &format!("encode {}", codec.name()),
                    &shape,
                    "best",
                    64 * dim,
                    || {
                        let mut coded = DenseCodes::default();
                        failed = codec.encode(Metric::Cosine, &rows, dim, &mut coded);
                        black_box(&coded);
                    },
                );
                failed?;
            }
        }
        Ok(())
    }

    fn simsimd(&self, dim: usize, query: &[f32], rows: &[f32]) {
        let shape = format!("64 x {dim}");
        let half = |v: &[f32]| {
            v.iter()
                .map(|v| simsimd::f16(f16::from_f32(*v).to_bits()))
                .collect::<Vec<_>>()
        };
        let bytes = |v: &[f32]| v.iter().map(|v| (v * 300.0) as i8).collect::<Vec<_>>();
        let (half_query, half_rows, byte_query, byte_rows) =
            (half(query), half(rows), bytes(query), bytes(rows));
        let each = |name: &str, call: &dyn Fn(std::ops::Range<usize>) -> Option<f64>| {
            self.row(name, &shape, "simsimd", 64 * dim, || {
                for at in 0..64 {
                    black_box(call(at * dim..(at + 1) * dim));
                }
            });
        };
        each("dense f32 ip", &|row| f32::dot(query, &rows[row]));
        each("dense f32 l2", &|row| f32::l2sq(query, &rows[row]));
        each("dense f16 ip", &|row| {
            simsimd::f16::dot(&half_query, &half_rows[row])
        });
        each("dense f16 l2", &|row| {
            simsimd::f16::l2sq(&half_query, &half_rows[row])
        });
        each("dense int8 ip", &|row| i8::dot(&byte_query, &byte_rows[row]));
    }
}

/// Bytes at an address that suits every codec.
struct Aligned(Vec<u64>);

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        Self(
            bytes
                .chunks(8)
                .map(|c| {
                    let mut eight = [0; 8];
                    eight[..c.len()].copy_from_slice(c);
                    u64::from_ne_bytes(eight)
                })
                .collect(),
        )
    }

    fn bytes(&self, len: usize) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..len]
    }
}

/// Unit vectors, the same on every run, of half precision.
fn unit_rows(count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let mut rows: Vec<f32> = (0..count * dim).map(|_| next() + next() + next()).collect();
    rows.chunks_exact_mut(dim).for_each(|row| {
        let _ = Metric::Cosine.prepare(row);
    });
    let narrow: Vec<f16> = rows.iter().map(|v| f16::from_f32(*v)).collect();
    narrow.to_f32_vec()
}

/// Tokens at a cosine of about 0.85 to a centroid each, which is what trained collections have.
fn near(centroids: &[f32], count: usize, seed: u64) -> Vec<f32> {
    let mut tokens = unit_rows(count, DIM, seed);
    for (at, token) in tokens.chunks_exact_mut(DIM).enumerate() {
        let c = &centroids[at * 977 % (centroids.len() / DIM) * DIM..][..DIM];
        token.iter_mut().zip(c).for_each(|(t, c)| *t = 0.6 * *t + c);
        let _ = Metric::Cosine.prepare(token);
    }
    tokens
}
