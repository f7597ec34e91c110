//! Statements that 3.1.1 and 5.0 share, a file a chapter. `closed_because` knows that only 5.0 tells a reason.

mod choices;
mod connect;
mod format;
mod order;
mod publish;
mod qos;
mod subscribe;
mod topic;
mod will;
