//! The behaviour of collections on a disk in memory, and on one that fails.

mod churn;
mod coded;
mod damage;
mod drift;
mod faults;
mod holding;
mod model;
mod operations;
mod reading;
mod space;
mod support;
