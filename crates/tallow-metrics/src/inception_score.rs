//! The Inception score: whether a classifier is sure of each sample, and of different things over all of them.
//!
//! ```text
//! IS = exp E_x KL(p(y | x) ‖ p(y)),  p(y) = E_x p(y | x)
//! ```
//!
//! Between 1 and the number of classes. It never looks at data: report it beside a distance. It is "the" Inception score only
//! with Inception-v3's classes; name the classifier else.
//!
//! Source: Salimans et al. 2016, arXiv:1606.03498, section 4.

use crate::{Error, Points, Result};

/// An Inception score, over all samples and over consecutive parts of them.
#[derive(Clone, Debug, PartialEq)]
pub struct InceptionScore {
    /// Over all samples.
    pub score: f64,
    /// Over each part; ten by custom.
    pub splits: Vec<f64>,
    /// The mean over the parts.
    pub mean: f64,
    /// The standard deviation over the parts, with their number in the denominator.
    pub deviation: f64,
}

/// The score of class probabilities, one row for each sample, over all of them and in `splits` consecutive parts.
///
/// Source: Salimans et al. 2016, arXiv:1606.03498, section 4.
///
/// # Errors
///
/// When there are fewer than two samples, no splits or splits of fewer than two samples, a probability is negative, or a row does not sum to 1 within 1e-3.
pub fn inception_score(probabilities: &Points<'_>, splits: usize) -> Result<InceptionScore> {
    let (owner, count) = ("inception_score", probabilities.count());
    if count < 2 {
        return Err(Error::TooFew { count });
    }
    if splits == 0 || splits > count / 2 {
        let allowed = "between 1 and half the number of samples";
        return Err(Error::Parameter {
            owner,
            name: "splits",
            value: splits as f64,
            allowed,
        });
    }
    for row in probabilities.iter() {
        let total: f64 = row.iter().sum();
        if (total - 1.0).abs() > 1e-3 {
            let allowed = "that sum to 1 in each row: pass the softmax of logits";
            return Err(Error::Parameter {
                owner,
                name: "probabilities",
                value: total,
                allowed,
            });
        }
        if let Some(value) = row.iter().find(|value| **value < 0.0) {
            return Err(Error::Parameter {
                owner,
                name: "probabilities",
                value: *value,
                allowed: "of 0 or more",
            });
        }
    }
    let classes = probabilities.dimension();
    let part =
        |k: usize| &probabilities.values()[k * count / splits * classes..(k + 1) * count / splits * classes];
    let found: Vec<f64> = (0..splits).map(|k| score(part(k), classes)).collect();
    let mean = found.iter().sum::<f64>() / splits as f64;
    let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore {
        score: score(probabilities.values(), classes),
        splits: found,
        mean,
        deviation: variance.sqrt(),
    })
}

fn score(rows: &[f64], classes: usize) -> f64 {
    let count = (rows.len() / classes) as f64;
    let mut marginal = vec![0.0; classes];
    for row in rows.chunks_exact(classes) {
        marginal
            .iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value / count);
    }
    // 0 ln 0 = 0.
    let divergence = |row: &[f64]| -> f64 {
        let terms = row.iter().zip(&marginal).filter(|(p, _)| **p > 0.0);
        terms.map(|(p, q)| p * (p / q).ln()).sum()
    };
    (rows.chunks_exact(classes).map(divergence).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_and_diverse_is_the_number_of_classes_and_unsure_or_alike_is_one() {
        let sure = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let found = inception_score(&Points::new(&sure, 3).unwrap(), 1).unwrap();
        assert!((found.score - 3.0).abs() < 1e-12);
        let unsure = [1.0 / 3.0; 9];
        assert!(
            (inception_score(&Points::new(&unsure, 3).unwrap(), 1)
                .unwrap()
                .score
                - 1.0)
                .abs()
                < 1e-12
        );
        let alike = [1.0, 0.0, 1.0, 0.0];
        assert!((inception_score(&Points::new(&alike, 2).unwrap(), 1).unwrap().mean - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_probability_is_refused_in_words() {
        let logits = [2.0, -1.0];
        let error = inception_score(&Points::new(&[1.5, -0.5, 0.0, 1.0], 2).unwrap(), 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("-0.5"), "{error}");
        assert!(
            inception_score(&Points::new(&logits, 1).unwrap(), 1)
                .unwrap_err()
                .to_string()
                .contains("softmax")
        );
        let two = [1.0, 0.0, 0.0, 1.0];
        let two = Points::new(&two, 2).unwrap();
        assert!(inception_score(&two, 2).is_err() && inception_score(&two, 0).is_err());
        let one = Points::new(&[1.0, 0.0], 2).unwrap();
        assert!(matches!(
            inception_score(&one, 1),
            Err(Error::TooFew { count: 1 })
        ));
    }
}
