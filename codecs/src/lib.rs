//! Codecs and kernels of Latewood: dense vectors, ColBERTv2 residual codes, MaxSim.

mod metric;

pub use metric::Metric;
