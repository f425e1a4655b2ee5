//! Where a symlink leads, through other symlinks.

use std::borrow::Cow;

/// Steps that the links of one tree may take together.
pub const STEPS: usize = 2_000_000;

/// Symlinks that the kernel follows before it gives up (`ELOOP`).
const HOPS: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    Inside,
    Outside,
    /// The steps are used up.
    TooFar,
}

/// Where the symlink at `path` leads. `symlink` gives the target of a path that is one. What is not
/// there counts as a directory; a loop leads nowhere, hence not outside.
pub fn leads<'t>(
    path: &[u8],
    target: &[u8],
    symlink: &impl Fn(&[u8]) -> Option<Cow<'t, [u8]>>,
    steps: &mut usize,
) -> Leads {
    if target.starts_with(b"/") {
        return Leads::Outside;
    }
    let mut at = path.to_vec();
    pop(&mut at);
    // Parts that are still to be walked, the next one last.
    let mut ahead = parts(&Cow::Borrowed(target));
    let mut hops = 0;
    while let Some(part) = ahead.pop() {
        if *steps == 0 {
            return Leads::TooFar;
        }
        *steps -= 1;
        match &*part {
            b"" | b"." => {}
            b".." if at.is_empty() => return Leads::Outside,
            b".." => pop(&mut at),
            name => {
                push(&mut at, name);
                if let Some(target) = symlink(&at) {
                    if target.starts_with(b"/") {
                        return Leads::Outside;
                    }
                    hops += 1;
                    if hops > HOPS {
                        return Leads::Inside;
                    }
                    pop(&mut at);
                    ahead.extend(parts(&target));
                }
            }
        }
    }
    Leads::Inside
}

fn parts<'t>(target: &Cow<'t, [u8]>) -> Vec<Cow<'t, [u8]>> {
    let slash = |byte: &u8| *byte == b'/';
    match target {
        Cow::Borrowed(target) => target.split(slash).rev().map(Cow::Borrowed).collect(),
        Cow::Owned(target) => target.split(slash).rev().map(|part| Cow::Owned(part.to_vec())).collect(),
    }
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn pop(path: &mut Vec<u8>) {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.truncate(end);
}
