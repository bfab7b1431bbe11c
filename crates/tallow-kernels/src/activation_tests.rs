use super::*;

/// y and dy/dz by the library's functions, written as the definitions.
fn exact(activation: Activation, z: f64) -> (f64, f64) {
    let s = |z: f64| {
        if z < 0.0 {
            z.exp() / (1.0 + z.exp())
        } else {
            1.0 / (1.0 + (-z).exp())
        }
    };
    match activation {
        Activation::Identity => (z, 1.0),
        Activation::Relu => (z.max(0.0), if z > 0.0 { 1.0 } else { 0.0 }),
        Activation::Silu => (z * s(z), s(z) * (1.0 + z * s(-z))),
        Activation::Gelu => {
            let c = (2.0 / std::f64::consts::PI).sqrt();
            let (u, du) = (c * (z + 0.044715 * z.powi(3)), c * (1.0 + 3.0 * 0.044715 * z * z));
            (
                z * s(2.0 * u),
                s(2.0 * u) + z * s(2.0 * u) * s(-2.0 * u) * 2.0 * du,
            )
        }
        Activation::GeluErf => {
            let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let below = crate::gaussian::exact(z);
            (z * below, below + z * density)
        }
        Activation::Selu => {
            let (scale, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
            if z > 0.0 {
                (scale * z, scale)
            } else {
                (scale * alpha * z.exp_m1(), scale * alpha * z.exp())
            }
        }
        Activation::Sigmoid => (s(z), s(z) * s(-z)),
        Activation::Tanh => (z.tanh(), 1.0 / z.cosh().powi(2)),
    }
}

fn largest_error<T: Float>(activation: Activation, path: Path, zs: &[T]) -> (f64, f64) {
    let mut values = zs.to_vec();
    let mut slopes = zs.to_vec();
    activation
        .apply_on(path, zs, &mut values, Some(&mut slopes))
        .unwrap();
    let (mut value_error, mut slope_error) = (0.0f64, 0.0f64);
    for ((z, y), slope) in zs.iter().zip(values).zip(slopes) {
        let (wanted, wanted_slope) = exact(activation, z.to_f64());
        // Where SiLU and GELU turn, their slope crosses 0: relative to at least 1/20 there.
        let scale = wanted_slope
            .abs()
            .max(if wanted_slope > -0.2 && z.to_f64() > -4.0 {
                0.05
            } else {
                0.0
            });
        value_error = value_error.max((y.to_f64() - wanted).abs() / wanted.abs().max(1e-30));
        slope_error = slope_error.max((slope.to_f64() - wanted_slope).abs() / scale.max(1e-30));
    }
    (value_error, slope_error)
}

#[test]
fn values_and_slopes_are_those_of_the_definition_on_every_path() {
    let f32s: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 1e-3 + 1.3e-4).collect();
    let f64s: Vec<f64> = (-4000..=4000).map(|i| i as f64 * 1e-3 + 1.3e-4).collect();
    for activation in Activation::ALL {
        for path in Path::available() {
            let loose = match activation {
                // The exponent 2u of GELU carries its own rounding, up to 9 half ulps of it at |z| = 4.
                Activation::Gelu => 8.0,
                // Likewise z²/2 where the processor does not fuse.
                Activation::GeluErf => 2.0,
                _ => 1.0,
            };
            let (value, slope) = largest_error(activation, path, &f32s);
            assert!(
                value <= 5e-7 * loose,
                "{activation:?} f32 {}: {value:e}",
                path.name()
            );
            assert!(
                slope <= 1e-6 * loose,
                "{activation:?} f32 slope {}: {slope:e}",
                path.name()
            );
            let (value, slope) = largest_error(activation, path, &f64s);
            assert!(value <= 1e-14, "{activation:?} f64 {}: {value:e}", path.name());
            assert!(
                slope <= 1e-14,
                "{activation:?} f64 slope {}: {slope:e}",
                path.name()
            );
        }
    }
}

#[test]
fn far_arguments_saturate_and_nan_stays() {
    for activation in Activation::ALL {
        for path in Path::available() {
            let zs = [-1e30f32, -200.0, 200.0, 1e30, f32::NAN];
            let (mut values, mut slopes) = ([0.0; 5], [0.0; 5]);
            activation
                .apply_on(path, &zs, &mut values, Some(&mut slopes))
                .unwrap();
            for i in 0..4 {
                let (y, slope) = exact(activation, f64::from(zs[i].clamp(-600.0, 600.0)));
                let y = if zs[i].abs() > 600.0 && y.abs() > 500.0 {
                    y / 600.0 * 1e30
                } else {
                    y
                };
                let close = |a: f32, b: f64| (f64::from(a) - b).abs() <= 1e-6 * b.abs() + 1e-30;
                assert!(close(values[i], y), "{activation:?}({}) = {}", zs[i], values[i]);
                assert!(
                    close(slopes[i], slope),
                    "{activation:?}'({}) = {}",
                    zs[i],
                    slopes[i]
                );
            }
            assert!(values[4].is_nan(), "{activation:?} of NaN is {}", values[4]);
        }
    }
}

#[test]
fn an_element_does_not_depend_on_its_place() {
    let zs: Vec<f32> = (0..97).map(|i| i as f32 * 0.11 - 5.0).collect();
    for activation in Activation::ALL {
        let mut all = vec![0.0; 97];
        activation.apply(&zs, &mut all, None).unwrap();
        for i in 0..97 {
            let mut one = [0.0];
            activation.apply(&zs[i..=i], &mut one, None).unwrap();
            assert_eq!(one[0].to_bits(), all[i].to_bits());
        }
    }
}

#[test]
fn slices_of_other_lengths_are_refused() {
    assert!(Activation::Silu.apply(&[0.0f32; 3], &mut [0.0; 2], None).is_err());
    assert!(
        Activation::Silu
            .apply(&[0.0f32; 3], &mut [0.0; 3], Some(&mut [0.0; 4]))
            .is_err()
    );
}
