//! Whole queries over small collections, against brute force.

mod exhaustive;
mod fields;
mod filters;
mod harness;
mod indexes;
mod language;
mod lexical;
mod named;
mod pairs;
mod shaped;
mod sparse;
mod staged;
mod tuned;
mod walked;
