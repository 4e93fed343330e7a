//! An embedded vector database engine with late interaction.

pub mod models;
