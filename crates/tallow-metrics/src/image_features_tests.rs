use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::sliced_wasserstein::normals;

/// The mean of each of the three channels, and whose they are.
struct Colours(Protocol);

impl Colours {
    fn new(features: &str) -> Self {
        Self(Protocol {
            extractor: "mean colours".to_owned(),
            features: features.to_owned(),
            file_sha256: "none".to_owned(),
            resize: "not resized".to_owned(),
        })
    }
}

impl Extractor for Colours {
    fn protocol(&self) -> &Protocol {
        &self.0
    }

    fn features(&self, images: &Tensor, range: ImageRange) -> Result<Tensor> {
        Ok(range.to_unit(images)?.mean((2, 3))?)
    }
}

fn images(count: usize, shift: f64, seed: u64) -> Tensor {
    let values = normals(count * 12, &mut ChaCha8Rng::seed_from_u64(seed));
    let values: Vec<f64> = values
        .iter()
        .map(|value| (0.1 * value + shift).clamp(-1.0, 1.0))
        .collect();
    Tensor::from_vec(values, (count, 3, 2, 2), &Device::Cpu).unwrap()
}

fn moments(extractor: &Colours, batches: &[Tensor]) -> ImageMoments {
    let mut moments = ImageMoments::new(extractor, ImageRange::MinusOneToOne);
    batches
        .iter()
        .for_each(|batch| moments.push(extractor, batch).unwrap());
    moments
}

fn features(extractor: &Colours, images: &Tensor) -> ImageFeatures {
    let mut features = ImageFeatures::new(extractor, ImageRange::MinusOneToOne);
    features.push(extractor, images).unwrap();
    features
}

#[test]
fn a_stream_of_batches_gives_the_distance_of_all_features_and_its_protocol() {
    let extractor = Colours::new("means, 3");
    let (x, y) = (images(60, 0.0, 1), images(50, 0.2, 2));
    let parts = [x.narrow(0, 0, 7).unwrap(), x.narrow(0, 7, 53).unwrap()];
    let streamed =
        moments(&extractor, &parts).frechet_distance(&moments(&extractor, std::slice::from_ref(&y)));
    let found = streamed.unwrap();
    let whole = crate::frechet_distance_of(
        &features(&extractor, &x).points().unwrap(),
        &features(&extractor, &y).points().unwrap(),
    );
    assert!((found.value.distance_squared - whole.unwrap().distance_squared).abs() < 1e-12);
    assert_eq!(
        (&found.protocol, found.sides[0].count, found.sides[1].count),
        (&extractor.0, Some(60), Some(50))
    );
    let words = found.to_string();
    for part in [
        "mean colours (means, 3)",
        "weights none",
        "not resized",
        "n = 60 in [-1, 1]",
        "n = 50",
    ] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn features_that_were_made_otherwise_are_not_compared() {
    let (one, other) = (Colours::new("means, 3"), Colours::new("medians, 3"));
    let x = images(20, 0.0, 3);
    let (a, b) = (features(&one, &x), features(&other, &x));
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let refused = [
        moments(&one, std::slice::from_ref(&x))
            .frechet_distance(&moments(&other, std::slice::from_ref(&x)))
            .unwrap_err(),
        moments(&one, &[]).push(&other, &x).unwrap_err(),
        a.kernel_distance(&b, 2, 10, &mut rng).unwrap_err(),
        a.precision_recall(&b, 3).unwrap_err(),
        a.inception_score(1).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
    let none = ImageFeatures::new(&one, ImageRange::MinusOneToOne);
    assert!(matches!(none.points(), Err(Error::Empty)));
    assert!(matches!(
        moments(&one, &[]).frechet_distance(&moments(&one, &[])),
        Err(Error::Empty)
    ));
}

#[test]
fn scores_and_distances_are_those_of_the_features_and_say_how_many_there_were() {
    let extractor = Colours::new("logits, 3");
    let (x, y) = (images(40, 0.0, 5), images(30, 0.3, 6));
    let (a, b) = (features(&extractor, &x), features(&extractor, &y));
    let draw = || ChaCha8Rng::seed_from_u64(7);
    let kernel = a.kernel_distance(&b, 3, 20, &mut draw()).unwrap();
    let exact = kernel_distance_of_subsets(&a.points().unwrap(), &b.points().unwrap(), 3, 20, &mut draw());
    assert_eq!(kernel.value, exact.unwrap());
    assert_eq!(
        kernel.sides.iter().map(|side| side.count).collect::<Vec<_>>(),
        [Some(40), Some(30)]
    );
    let near = a.precision_recall(&a, 3).unwrap();
    assert_eq!((near.value.precision, near.value.coverage), (1.0, 1.0));
    let score = a.inception_score(4).unwrap();
    assert_eq!((score.value.splits.len(), score.sides.len()), (4, 1));
    assert!(score.value.score > 1.0 && score.value.score < 1.1);
}

#[test]
fn saved_statistics_are_a_reference_whose_file_is_named() {
    let extractor = Colours::new("means, 3");
    let x = moments(&extractor, &[images(40, 0.0, 8)]);
    let path = std::env::temp_dir().join(format!("tallow-metrics-reference-{}.npz", std::process::id()));
    x.moments().unwrap().write_npz(&path).unwrap();
    let mut reference = ImageMoments::read_npz(&path, extractor.0.clone()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let found = x.frechet_distance(&reference).unwrap();
    assert!(found.value.distance_squared.abs() < 1e-12);
    assert_eq!((found.sides[1].count, found.sides[1].range), (Some(40), None));
    assert_eq!(
        found.sides[1].statistics_sha256.as_ref().map(String::len),
        Some(64)
    );
    assert!(reference.push(&extractor, &images(2, 0.0, 9)).is_err());
}
