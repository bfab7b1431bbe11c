use super::*;

#[test]
fn every_name_builds_a_path() {
    for name in NamedSchedule::NAMES {
        let path = NamedSchedule::from_name(name).unwrap().build().unwrap();
        assert!(path.lambda(0.5).is_finite(), "{name}");
    }
}

#[test]
fn an_unknown_name_is_told_its_nearest_and_all_others() {
    for (name, want) in [
        ("vp_linaer", "vp_linear"),
        ("cosine", "vp_cosine"),
        ("linear-flow", "linear_flow"),
    ] {
        let message = NamedSchedule::from_name(name).unwrap_err().to_string();
        assert!(
            message.contains(&format!("nearest is \"{want}\"")) && message.contains("sub_vp, "),
            "{message}"
        );
    }
    assert!(NamedSchedule::from_name("").is_err());
}

#[test]
fn spelling_distance_counts_single_letters() {
    assert_eq!(
        [
            edits("abc", "abc"),
            edits("abc", "abd"),
            edits("", "abc"),
            edits("kitten", "sitting")
        ],
        [0, 1, 3, 3]
    );
}

#[test]
fn bad_parameters_are_refused_when_built() {
    assert!(
        NamedSchedule::VpLinear {
            beta_0: f64::NAN,
            beta_1: 20.0
        }
        .build()
        .is_err()
    );
    let base = Box::new(NamedSchedule::Trigonometric);
    let message = NamedSchedule::ZeroTerminalSnr { base }
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("Trigonometric is a continuous path"),
        "{message}"
    );
}

#[cfg(feature = "serde")]
#[test]
fn files_name_paths_as_the_reference_format_does() {
    let read = |text: &str| serde_json::from_str::<NamedSchedule>(text);
    assert_eq!(
        read(r#"{"name": "edm"}"#).unwrap(),
        NamedSchedule::Edm { t_max: 80.0 }
    );
    assert_eq!(
        read(r#"{"name": "polynomial", "n": 3}"#).unwrap(),
        NamedSchedule::Polynomial { n: 3.0 }
    );
    let table = NamedSchedule::from_name("zero_terminal_snr").unwrap();
    assert_eq!(read(&serde_json::to_string(&table).unwrap()).unwrap(), table);
    assert!(
        read(r#"{"name": "vp_lin"}"#)
            .unwrap_err()
            .to_string()
            .contains("vp_linear")
    );
    assert!(
        read(r#"{"name": "vp_linear"}"#)
            .unwrap_err()
            .to_string()
            .contains("beta_0")
    );
}
