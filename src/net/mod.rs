//! net

pub mod codec;
pub mod frame;
