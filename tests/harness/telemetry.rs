//! What a host hears of Latewood: a subscriber that keeps every span, and a recorder that keeps every number.

mod numbers;
mod spans;

pub use numbers::Numbers;
pub use spans::{Seen, Spans, Step};
