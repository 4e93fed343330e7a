//! Shared parts of the tests of Latewood.

pub mod command;
pub mod words;
