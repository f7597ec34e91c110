//! The broker in virtual time: each test says what clients do, lets time pass and looks at what they got.
//!
//! `world` is the stage: it records the effects, and after every input it compares what the store operations add up to
//! (`store`) with what the broker holds. The other files are tests by theme; `simulation` is random.

mod connect;
mod delivery;
mod lifetime;
mod memory;
mod publish;
mod restart;
mod retained;
mod share;
mod simulation;
mod store;
mod subscribe;
mod sys;
mod will;
mod world;
