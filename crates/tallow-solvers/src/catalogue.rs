//! Every solver by name: one line each.

use crate::ddpm::DdpmVariance;
use crate::exponential::{Form, Variant};
use crate::pndm::PndmStart;
use crate::rk4::Rk4Rule;
use crate::sde_dpmpp::SdeOrder;
use crate::{
    AdamsBashforth, Churned, Corrected, Ddim, Ddpm, Deis, Dopri5, Dopri5Adaptive, Dpm2, Dpm2Ancestral,
    DpmAdaptive, DpmPair, DpmSolver, DpmSolverMultistep, Dpmpp2m, Dpmpp2sAncestral, Dpmpp3m, DpmppSde, Error,
    Euler, EulerAncestral, EulerMaruyama, FinalStep, Heun, Heun3, Ipndm, Midpoint, Pndm, Restarted, Result,
    Rk4, SaSolver, Sampler, SdeDpmpp, UniPc,
};

/// A solver as tables, command lines and comparisons know it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name, as in files and on command lines.
    pub name: &'static str,
    /// What is claimed of its convergence, and measured.
    pub claim: Claim,
    /// Network evaluations a step (once a multistep method is under way).
    pub evaluations: usize,
    /// What it asks of the model's training.
    pub needs: Needs,
    make: fn() -> Box<dyn Sampler>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// The solver with its defaults.
    #[must_use]
    pub fn sampler(&self) -> Box<dyn Sampler> {
        (self.make)()
    }
}

/// What is claimed of a solver's convergence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim {
    /// The error falls like the step length to this power.
    Order(f64),
    /// Means and variances converge like the step length to this power.
    WeakOrder(f64),
    /// The error follows the tolerance.
    Tolerance,
    /// Nothing.
    None,
}

/// What a solver asks of the way in which a model was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: only the velocity is used, which is right for any coupling and source.
    AnyCoupling,
    /// The score: Gaussian noise, drawn independently of the data.
    IndependentNoise,
}

/// All solvers.
pub const SOLVERS: &[Entry] = &[
    ode("euler", 1.0, 1, || Box::new(Euler::default())),
    ode("heun", 2.0, 2, || Box::new(Heun::default())),
    ode("midpoint", 2.0, 2, || Box::new(Midpoint::default())),
    ode("rk4", 4.0, 4, || Box::new(Rk4::default())),
    ode("rk4_38", 4.0, 4, || {
        Box::new(Rk4 {
            rule: Rk4Rule::ThreeEighths,
            final_step: FinalStep::Denoise,
        })
    }),
    ode("heun3", 3.0, 3, || Box::new(Heun3::default())),
    ode("dopri5", 5.0, 6, || Box::new(Dopri5::default())),
    adaptive("adaptive_dopri5", 6, || Box::new(Dopri5Adaptive::default())),
    adaptive("adaptive_dpm_12", 2, || {
        Box::new(DpmAdaptive {
            pair: DpmPair::OneTwo,
            ..DpmAdaptive::default()
        })
    }),
    adaptive("adaptive_dpm_23", 3, || Box::new(DpmAdaptive::default())),
    ode("ddim", 1.0, 1, || Box::new(Ddim::default())),
    ode("dpm_solver_2", 2.0, 2, || Box::new(DpmSolver::of(Form::Noise, 2))),
    ode("dpm_solver_3", 3.0, 3, || Box::new(DpmSolver::of(Form::Noise, 3))),
    ode("dpmpp_2s", 2.0, 2, || Box::new(DpmSolver::of(Form::Data, 2))),
    ode("dpmpp_3s", 3.0, 3, || Box::new(DpmSolver::of(Form::Data, 3))),
    ode("dpm_solver_2m", 2.0, 1, || Box::new(DpmSolverMultistep::of(2))),
    ode("dpm_solver_3m_published", 2.0, 1, || {
        Box::new(DpmSolverMultistep::of(3))
    }),
    ode("dpmpp_2m", 2.0, 1, || Box::new(Dpmpp2m::default())),
    ode("dpmpp_2m_taylor", 2.0, 1, || {
        Box::new(Dpmpp2m {
            variant: Variant::Taylor,
            ..Dpmpp2m::default()
        })
    }),
    ode("dpmpp_3m", 3.0, 1, || Box::new(Dpmpp3m::default())),
    ode("dpmpp_3m_published", 2.0, 1, || Box::new(Dpmpp3m::published())),
    ode("unip_2", 2.0, 1, || Box::new(UniPc::of(2).uncorrected())),
    ode("unip_3", 3.0, 1, || Box::new(UniPc::of(3).uncorrected())),
    ode("unipc_2", 3.0, 1, || Box::new(UniPc::of(2))),
    ode("unipc_3", 4.0, 1, || Box::new(UniPc::of(3))),
    ode("deis_2", 2.0, 1, || Box::new(Deis::of(2))),
    ode("deis_3", 3.0, 1, || Box::new(Deis::of(3))),
    ode("adams_bashforth_2", 2.0, 1, || Box::new(AdamsBashforth::of(2))),
    ode("adams_bashforth_3", 3.0, 1, || Box::new(AdamsBashforth::of(3))),
    ode("adams_bashforth_4", 4.0, 1, || Box::new(AdamsBashforth::of(4))),
    ode("ipndm", 2.0, 1, || Box::new(Ipndm::default())),
    ode("pndm", 2.0, 1, || {
        Box::new(Pndm {
            start: PndmStart::RungeKutta,
        })
    }),
    ode("plms", 2.0, 1, || {
        Box::new(Pndm {
            start: PndmStart::Mean,
        })
    }),
    sde("ddpm", 1.0, 1, || Box::new(Ddpm::default())),
    sde("ddpm_large", 1.0, 1, || {
        Box::new(Ddpm {
            variance: DdpmVariance::FixedLarge,
        })
    }),
    ode("dpm2", 2.0, 2, || Box::new(Dpm2)),
    sde("euler_ancestral", 1.0, 1, || Box::new(EulerAncestral::default())),
    sde("dpm2_ancestral", 2.0, 2, || Box::new(Dpm2Ancestral::default())),
    sde("dpmpp_2s_ancestral", 2.0, 2, || {
        Box::new(Dpmpp2sAncestral::default())
    }),
    sde("dpmpp_sde", 2.0, 2, || Box::new(DpmppSde::default())),
    sde("sde_dpmpp_1", 1.0, 1, || Box::new(SdeDpmpp::new(SdeOrder::First))),
    sde("sde_dpmpp_2m", 2.0, 1, || Box::new(SdeDpmpp::default())),
    sde("sde_dpmpp_2m_heun", 2.0, 1, || {
        Box::new(SdeDpmpp::new(SdeOrder::SecondTaylor))
    }),
    sde("sde_dpmpp_3m", 2.0, 1, || {
        Box::new(SdeDpmpp::new(SdeOrder::Third))
    }),
    sde("sde_dpmpp_3m_halved", 2.0, 1, || {
        Box::new(SdeDpmpp::new(SdeOrder::ThirdHalved))
    }),
    sde("sa_solver", 2.0, 1, || Box::new(SaSolver::default())),
    sde("euler_maruyama", 1.0, 1, || Box::new(EulerMaruyama)),
    sde("euler_churned", 1.0, 1, || Box::new(Churned::<Euler>::default())),
    sde("heun_churned", 2.0, 2, || Box::new(Churned::<Heun>::default())),
    sde("dpm2_churned", 2.0, 2, || Box::new(Churned::<Dpm2>::default())),
    unclaimed("ddim_langevin", 2, || Box::new(Corrected::<Ddim>::default())),
    unclaimed("euler_maruyama_langevin", 2, || {
        Box::new(Corrected::<EulerMaruyama>::default())
    }),
    unclaimed("heun_restarted", 2, || Box::new(Restarted::<Heun>::default())),
];

