//! A guest's receipt: what it was given, what it used, what it was refused. Names, never values of
//! variables; all text of the guest's own is masked.

use super::{Chain, guest::directories};
use crate::{
    domain::{
        Digest, Verdict, limits,
        network::{self, Reached},
    },
    protocol::{Denial, DenialKind, GuestClock, GuestPhase, GuestRandom, HostUse, Input, Produced, Receipt, Variable},
    runner::{wasi::job::Told, workload},
};

impl Chain {
    /// What the guest is given, as the receipt lists it: names, never values of variables.
    pub(super) fn inputs(&self, phase: &GuestPhase) -> Vec<Input> {
        let input = |kind: &str, name: String, detail: String| Input { kind: kind.to_owned(), name, detail };
        let masked = |text: &str| self.tools.masks.mask_text(text);
        let arguments = (1..).zip(&phase.args).map(|(n, arg)| input("argument", n.to_string(), masked(arg)));
        let plain = phase.plain_env.iter().map(|(name, _)| input("variable", name.clone(), "declared".to_owned()));
        let is_named = |variable: &&Variable| phase.named_env().any(|name| *name == variable.name);
        let named = self.spec.secrets.variables.iter().filter(is_named);
        let named = named.map(|variable| {
            let detail = if variable.sensitive { "sensitive" } else { "of the stack" };
            input("variable", variable.name.to_string(), detail.to_owned())
        });
        let shown = directories(phase).into_iter().map(|directory| {
            let detail = if directory.writable { "write" } else { "read" };
            input("directory", directory.path, detail.to_owned())
        });
        let clock = match phase.grants.clock {
            GuestClock::Frozen => "frozen",
            GuestClock::Real => "real",
        };
        let random = match phase.grants.random {
            GuestRandom::Seeded => "seeded",
            GuestRandom::Real => "real",
        };
        let rest =
            [("clock", clock), ("random", random)].map(|(kind, name)| input(kind, name.to_owned(), String::new()));
        let hosts = phase.grants.network.iter().map(|host| input("host", host.clone(), "http".to_owned()));
        let door = self.workload_door().map(|_| {
            input("host", format!("localhost:{}", workload::PORT), "tokens and tasks, as authorized".to_owned())
        });
        let headers = phase.grants.headers.iter();
        let headers =
            headers.map(|grant| input("header", grant.host.clone(), format!("{}: {}", grant.header, grant.secret)));
        arguments.chain(plain).chain(named).chain(shown).chain(rest).chain(hosts).chain(door).chain(headers).collect()
    }

    /// What the engine told, and what the gateway saw.
    pub(super) fn note_used(&self, receipt: &mut Receipt, told: Option<Told>, network: &Produced) {
        let masked = |text: &str| self.tools.masks.mask_text(text);
        let mut denials: Vec<Denial> = network.denials.iter().map(|denial| refused(denial, masked)).collect();
        if let Some(told) = told {
            receipt.fuel_used = Some(told.fuel_used);
            receipt.peak_memory_bytes = Some(told.peak_memory_bytes);
            receipt.wall_ms = told.wall_ms;
            receipt.output_bytes = told.output_bytes;
            receipt.denials_dropped = told.denials_dropped;
            denials.extend(told.denials);
        }
        receipt.denials_dropped += denials.len().saturating_sub(limits::DENIALS) as u64;
        denials.truncate(limits::DENIALS);
        receipt.denials = denials;
        receipt.hosts = network.hosts.iter().map(|reached| used(reached, masked)).collect();
    }
}

/// Of a guest that was not started.
pub(super) fn empty(phase: &GuestPhase, guest_digest: Digest, inputs: Vec<Input>) -> Receipt {
    Receipt {
        guest_digest,
        inputs,
        caps: phase.caps,
        fuel_used: None,
        peak_memory_bytes: None,
        wall_ms: 0,
        cpu_ms: None,
        output_bytes: 0,
        files_written: 0,
        hosts: Vec::new(),
        denials: Vec::new(),
        denials_dropped: 0,
        verdict: Verdict::Stopped,
    }
}

fn refused(denial: &network::Denial, masked: impl Fn(&str) -> String) -> Denial {
    let tried = masked(&format!("{}: {}", denial.tried, denial.reason));
    Denial { kind: DenialKind::Http, tried, count: denial.count }
}

fn used(reached: &Reached, masked: impl Fn(&str) -> String) -> HostUse {
    let host = masked(&reached.host);
    let host = if reached.port == 0 { host } else { format!("{host}:{}", reached.port) };
    HostUse { host, requests: reached.requests, bytes_sent: reached.bytes_out, bytes_received: reached.bytes_in }
}
