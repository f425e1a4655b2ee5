//! The doorbell: how far things are, kept for whoever listens on `control.sock`.

use tokio::sync::watch;

use crate::protocol::Bell;

/// Rings; cheap to clone. Several rings before anybody looked are one.
#[derive(Clone, Debug)]
pub struct Bells(watch::Sender<Bell>);

impl Bells {
    pub fn new() -> (Self, watch::Receiver<Bell>) {
        let (sender, receiver) = watch::channel(Bell::default());
        (Self(sender), receiver)
    }

    /// The records grew; with `phase`, a phase began.
    pub fn recorded(&self, bytes: u64, phase: Option<u32>) {
        self.0.send_modify(|bell| {
            bell.records = bytes;
            if let Some(phase) = phase {
                (bell.phase, bell.log) = (phase, 0);
            }
        });
    }

    /// The present phase's log grew to so many bytes.
    pub fn logged(&self, bytes: u64) {
        self.0.send_if_modified(|bell| {
            let grew = bell.log != bytes;
            bell.log = bytes;
            grew
        });
    }
}
