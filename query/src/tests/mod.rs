//! Whole queries over small collections, against brute force.

mod exhaustive;
mod filters;
mod harness;
mod indexes;
mod lexical;
mod shaped;
mod staged;
mod tuned;
