//! The sets by name, for files and command lines.

use tallow_denoisers::Dataset;

use crate::{Checkerboard, Circles, Error, Gaussians, Moons, Pinwheel, Result, SCurve, Spirals, SwissRoll};

type Make = fn() -> Box<dyn Dataset>;

const SETS: [(&str, Make); 10] = [
    ("checkerboard", || Box::new(Checkerboard::new())),
    ("circles", || Box::new(Circles::new())),
    ("gaussians", || Box::new(Gaussians::eight())),
    ("moons", || Box::new(Moons::new())),
    ("moons_flow_matching", || Box::new(Moons::flow_matching())),
    ("pinwheel", || Box::new(Pinwheel::new())),
    ("s_curve", || Box::new(SCurve::new())),
    ("spirals", || Box::new(Spirals::new())),
    ("swiss_roll", || Box::new(SwissRoll::new())),
    ("swiss_roll_course", || Box::new(SwissRoll::course())),
];

/// The names that [`by_name`] knows, in alphabetical order.
pub const NAMES: [&str; SETS.len()] = {
    let mut names = [""; SETS.len()];
    let mut i = 0;
    while i < SETS.len() {
        names[i] = SETS[i].0;
        i += 1;
    }
    names
};

/// The set of a name, as its constructor without arguments makes it. All of them are planar.
///
/// ```
/// assert_eq!(tallow_datasets::by_name("moons")?.item_shape(), [2]);
/// assert!(tallow_datasets::by_name("moon").is_err());
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
///
/// # Errors
///
/// When there is none; the error lists those there are.
pub fn by_name(name: &str) -> Result<Box<dyn Dataset>> {
    let found = SETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| make()).ok_or_else(|| Error::UnknownName {
        name: name.to_owned(),
        known: NAMES.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::draw;

    #[test]
    fn every_name_makes_a_planar_set_and_another_lists_them() {
        for name in NAMES {
            assert_eq!(draw::<2>(by_name(name).unwrap().as_ref(), 10, 1).len(), 10);
        }
        assert!(NAMES.is_sorted());
        let message = by_name("swissroll").unwrap_err().to_string();
        assert!(NAMES.iter().all(|name| message.contains(name)), "{message}");
    }
}
