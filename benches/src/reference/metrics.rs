//! The family "metrics": distances between small clouds of points.

use tallow::metrics::{
    InceptionScore, Moments, Points, Projections, Statistic, chamfer_mean, chamfer_sum, energy_distance,
    frechet_distance, inception_score, kernel_distance, mmd_squared, nearest_neighbour_accuracy, path_energy,
    precision_recall, sliced_wasserstein2, wasserstein1, wasserstein2,
};

use super::{Comparison, Fields, Obstacle};

/// Checks a case by its rule.
pub(super) fn check(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let (rule, inputs, expected) = (
        case.object("rule")?,
        case.object("inputs")?,
        case.object("expected")?,
    );
    let got = match rule.text("name")? {
        "frechet_moments" => frechet_of_moments(&inputs)?,
        "inception_score" => inception(&inputs, rule.count("splits")?)?,
        "path_energy" => energy_of_paths(&inputs)?,
        name => between(name, &rule, &Cloud::of(&inputs, "x")?, &Cloud::of(&inputs, "y")?)?,
    };
    let mut comparison = Comparison::of(case)?;
    // Every number that is expected must be known, or the case is not checked.
    let Some(fields) = expected.value().as_object() else {
        return Err(Obstacle::Wrong("\"expected\" is no object".to_owned()));
    };
    for name in fields.keys() {
        let Some((_, values)) = got.iter().find(|(known, _)| known == name) else {
            return Err(Obstacle::Unsupported(format!("the result {name:?} is not known")));
        };
        comparison.field(&expected, name, values)?;
    }
    Ok(comparison)
}

type Results = Vec<(&'static str, Vec<f64>)>;

fn told(error: impl std::fmt::Display) -> Obstacle {
    Obstacle::Wrong(format!("refused: {error}"))
}

/// A matrix of numbers, point by point.
struct Cloud {
    values: Vec<f64>,
    dimension: usize,
}

impl Cloud {
    fn of(inputs: &Fields<'_>, name: &str) -> Result<Self, Obstacle> {
        let rows = inputs.rows(name)?;
        Ok(Self {
            dimension: rows.first().map_or(0, Vec::len),
            values: rows.concat(),
        })
    }

    fn points(&self) -> Result<Points<'_>, Obstacle> {
        Points::new(&self.values, self.dimension).map_err(told)
    }

    /// The first coordinate of every point.
    fn first(&self) -> Vec<f64> {
        self.values
            .iter()
            .step_by(self.dimension.max(1))
            .copied()
            .collect()
    }
}

fn between(name: &str, rule: &Fields<'_>, first: &Cloud, second: &Cloud) -> Result<Results, Obstacle> {
    let (x, y) = (first.points()?, second.points()?);
    Ok(match name {
        "wasserstein2" => {
            let distance = wasserstein2(&x, &y).map_err(told)?.distance;
            vec![("w2", vec![distance]), ("w2_squared", vec![distance * distance])]
        }
        "wasserstein1" => vec![("w1", vec![wasserstein1(&x, &y).map_err(told)?.distance])],
        "sliced_wasserstein2" => sliced(rule, &x, &y)?,
        "mmd_rbf" => {
            let bandwidths = rule.numbers("bandwidths")?;
            let with = |statistic| mmd_squared(&x, &y, &bandwidths, statistic).map_err(told);
            vec![
                ("mmd2_biased", vec![with(Statistic::V)?]),
                ("mmd2_unbiased", vec![with(Statistic::U)?]),
            ]
        }
        "energy_distance" => {
            let with = |statistic| energy_distance(&x, &y, statistic).map_err(told);
            let (a, b) = (first.first(), second.first());
            let line = |values| Points::new(values, 1).map_err(told);
            let on_a_line = energy_distance(&line(&a)?, &line(&b)?, Statistic::V).map_err(told)?;
            vec![
                ("energy_biased", vec![with(Statistic::V)?]),
                ("energy_unbiased", vec![with(Statistic::U)?]),
                ("energy_first_coordinate", vec![on_a_line]),
            ]
        }
        "chamfer" => vec![
            ("mean_form", vec![chamfer_mean(&x, &y).map_err(told)?]),
            ("sum_form", vec![chamfer_sum(&x, &y).map_err(told)?]),
        ],
        "precision_recall_density_coverage" => {
            let found = precision_recall(&x, &y, rule.count("k")?).map_err(told)?;
            vec![
                ("precision", vec![found.precision]),
                ("recall", vec![found.recall]),
                ("density", vec![found.density]),
                ("coverage", vec![found.coverage]),
            ]
        }
        "frechet_samples" => {
            let (of_x, of_y) = (Moments::of(&x).map_err(told)?, Moments::of(&y).map_err(told)?);
            vec![
                (
                    "frechet",
                    vec![frechet_distance(&of_x, &of_y).map_err(told)?.distance_squared],
                ),
                ("mean_x", of_x.mean().to_vec()),
                ("mean_y", of_y.mean().to_vec()),
                ("cov_x", of_x.covariance().map_err(told)?),
                ("cov_y", of_y.covariance().map_err(told)?),
            ]
        }
        "kid" => vec![("kid", vec![kernel_distance(&x, &y).map_err(told)?])],
        "one_nn_two_sample_accuracy" => {
            let found = nearest_neighbour_accuracy(&x, &y).map_err(told)?;
            vec![
                ("accuracy", vec![found.accuracy]),
                ("accuracy_x", vec![found.of_x]),
                ("accuracy_y", vec![found.of_y]),
            ]
        }
        other => return Err(Obstacle::Unsupported(format!("no metric is called {other:?}"))),
    })
}

