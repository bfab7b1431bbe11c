//! What parameters a model would have, found by building it without their memory.
//!
//! A model's constructor takes a [`Scope`]; in that of a plan each parameter is a single zero that is repeated. So the
//! sizes of the largest models are known on the smallest machines, and a file is compared with a configuration before
//! anything is read or allocated for it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::{Error, Result};
use crate::parameters::{check_same_shapes, checked_name};
use crate::scope::Scope;
use crate::summary::Summary;

/// The largest number of parameters of a plan: a hundred times those of the deepest models.
const MAX_NAMES: usize = 1 << 16;

/// The names and shapes of a model's parameters, without their values.
///
/// ```
/// use tallow_nn::{Linear, Plan};
///
/// let plan = Plan::new(candle_core::DType::F32, usize::MAX);
/// Linear::new(&plan.scope().at("head"), 1_000_000, 1_000_000)?; // four terabytes of weights, none of them here
/// assert_eq!(plan.count(), 1_000_001_000_000);
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    noted: RwLock<Noted>,
    limit: usize,
    dtype: DType,
}

#[derive(Debug, Default)]
struct Noted {
    shapes: BTreeMap<String, Shape>,
    count: usize,
}

impl Plan {
    /// An empty plan for parameters of a type; building a model of more than `limit` numbers in its scope is refused.
    #[must_use]
    pub fn new(dtype: DType, limit: usize) -> Self {
        Self {
            noted: RwLock::default(),
            limit,
            dtype,
        }
    }

    /// The root scope, for the constructor of a model. The model itself is of no use: all its weights are zero.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        Scope::planning(self)
    }

    /// The type of the parameters.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many numbers would be trained.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read(|noted| noted.count)
    }

    /// The shapes by name.
    #[must_use]
    pub fn shapes(&self) -> BTreeMap<String, Shape> {
        self.read(|noted| noted.shapes.clone())
    }

    /// A table of the parameters: names, shapes, numbers and bytes; prints itself.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let size = self.dtype.size_in_bytes();
        let rows = |noted: &Noted| {
            let shapes = noted.shapes.iter();
            shapes
                .map(|(name, shape)| (name.clone(), shape.clone(), size))
                .collect()
        };
        Summary::new(self.read(rows))
    }

    /// Refuses shapes that are not exactly those of the plan; `what` says whose they are.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference.
    pub fn check(&self, what: &str, shapes: &BTreeMap<String, Shape>) -> Result<()> {
        let got = shapes.iter().map(|(name, shape)| (name.as_str(), shape));
        self.read(|noted| {
            let wanted = noted.shapes.iter().map(|(name, shape)| (name.as_str(), shape));
            check_same_shapes(what, wanted, got)
        })
    }

    /// A parameter of one number for all places.
    pub(crate) fn note(&self, name: String, shape: Shape) -> Result<Tensor> {
        let name = checked_name(name)?;
        let mut noted = self.noted.write().unwrap_or_else(PoisonError::into_inner);
        if noted.shapes.contains_key(&name) {
            return Err(Error::Duplicate { name });
        }
        let own = shape
            .dims()
            .iter()
            .try_fold(1usize, |all, &size| all.checked_mul(size));
        let count = own.and_then(|own| noted.count.checked_add(own));
        let allowed = count.filter(|&count| count <= self.limit && noted.shapes.len() < MAX_NAMES);
        let Some(count) = allowed else {
            let (limit, names) = (self.limit, MAX_NAMES);
            return Err(Error::Limit {
                name,
                shape,
                limit,
                names,
            });
        };
        let tensor = Tensor::zeros((), self.dtype, &Device::Cpu)?.broadcast_as(&shape)?;
        noted.count = count;
        noted.shapes.insert(name, shape);
        Ok(tensor)
    }

    fn read<R>(&self, f: impl FnOnce(&Noted) -> R) -> R {
        f(&self.noted.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Linear, Parameters};

    #[test]
    fn a_plan_has_the_names_and_shapes_of_the_parameters() {
        let plan = Plan::new(DType::F32, 100);
        let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
        for scope in [plan.scope(), parameters.scope()] {
            Linear::new(&scope.at("a"), 4, 3).unwrap();
            Linear::new(&scope.at("b.0"), 3, 5).unwrap();
        }
        assert_eq!(plan.count(), parameters.count());
        let shapes = plan.shapes();
        assert_eq!(shapes.keys().cloned().collect::<Vec<_>>(), parameters.names());
        assert_eq!(plan.summary().to_string(), parameters.summary().to_string());
        assert!(
            parameters
                .named()
                .iter()
                .all(|(name, variable)| shapes[name] == *variable.shape())
        );
        assert!(plan.check("itself", &shapes).is_ok());
    }

    #[test]
    fn differences_are_all_named() {
        let plan = Plan::new(DType::F32, 100);
        Linear::new(&plan.scope().at("a"), 4, 3).unwrap();
        let others = BTreeMap::from([
            ("a.weight".to_string(), Shape::from((4, 3))),
            ("c".to_string(), Shape::from(1)),
        ]);
        let message = plan.check("a file", &others).unwrap_err().to_string();
        for part in [
            "a file",
            "`a.bias` [3] is missing",
            "`a.weight` has shape [4, 3], needed is [3, 4]",
            "`c` [1] is not",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_model_beyond_the_limit_is_refused_whatever_overflows() {
        let plan = Plan::new(DType::F32, 100);
        let scope = plan.scope();
        assert!(scope.parameter("fits", (10, 10), crate::Init::ZEROS).is_ok());
        for shape in [vec![1], vec![usize::MAX, usize::MAX]] {
            let message = scope
                .parameter("large", shape, crate::Init::ZEROS)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("`large`") && message.contains("100"),
                "{message}"
            );
        }
        let endless = Plan::new(DType::F32, usize::MAX);
        let empty = |i: usize| endless.scope().parameter(&i.to_string(), 0, crate::Init::ZEROS);
        assert!((0..MAX_NAMES).all(|i| empty(i).is_ok()) && empty(MAX_NAMES).is_err());
        assert!(matches!(
            scope.parameter("fits", 1, crate::Init::ZEROS),
            Err(Error::Duplicate { .. })
        ));
    }
}
