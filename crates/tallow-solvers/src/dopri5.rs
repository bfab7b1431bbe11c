//! The pair of Dormand and Prince, order 5 with an estimate of order 4; here with the steps of the grid.
//!
//! ```text
//! kᵢ = v̂(x_t + dt Σ aᵢⱼ kⱼ, t + cᵢ dt)        x_s = x_t + dt Σ bᵢ kᵢ        x_s − x̌_s = dt Σ eᵢ kᵢ
//! ```
//!
//! The seventh stage is the first of the next step; [`Dopri5Adaptive`](crate::Dopri5Adaptive) uses it for its error estimate.
//!
//! Source: Dormand & Prince 1980, J. Comp. Appl. Math. 6; Hairer, Nørsett & Wanner, Solving Ordinary Differential
//! Equations I, table II.5.2 and section II.6 (continuous extension).

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, combine};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// The nodes cᵢ.
pub(crate) const C: [f64; 7] = [0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0];

/// The weights aᵢⱼ of a stage on those before it; the last row is b.
pub(crate) const A: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[
        19372.0 / 6561.0,
        -25360.0 / 2187.0,
        64448.0 / 6561.0,
        -212.0 / 729.0,
    ],
    &[
        9017.0 / 3168.0,
        -355.0 / 33.0,
        46732.0 / 5247.0,
        49.0 / 176.0,
        -5103.0 / 18656.0,
    ],
    &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
    ],
];

/// The difference of b and the weights of order 4.
pub(crate) const E: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339_200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];

/// The weights of the fourth-degree part of the continuous extension.
pub(crate) const D: [f64; 7] = [
    -12_715_105_075.0 / 11_282_082_432.0,
    0.0,
    87_487_479_700.0 / 32_700_410_799.0,
    -10_690_763_975.0 / 1_880_347_072.0,
    701_980_252_875.0 / 199_316_789_632.0,
    -1_453_857_185.0 / 822_651_844.0,
    69_997_945.0 / 29_380_423.0,
];

/// The pair of Dormand and Prince, order 5 with an estimate of order 4; here with the steps of the grid.
///
/// Six evaluations a step, order 5; right for any path, prediction and coupling. For references and few, long steps on
/// smooth models.
///
/// Source: Dormand & Prince 1980, J. Comp. Appl. Math. 6; Hairer, Nørsett & Wanner, Solving Ordinary Differential
/// Equations I, table II.5.2 and section II.6 (continuous extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dopri5 {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Dopri5 {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = self.final_step.estimate(model, x, step.from)?;
        if let Some(x) = self.final_step.jump(&estimate, step)? {
            return Ok(Point { x, estimate });
        }
        let dt = step.to.t - step.from.t;
        let mut slopes = vec![estimate.velocity()?];
        for stage in 1..6 {
            let at = moved(x, dt, A[stage], &slopes)?;
            let level = if C[stage] == 1.0 {
                step.to
            } else {
                step.schedule.level(step.from.t + C[stage] * dt)
            };
            slopes.push(self.final_step.estimate(model, &at, level)?.velocity()?);
        }
        let x = moved(x, dt, A[6], &slopes)?;
        Ok(Point { x, estimate })
    }
}

