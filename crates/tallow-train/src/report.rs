//! What a step came to.

/// A step of a training run, as callbacks and the loss file see it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// How many steps have been made, this one included.
    pub step: u64,
    /// How many the run will make.
    pub steps: u64,
    /// The loss that was descended.
    pub loss: f64,
    /// The norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Whether loss or gradient were not finite, so that nothing was changed.
    pub skipped: bool,
    /// The loss on held-out data, after steps that end with a validation.
    pub validation: Option<f64>,
    /// Whether a checkpoint of this step is safe.
    pub saved: bool,
}
