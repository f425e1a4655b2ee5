//! Scripts in real shells, plans of a real Terraform.

pub mod rig;
mod scripts;
mod terraform;
