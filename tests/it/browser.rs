//! The product in a real browser: Chromium through its driver, the real binary behind it.

mod guests;
mod pictures;
mod reviews;
mod rig;
mod run_tasks;
mod with_scripts;
mod without_scripts;
mod workbench;
