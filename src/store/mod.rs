//! What survives a restart: the database on flash and what lies under it.

#[cfg(test)]
pub mod faults;
#[cfg(test)]
pub mod folder;
#[cfg(test)]
pub mod power;
pub mod vfs;
