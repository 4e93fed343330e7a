//! Shared parts of the tests of Latewood.

pub mod command;
pub mod crash;
pub mod disk;
pub mod faults;
pub mod fuzz;
pub mod given;
pub mod hostile;
pub mod ledger;
pub mod operation;
pub mod power_loss;
pub mod random;
pub mod readers;
pub mod reseal;
pub mod simulated;
pub mod telemetry;
pub mod words;