/// x + dt Σ aⱼ kⱼ.
fn moved(x: &Tensor, dt: f64, weights: &[f64], slopes: &[Tensor]) -> Result<Tensor> {
    let terms = weights
        .iter()
        .zip(slopes)
        .map(|(weight, slope)| (dt * weight, slope));
    Ok(combine(
        &std::iter::once((1.0, x)).chain(terms).collect::<Vec<_>>(),
    )?)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use candle_core::Device;
    use tallow_denoisers::{ExactMixture, Seeded};
    use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, VpCosine, VpLinear};

    use super::*;
    use crate::{Rk4, Sampler};

    pub(crate) fn lopsided() -> ExactMixture {
        ExactMixture::new(&[0.3, 0.7], vec![vec![-1.0], vec![1.5]], vec![0.35, 0.6]).unwrap()
    }

    pub(crate) fn rectified() -> Arc<dyn Schedule> {
        Arc::new(RectifiedFlow::default())
    }

    pub(crate) fn paths() -> [Arc<dyn Schedule>; 2] {
        [Arc::new(VpCosine::default()), Arc::new(VpLinear::default())]
    }

    pub(crate) fn starts() -> Tensor {
        Tensor::new(&[[-1.6f64], [-0.4], [0.5], [1.9]], &Device::Cpu).unwrap()
    }

    fn end(sampler: &dyn Sampler, path: &Arc<dyn Schedule>, steps: usize) -> Vec<f64> {
        let grid = TimeGrid::uniform_lambda(path.clone(), 0.95, 0.05, steps).unwrap();
        let x = sampler
            .sample(&lopsided(), &grid, &starts(), &mut Seeded::new(0))
            .unwrap();
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The measured order between two numbers of steps.
    pub(crate) fn order(sampler: &dyn Sampler, path: &Arc<dyn Schedule>, steps: [usize; 2]) -> f64 {
        let truth = end(&Rk4::default(), path, 8192);
        let error = |steps| {
            let got = end(sampler, path, steps);
            got.iter()
                .zip(&truth)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max)
        };
        (error(steps[0]) / error(steps[1])).log2()
    }

    #[test]
    fn all_seventeen_conditions_of_order_five_hold() {
        let b = |i: usize| A[6].get(i).copied().unwrap_or(0.0);
        let a = |i: usize, j: usize| A[i].get(j).copied().unwrap_or(0.0);
        let n = 0..7;
        // Elementary weights of rooted trees: `leaf` is a row of ones, `grow` puts a root below, products join at a root.
        let leaf = [1.0; 7];
        let grow =
            |w: [f64; 7]| -> [f64; 7] { std::array::from_fn(|i| n.clone().map(|j| a(i, j) * w[j]).sum()) };
        let join = |u: [f64; 7], v: [f64; 7]| -> [f64; 7] { std::array::from_fn(|i| u[i] * v[i]) };
        let c = grow(leaf);
        for (i, c) in c.iter().enumerate() {
            assert!((c - C[i]).abs() < 1e-14, "row {i} sums to {c}");
        }
        let (c2, c3, ac) = (join(c, c), join(c, join(c, c)), grow(c));
        let trees: [([f64; 7], f64); 17] = [
            (leaf, 1.0),
            (c, 2.0),
            (c2, 3.0),
            (ac, 6.0),
            (c3, 4.0),
            (join(c, ac), 8.0),
            (grow(c2), 12.0),
            (grow(ac), 24.0),
            (join(c2, c2), 5.0),
            (join(c2, ac), 10.0),
            (join(c, grow(c2)), 15.0),
            (join(c, grow(ac)), 30.0),
            (join(ac, ac), 20.0),
            (grow(c3), 20.0),
            (grow(join(c, ac)), 40.0),
            (grow(grow(c2)), 60.0),
            (grow(grow(ac)), 120.0),
        ];
        for (index, (tree, density)) in trees.iter().enumerate() {
            let five: f64 = n.clone().map(|i| b(i) * tree[i]).sum();
            assert!((five - 1.0 / density).abs() < 1e-14, "condition {index}: {five}");
            let four: f64 = n.clone().map(|i| (b(i) - E[i]) * tree[i]).sum();
            let holds = (four - 1.0 / density).abs() < 1e-14;
            // The embedded weights have the eight conditions of order 4, and not those of order 5.
            assert!(
                holds || index >= 8,
                "condition {index} of the embedded pair: {four}"
            );
        }
        let four: f64 = n.clone().map(|i| (b(i) - E[i]) * join(c2, c2)[i]).sum();
        assert!((four - 0.2).abs() > 1e-4);
    }

    #[test]
    fn the_error_falls_with_the_fifth_power_of_the_step() {
        for path in paths() {
            let slope = order(&Dopri5::default(), &path, [32, 64]);
            assert!(slope >= 4.85, "{slope}");
        }
        let slope = order(&Dopri5::default(), &rectified(), [24, 48]);
        assert!(slope >= 4.85, "{slope}");
    }
}
