//! Shared parts of the tests of Latewood.
