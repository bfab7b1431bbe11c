//! The schedulers of diffusers that are read, and where they differ before their first step.

/// A scheduler class of diffusers. Its update rule is a solver's business; here it decides defaults and which steps are
/// visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchedulerClass {
    /// `DDPMScheduler`.
    Ddpm,
    /// `DDIMScheduler`.
    Ddim,
    /// `PNDMScheduler`.
    Pndm,
    /// `EulerDiscreteScheduler`.
    Euler,
    /// `EulerAncestralDiscreteScheduler`.
    EulerAncestral,
    /// `HeunDiscreteScheduler`.
    Heun,
    /// `LMSDiscreteScheduler`.
    Lms,
    /// `KDPM2DiscreteScheduler`.
    Dpm2,
    /// `KDPM2AncestralDiscreteScheduler`.
    Dpm2Ancestral,
    /// `DPMSolverMultistepScheduler`.
    DpmSolverMultistep,
    /// `DPMSolverSinglestepScheduler`.
    DpmSolverSinglestep,
    /// `UniPCMultistepScheduler`.
    UniPc,
    /// `DEISMultistepScheduler`.
    Deis,
    /// `FlowMatchEulerDiscreteScheduler`.
    FlowMatchEuler,
}

/// How a class counts the steps that it visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// N whole entries of the table.
    Entries,
    /// N places, between entries where they are evenly spread.
    Places,
    /// N + 1 whole entries, the data's end left out.
    OneMore,
}

impl SchedulerClass {
    /// Every class that is read.
    pub const ALL: [Self; 14] = [
        Self::Ddpm,
        Self::Ddim,
        Self::Pndm,
        Self::Euler,
        Self::EulerAncestral,
        Self::Heun,
        Self::Lms,
        Self::Dpm2,
        Self::Dpm2Ancestral,
        Self::DpmSolverMultistep,
        Self::DpmSolverSinglestep,
        Self::UniPc,
        Self::Deis,
        Self::FlowMatchEuler,
    ];

    /// The name in `scheduler_config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddpm => "DDPMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Heun => "HeunDiscreteScheduler",
            Self::Lms => "LMSDiscreteScheduler",
            Self::Dpm2 => "KDPM2DiscreteScheduler",
            Self::Dpm2Ancestral => "KDPM2AncestralDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::DpmSolverSinglestep => "DPMSolverSinglestepScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
            Self::Deis => "DEISMultistepScheduler",
            Self::FlowMatchEuler => "FlowMatchEulerDiscreteScheduler",
        }
    }

    /// The class of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    pub(super) fn counting(self) -> Counting {
        match self {
            Self::Ddpm | Self::Ddim | Self::Pndm => Counting::Entries,
            Self::DpmSolverMultistep | Self::DpmSolverSinglestep | Self::UniPc | Self::Deis => {
                Counting::OneMore
            }
            _ => Counting::Places,
        }
    }

    /// β of the first and of the last step, where the configuration does not say.
    pub(super) fn default_betas(self) -> (f64, f64) {
        match self {
            Self::Heun | Self::Dpm2 | Self::Dpm2Ancestral => (0.00085, 0.012),
            _ => (0.0001, 0.02),
        }
    }
}

/// Every argument of every class: a configuration that served another class keeps that one's keys, and the update rules
/// have keys of their own.
pub(super) const KEYS: [&str; 67] = [
    "algorithm_type",
    "base_image_seq_len",
    "base_shift",
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "invert_sigmas",
    "lambda_min_clipped",
    "lower_order_final",
    "max_image_seq_len",
    "max_shift",
    "num_train_timesteps",
    "predict_x0",
    "prediction_type",
    "rescale_betas_zero_snr",
    "sample_max_value",
    "set_alpha_to_one",
    "shift",
    "shift_terminal",
    "sigma_max",
    "sigma_min",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "stochastic_sampling",
    "thresholding",
    "time_shift_type",
    "timestep_spacing",
    "timestep_type",
    "trained_betas",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
    // Older versions and other classes whose configurations were converted.
    "clip_sample_max",
    "eta",
    "original_inference_steps",
    "timestep_scaling",
    "s_churn",
    "s_noise",
    "s_tmax",
    "s_tmin",
    "sigma_data",
    "sigma_schedule",
    "rho",
    "sampling_eps",
    "tensor_format",
    "use_clipped_model_output",
    "noise_sampler_seed",
    "snr_shift_scale",
    "corrector_order",
    "predictor_order",
    "tau_func",
    "prior_sampling",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_classes_belong_to_each_other() {
        for class in SchedulerClass::ALL {
            assert_eq!(SchedulerClass::of_name(class.name()), Some(class));
        }
        assert_eq!(SchedulerClass::of_name("EDMEulerScheduler"), None);
    }
}
