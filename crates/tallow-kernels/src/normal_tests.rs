//! The laws of the normal and uniform numbers.

use super::*;
use crate::error::Error;

/// SplitMix64, so that the tests need no generator.
fn words(n: usize, mut state: u64) -> Vec<u64> {
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
        .collect()
}

fn normals(bits: &[u64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n];
    normals_from_bits(bits, &mut out).unwrap();
    out
}

#[test]
fn the_logarithm_is_that_of_the_library_to_five_ulps() {
    let extremes = [
        0,
        1,
        2,
        u64::MAX,
        u64::MAX - 4096,
        1 << 63,
        (1 << 63) - 1,
        0xb504_f333_f9de_6484,
    ];
    for word in words(200_000, 1).into_iter().chain(extremes) {
        let u = integer((word >> 11) + 1) * UNIT;
        let (exponent, ratio) = reduced(u);
        let (ours, exact) = (ln_of(exponent, ratio), u.ln());
        assert!(
            (ours - exact).abs() <= 1.1e-15 * exact.abs(),
            "ln {u}: {ours} against {exact}"
        );
    }
    assert_eq!(reduced(1.0), (0.0, 0.0));
}

#[test]
fn the_circle_is_that_of_the_library_to_some_ulps() {
    let quarters = (0..8u64).flat_map(|q| [(q << 61), (q << 61) + 2048, (q << 61).wrapping_sub(2048)]);
    for word in words(200_000, 2).into_iter().chain(quarters) {
        let k = word >> 11;
        let (sine, cosine) = turn(k);
        // The library's argument is rounded; take the exact quarter off before it, too.
        let quarter = ((k + (1 << 50)) >> 51) as i64;
        let angle = TAU * ((k as i64 - (quarter << 51)) as f64 * UNIT);
        let (s, c) = angle.sin_cos();
        let (s, c) = [(s, c), (c, -s), (-s, -c), (-c, s)][(quarter & 3) as usize];
        assert!(
            (sine - s).abs() <= 5e-16 * s.abs(),
            "sine of {k}: {sine} against {s}"
        );
        assert!(
            (cosine - c).abs() <= 5e-16 * c.abs(),
            "cosine of {k}: {cosine} against {c}"
        );
    }
}

#[test]
fn known_words_give_the_values_of_the_formula() {
    // u₁ = 1/2, u₂ = 0: (√(2 ln 2), 0). u₁ = e-fold free: u₁ = 1/4, u₂ = 1/8: √(2 ln 4)/√2 twice.
    let half = (1u64 << 63) - (1 << 11);
    let quarter = (1u64 << 62) - (1 << 11);
    let out = normals(&[half, 0, quarter, 1 << 61], 4);
    let radius = (2.0 * LN_2).sqrt();
    let wanted = [radius, 0.0, radius, radius];
    for (ours, wanted) in out.iter().zip(wanted) {
        assert!((ours - wanted).abs() < 1e-15, "{ours} against {wanted}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for n in [0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 1000, 4097] {
        let bits = words(n + n % 2, 3);
        let mut reference = vec![0.0; n];
        normals_from_bits_on(Path::available()[0], &bits, &mut reference).unwrap();
        for path in Path::available() {
            let mut out = vec![0.0; n];
            normals_from_bits_on(path, &bits, &mut out).unwrap();
            let same = out
                .iter()
                .zip(&reference)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} differs at length {n}", path.name());
        }
    }
}

#[test]
fn bits_stay_what_they_were_when_published() {
    // FNV-1a over the bits of 4096 values: a change of any of them is a change of every seeded result.
    let hash = normals(&words(4096, 4), 4096)
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
            value
                .to_bits()
                .to_le_bytes()
                .iter()
                .fold(hash, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        });
    assert_eq!(hash, 0x6fba_d3b1_147f_189b, "{hash:#x}");
}

#[test]
fn a_prefix_does_not_depend_on_the_length() {
    let bits = words(100, 5);
    let all = normals(&bits, 100);
    for n in [1, 2, 3, 33, 64, 99] {
        assert_eq!(normals(&bits[..n + n % 2], n), all[..n]);
    }
}

#[test]
fn moments_are_those_of_the_normal_distribution() {
    let n = 1 << 20;
    let values = normals(&words(n, 6), n);
    // Standard errors: 1/√n = 9.8e-4 times 1, √2, √15, √96. Bounds are five of them.
    for (power, wanted, bound) in [(1, 0.0, 0.005), (2, 1.0, 0.007), (3, 0.0, 0.019), (4, 3.0, 0.048)] {
        let moment = values.iter().map(|z| z.powi(power)).sum::<f64>() / n as f64;
        assert!((moment - wanted).abs() < bound, "moment {power}: {moment}");
    }
    let tail = values.iter().filter(|z| z.abs() > 3.0).count() as f64 / n as f64;
    assert!((tail - 0.0027).abs() < 2.6e-4, "beyond three deviations: {tail}");
    let product = values.chunks_exact(2).map(|p| p[0] * p[1]).sum::<f64>() / (n / 2) as f64;
    assert!(product.abs() < 0.007, "correlation in a pair: {product}");
}

#[test]
fn extreme_words_give_finite_values_and_the_known_tail() {
    let out = normals(&[0, 0, u64::MAX, u64::MAX, 0, u64::MAX, u64::MAX, 0], 8);
    assert!(out.iter().all(|z| z.is_finite()));
    assert!((out[0] - (2.0 * 53.0 * LN_2).sqrt()).abs() < 1e-14);
    assert_eq!(out[2].abs(), 0.0);
}

#[test]
fn bytes_give_the_values_of_their_words_in_both_types_on_any_number_of_threads() {
    for n in [0, 1, 31, 100_001] {
        let bits = words(n + n % 2, 7);
        let bytes: Vec<u8> = bits.iter().flat_map(|word| word.to_le_bytes()).collect();
        let wanted = normals(&bits, n);
        for threads in [1, 2] {
            let (mut wide, mut narrow) = (vec![0.0f64; n], vec![0.0f32; n]);
            crate::parallel::on_threads(threads, || {
                normals_from_bytes(&bytes, &mut wide).unwrap();
                normals_from_bytes(&bytes, &mut narrow).unwrap();
            });
            assert_eq!(wide, wanted);
            assert!(narrow.iter().zip(&wanted).all(|(a, b)| *a == *b as f32));
        }
    }
    assert!(normals_from_bytes(&[0; 8], &mut [0.0f32]).is_err());
}

#[test]
fn uniforms_are_the_upper_53_bits() {
    let mut out = [0.0; 3];
    uniforms_from_bits(&[0, u64::MAX, 1 << 63], &mut out).unwrap();
    assert_eq!(out, [0.0, 1.0 - UNIT, 0.5]);
}

#[test]
fn a_wrong_number_of_words_is_refused() {
    let error = normals_from_bits(&[0; 3], &mut [0.0; 3]).unwrap_err();
    assert_eq!(
        error,
        Error::Length {
            name: "bits",
            got: 3,
            wanted: 4
        }
    );
    assert!(uniforms_from_bits(&[0; 4], &mut [0.0; 3]).is_err());
}
