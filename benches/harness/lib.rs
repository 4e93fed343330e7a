//! Shared parts of the benches of Latewood.
