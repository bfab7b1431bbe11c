//! Benchmarks of tallow, and its comparison with numbers that other programs computed.
#![forbid(unsafe_code)]

pub mod reference;
