//! The broker in virtual time: each test says what clients do, lets time pass and looks at what they got.
//!
//! `world` is the stage: it records the effects, and after every input it compares what the store operations add up to
//! (`store`) with what the broker holds. The other files are tests by theme; `simulation` is
//! random, `model` exact and `any_inputs` shameless: these three are also what the fuzz targets of the broker call (`crate::fuzzing`).

// The targets use a part of the stage.
#![cfg_attr(not(test), allow(dead_code, unused_imports))]

pub(crate) mod any_inputs;
#[cfg(test)]
mod bridge;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod dump;
#[cfg(test)]
mod keeper;
#[cfg(test)]
mod lifetime;
#[cfg(test)]
mod memory;
pub(crate) mod model;
#[cfg(test)]
mod publish;
mod restart;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod share;
pub(crate) mod simulation;
mod store;
#[cfg(test)]
mod subscribe;
#[cfg(test)]
mod sys;
#[cfg(test)]
mod tell;
#[cfg(test)]
mod why;
#[cfg(test)]
mod will;
mod world;
