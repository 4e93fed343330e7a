//! Queries of Latewood: filters, planner, candidate search, late interaction, rerank.
