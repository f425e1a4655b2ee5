//! The pages, over real sockets: a real server, a real store, real runs; requests as browsers send
//! them, HTML asserted by selector.

use crate::gallery::checks;

mod contexts;
mod doors;
mod forms;
mod lists;
mod live;
mod reach;
pub mod rig;
mod runs;
