//! How a guest ended, and what it used.

use std::path::Path;

use serde_json::{Value, json};

use super::trial::Ended;
use crate::{
    cli::{clean, output::span},
    domain::verdict::bytes,
    protocol::Receipt,
};

/// The verdict, the receipt, what it left, what it printed.
pub fn as_json(ended: &Ended) -> Value {
    json!({
        "verdict": ended.verdict,
        "receipt": ended.produced.receipt,
        "artifacts": ended.produced.artifacts,
        "patch": ended.patch,
        "warnings": ended.produced.warnings,
        "log": ended.log,
    })
}

/// The same for people, without what it printed.
pub fn as_text(ended: &Ended, saved: Option<&Path>) -> String {
    let mut lines = vec![format!("-- {}", clean::lines(&ended.verdict.to_string()))];
    if let Some(receipt) = ended.produced.receipt.as_deref() {
        used(receipt, &mut lines);
    }
    for artifact in &ended.produced.artifacts {
        lines.push(format!("   artifact   {} ({})", clean::lines(&artifact.path), bytes(artifact.bytes)));
    }
    if let Some(patch) = ended.produced.patch {
        let (added, changed, deleted) = (patch.added, patch.changed, patch.deleted);
        lines.push(format!("   patch      {added} added, {changed} changed, {deleted} deleted"));
    }
    let leaves = ended.patch.is_some() || !ended.produced.artifacts.is_empty();
    match saved {
        Some(dir) if leaves => lines.push(format!("   saved to   {}", dir.display())),
        None if leaves => lines.push("   nothing of this is kept: --save DIR keeps it".to_owned()),
        Some(_) | None => {}
    }
    lines.extend(ended.produced.warnings.iter().map(|warning| format!("   warning    {}", clean::lines(warning))));
    lines.join("\n")
}

fn used(receipt: &Receipt, lines: &mut Vec<String>) {
    let unknown = || "unknown".to_owned();
    let fuel = receipt.fuel_used.map_or_else(unknown, |fuel| fuel.to_string());
    let memory = receipt.peak_memory_bytes.map_or_else(unknown, bytes);
    lines.push(format!("   guest      {}", receipt.guest_digest));
    lines.push(format!("   fuel       {fuel} of {}", receipt.caps.fuel));
    lines.push(format!("   memory     {memory} of {}", bytes(receipt.caps.memory_bytes)));
    lines.push(format!("   time       {} of {} s", span(receipt.wall_ms), receipt.caps.wall_seconds));
    lines.push(format!("   output     {} of {}", bytes(receipt.output_bytes), bytes(receipt.caps.output_bytes)));
    lines.push(format!("   files      {} of {}", receipt.files_written, receipt.caps.files));
    for host in &receipt.hosts {
        let (sent, received) = (bytes(host.bytes_sent), bytes(host.bytes_received));
        let name = clean::lines(&host.host);
        lines.push(format!("   host       {name}: {} requests, {sent} sent, {received} received", host.requests));
    }
    for denial in &receipt.denials {
        lines.push(format!("   refused    {} ({}×)", clean::lines(&denial.tried), denial.count));
    }
    if receipt.denials_dropped > 0 {
        lines.push(format!("   refused    {} more", receipt.denials_dropped));
    }
}
