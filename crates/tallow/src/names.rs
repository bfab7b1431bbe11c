//! The field's names, and where they are: a page without code.
//!
//! # Parts
//!
//! | name | means | type |
//! |---|---|---|
//! | schedule, path, interpolant | α_t and σ_t | [`Schedule`](crate::schedules::Schedule) |
//! | noise level | t, α, σ and their slopes at one time | [`NoiseLevel`](crate::schedules::NoiseLevel) |
//! | λ, half the log-SNR | ln(α/σ) | [`NoiseLevel::lambda`](crate::schedules::NoiseLevel::lambda) |
//! | timesteps, sigmas | the levels that a run visits | [`TimeGrid`](crate::schedules::TimeGrid) |
//! | ε, x₀, v, score, velocity prediction | what a network is asked for | [`Prediction`](crate::schedules::Prediction) |
//! | preconditioning, c_in, c_noise | how a network is called | [`Parameterization`](crate::denoisers::Parameterization) |
//! | denoiser, D(x; σ) | a model whose estimate can be asked at any level | [`Denoiser`](crate::denoisers::Denoiser) |
//! | x̂₀, ε̂, v̂, score | what it answers | [`Estimate`](crate::denoisers::Estimate) |
//! | sampler, scheduler, integrator | takes x from level to level | [`Solver`](crate::solvers::Solver), [`Sampler`](crate::solvers::Sampler) |
//! | NFE | evaluations of the network | [`Sampled`](crate::solvers::Sampled), [`Counted`](crate::denoisers::Counted) |
//! | loss, criterion | what training makes small | [`Objective`](crate::objectives::Objective), [`Regression`](crate::objectives::Regression) |
//! | L_simple, min-SNR, P2 | weights of the loss | [`Weighting`](crate::schedules::Weighting) |
//! | logit-normal, stratified timesteps | how times are drawn in training | [`TimeSampling`](crate::objectives::TimeSampling) |
//! | minibatch OT, pairing | which source goes with which datum | [`Coupling`](crate::objectives::Coupling) |
//! | CFG, autoguidance | a push towards a condition | [`Guided`](crate::denoisers::Guided) |
//! | dynamic thresholding | data estimates held in range | [`Clamped`](crate::denoisers::Clamped) |
//! | EMA | averaged weights to sample with | [`Ema`](crate::nn::Ema), [`PostHocEma`](crate::nn::PostHocEma) |
//!
//! # Methods
//!
//! | name | type |
//! |---|---|
//! | DDPM | [`Regression`](crate::objectives::Regression) with [`Parameterization::ddpm`](crate::denoisers::Parameterization::ddpm); [`Ddpm`](crate::solvers::Ddpm) |
//! | DDIM | [`Ddim`](crate::solvers::Ddim) |
//! | iDDPM, learned variance | [`LearnedRange`](crate::objectives::LearnedRange) |
//! | score SDE: VP, VE, sub-VP | [`VpLinear`](crate::schedules::VpLinear), [`VeGeometric`](crate::schedules::VeGeometric), [`SubVp`](crate::schedules::SubVp) |
//! | EDM | [`Ve`](crate::schedules::Ve), [`Parameterization::edm`](crate::denoisers::Parameterization::edm), [`Churned`](crate::solvers::Churned) |
//! | flow matching, rectified flow | [`RectifiedFlow`](crate::schedules::RectifiedFlow), [`Parameterization::flow_matching`](crate::denoisers::Parameterization::flow_matching) |
//! | OT-CFM, SB-CFM | [`OptimalTransport`](crate::objectives::coupling::OptimalTransport), [`SinkhornCoupling`](crate::objectives::coupling::SinkhornCoupling) |
//! | DPM-Solver, DPM-Solver++ | [`DpmSolver`](crate::solvers::DpmSolver), [`Dpmpp2m`](crate::solvers::Dpmpp2m), [`Dpmpp3m`](crate::solvers::Dpmpp3m) |
//! | SDE-DPM-Solver++ | [`SdeDpmpp`](crate::solvers::SdeDpmpp) |
//! | UniPC, DEIS, PNDM, iPNDM | [`UniPc`](crate::solvers::UniPc), [`Deis`](crate::solvers::Deis), [`Pndm`](crate::solvers::Pndm), [`Ipndm`](crate::solvers::Ipndm) |
//! | RePaint | [`Inpainted`](crate::solvers::Inpainted) |
//! | CFG rescale, APG, CFG-Zero*, CFG++ | [`guidance`](crate::denoisers::guidance) |
//! | FID, KID, inception score, precision and recall | [`metrics`](crate::metrics) |
//! | U-Net, DiT, KL autoencoder | [`UNet`](crate::models::UNet), [`Dit`](crate::models::Dit), [`AutoencoderKl`](crate::models::AutoencoderKl) |
