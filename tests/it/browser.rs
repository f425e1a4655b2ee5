//! The product in a real browser: Chromium through its driver, the real binary behind it.

mod contexts;
mod guests;
mod pictures;
mod reviews;
mod rig;
mod run_tasks;
mod webhooks;
mod with_scripts;
mod without_scripts;
mod workbench;
