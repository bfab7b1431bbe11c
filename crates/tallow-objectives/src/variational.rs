//! The variational bound of a chain of T steps: how many bits a model needs for a datum.
//!
//! ```text
//! L_vlb = KL(q(x_T|x_0) ‖ p(x_T)) + Σ_{n≥1} KL(q(x_s|x_t, x_0) ‖ N(μ_θ, Σ_θ)) − ln p_θ(x_0|x_1)        t = t_n, s = t_{n−1}
//! μ_θ = the posterior's mean with x̂_0 for x_0        bits per dimension: nats/(d ln 2)
//! ```
//!
//! Step n stands at t_n = (n + 1)/T of the path, n = 0 … T − 1, and leads to t_{n−1}; step 0 leads to the datum itself, of
//! which a [`Decoder`] is the density.
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, Eq. 5-13; Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 4-15.

mod bound;
mod chain;
mod decoder;
mod row_terms;

pub use bound::{Bits, ReverseVariance, bits_per_dimension};
pub use chain::{Chain, Posterior};
pub use decoder::{Cdf, Decoder};
pub(crate) use row_terms::StepTerms;
pub use row_terms::{gaussian_kl, log_variance};
