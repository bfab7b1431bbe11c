//! A case's rule: its name and options, of which none is passed over.

use super::{Fields, Obstacle};

/// Refuses options that are not among `known`; `rule` and `name`, its words and its name, always are.
pub(super) fn only(rule: &Fields<'_>, known: &[&str]) -> Result<(), Obstacle> {
    let named = |option: &str| ["rule", "name"].contains(&option) || known.contains(&option);
    let options = rule.value().as_object().into_iter().flatten();
    // An option that is off is as good as none.
    let strange = options.filter(|(option, value)| !named(option) && !value.is_null() && **value != false);
    match strange.map(|(option, _)| option.as_str()).next() {
        None => Ok(()),
        Some(option) => Err(Obstacle::Unsupported(format!(
            "the option {option:?} of {} is not known",
            rule.place()
        ))),
    }
}

/// Whether an option is on.
pub(super) fn flag(rule: &Fields<'_>, name: &str, otherwise: bool) -> Result<bool, Obstacle> {
    if !rule.has(name) {
        return Ok(otherwise);
    }
    let value = rule.value().get(name).and_then(serde_json::Value::as_bool);
    value.ok_or_else(|| Obstacle::Wrong(format!("{name:?} of {} should be true or false", rule.place())))
}

/// The library refuses the input.
pub(super) fn refused(error: impl std::fmt::Display) -> Obstacle {
    Obstacle::Wrong(format!("refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_that_are_not_known_are_named_unless_they_are_off() {
        let rule = json!({"name": "adam", "rule": "…", "lr": 0.1, "amsgrad": true, "maximize": false});
        let fields = Fields::of_case(&rule, 0);
        let Err(Obstacle::Unsupported(why)) = only(&fields, &["lr"]) else {
            panic!("passed")
        };
        assert!(why.contains("amsgrad"), "{why}");
        assert_eq!(only(&fields, &["lr", "amsgrad"]), Ok(()));
        assert_eq!(flag(&fields, "amsgrad", false), Ok(true));
        assert_eq!(flag(&fields, "nesterov", false), Ok(false));
        assert!(flag(&fields, "lr", false).is_err());
    }
}