/// The solver of a name, with its defaults.
///
/// # Errors
///
/// When no solver has the name; the error tells the nearest one and lists all.
pub fn by_name(name: &str) -> Result<Box<dyn Sampler>> {
    find(name).map(Entry::sampler)
}

/// The entry of a name.
///
/// # Errors
///
/// When no solver has the name; the error tells the nearest one and lists all.
pub fn find(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = SOLVERS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let nearest = SOLVERS
        .iter()
        .map(|entry| entry.name)
        .min_by_key(|known| distance(known, name));
    let known = SOLVERS
        .iter()
        .map(|entry| entry.name)
        .collect::<Vec<_>>()
        .join(", ");
    Err(Error::UnknownName {
        name: name.to_owned(),
        nearest: nearest.unwrap_or_default(),
        known,
    })
}

const fn ode(name: &'static str, order: f64, evaluations: usize, make: fn() -> Box<dyn Sampler>) -> Entry {
    Entry {
        name,
        claim: Claim::Order(order),
        evaluations,
        needs: Needs::AnyCoupling,
        make,
    }
}

const fn sde(name: &'static str, order: f64, evaluations: usize, make: fn() -> Box<dyn Sampler>) -> Entry {
    Entry {
        name,
        claim: Claim::WeakOrder(order),
        evaluations,
        needs: Needs::IndependentNoise,
        make,
    }
}

const fn unclaimed(name: &'static str, evaluations: usize, make: fn() -> Box<dyn Sampler>) -> Entry {
    Entry {
        name,
        claim: Claim::None,
        evaluations,
        needs: Needs::IndependentNoise,
        make,
    }
}

const fn adaptive(name: &'static str, evaluations: usize, make: fn() -> Box<dyn Sampler>) -> Entry {
    Entry {
        name,
        claim: Claim::Tolerance,
        evaluations,
        needs: Needs::AnyCoupling,
        make,
    }
}

/// Letters to insert, delete or replace to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for entry in SOLVERS {
            assert_eq!(SOLVERS.iter().filter(|other| other.name == entry.name).count(), 1);
            assert!(by_name(entry.name).is_ok());
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_told_the_right_spelling() {
        let error = by_name("hune").unwrap_err().to_string();
        assert!(error.contains("did you mean \"heun\""), "{error}");
    }
}
