//! Shared parts of the benches of Latewood: the data they read and write, the truth they compare with, and how figures
//! are condensed, listed and drawn.

pub mod ask;
pub mod dataset;
pub mod exact;
pub mod nearest;
pub mod npy;
pub mod peers;
pub mod random;
pub mod recall;
pub mod rows;
pub mod svg;
pub mod times;

/// Why a bench ends early: a message for the person who ran it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