fn sliced(rule: &Fields<'_>, x: &Points<'_>, y: &Points<'_>) -> Result<Results, Obstacle> {
    let directions = rule.rows("projections")?;
    let squared = |rows: &[Vec<f64>]| -> Result<f64, Obstacle> {
        let projections = Projections::new(&rows.concat(), x.dimension()).map_err(told)?;
        Ok(sliced_wasserstein2(x, y, &projections)
            .map_err(told)?
            .distance
            .powi(2))
    };
    let all = squared(&directions)?;
    let each = directions.iter().map(|row| squared(std::slice::from_ref(row)));
    Ok(vec![
        ("sliced_w2", vec![all.sqrt()]),
        ("sliced_w2_squared", vec![all]),
        ("per_projection_w2_squared", each.collect::<Result<_, _>>()?),
    ])
}

fn frechet_of_moments(inputs: &Fields<'_>) -> Result<Results, Obstacle> {
    let moments = |mean: &str, covariance: &str| -> Result<Moments, Obstacle> {
        Moments::known(inputs.numbers(mean)?, inputs.numbers(covariance)?).map_err(told)
    };
    let found = frechet_distance(&moments("mean_x", "cov_x")?, &moments("mean_y", "cov_y")?).map_err(told)?;
    Ok(vec![("frechet", vec![found.distance_squared])])
}

fn inception(inputs: &Fields<'_>, splits: usize) -> Result<Results, Obstacle> {
    let rows = Cloud::of(inputs, "probabilities")?;
    let InceptionScore {
        score,
        splits,
        mean,
        deviation,
    } = inception_score(&rows.points()?, splits).map_err(told)?;
    Ok(vec![
        ("score", vec![score]),
        ("split_scores", splits),
        ("split_mean", vec![mean]),
        ("split_std", vec![deviation]),
    ])
}

/// The trajectory is indexed by time, then by sample.
fn energy_of_paths(inputs: &Fields<'_>) -> Result<Results, Obstacle> {
    let times = inputs.numbers("t")?;
    let Some(states) = inputs.value()["trajectory"].as_array() else {
        return Err(Obstacle::Wrong("\"trajectory\" is no list".to_owned()));
    };
    let numbers = |state: &serde_json::Value| -> Result<(Vec<f64>, usize), Obstacle> {
        let rows: Vec<Vec<f64>> = serde_json::from_value(state.clone()).map_err(told)?;
        Ok((rows.concat(), rows.first().map_or(0, Vec::len)))
    };
    let states = states.iter().map(numbers).collect::<Result<Vec<_>, _>>()?;
    let clouds = states
        .iter()
        .map(|(values, dimension)| Points::new(values, *dimension).map_err(told));
    let found = path_energy(&clouds.collect::<Result<Vec<_>, _>>()?, &times).map_err(told)?;
    let duration = times.last().copied().unwrap_or(0.0) - times.first().copied().unwrap_or(0.0);
    Ok(vec![
        ("path_energy", vec![found.energy]),
        ("endpoint_energy", vec![found.displacement * duration.abs()]),
        (
            "straightness_excess",
            vec![found.energy - found.displacement * duration.abs()],
        ),
    ])
}
