//! As much of Terraform's language as it takes to find a backend.
