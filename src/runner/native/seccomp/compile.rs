//! From the table to a program for the kernel.
//!
//! Numbers with the same answer are merged into ranges, and the ranges become a binary decision tree:
//! the kernel tries every number when the filter is installed, and a long chain of comparisons would
//! cost each jail a tenth of a millisecond.

use super::{Action, Check, table};

/// `offsetof(struct seccomp_data, …)`
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

/// From here on numbers are x32 calls: 32-bit pointers on x86_64, long unused, a doubled surface.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The filter of every jail.
pub(in super::super) fn compile() -> Vec<libc::sock_filter> {
    let mut program = vec![instruction(LOAD, ARCHITECTURE), jump(IF_EQUAL, THIS_ARCHITECTURE, 1, 0)];
    answer(Action::Kill, &mut program);
    program.push(instruction(LOAD, NUMBER));
    #[cfg(target_arch = "x86_64")]
    {
        program.push(jump(IF_AT_LEAST, X32, 0, 1));
        answer(Action::Kill, &mut program);
    }
    decide(&ranges(), &mut program);
    program
}

/// From this number up to the next range's.
struct Range {
    from: u32,
    action: Action,
}

fn ranges() -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for (number, action) in table::actions() {
        if ranges.last().is_none_or(|last| last.action != action) {
            ranges.push(Range { from: number, action });
        }
    }
    ranges
}

/// The accumulator holds the number. Every path ends in a return.
fn decide(ranges: &[Range], program: &mut Vec<libc::sock_filter>) {
    if let [only] = ranges {
        return answer(only.action, program);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let mut below = Vec::new();
    decide(lower, &mut below);
    program.push(jump(IF_AT_LEAST, upper[0].from, below.len(), 0));
    program.append(&mut below);
    decide(upper, program);
}

fn answer(action: Action, program: &mut Vec<libc::sock_filter>) {
    let value = match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Action::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Check(check) => return look(check, program),
    };
    program.push(instruction(RETURN, value));
}

fn look(check: &Check, program: &mut Vec<libc::sock_filter>) {
    // Little-endian on both architectures: the low half comes first.
    program.push(instruction(LOAD, ARGUMENTS + 8 * u32::from(check.argument)));
    program.push(instruction(AND, check.mask));
    let mut otherwise = Vec::new();
    answer(check.otherwise, &mut otherwise);
    for (at, value) in check.values.iter().enumerate() {
        let remaining = check.values.len() - 1 - at;
        program.push(jump(IF_EQUAL, *value, remaining + otherwise.len(), 0));
    }
    program.append(&mut otherwise);
    answer(check.then, program);
}

const fn instruction(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips so many instructions if the comparison holds, or if it does not.
fn jump(code: u16, k: u32, if_true: usize, if_false: usize) -> libc::sock_filter {
    let offset = |n: usize| u8::try_from(n).expect("the table is fixed and a test compiles it");
    libc::sock_filter { code, jt: offset(if_true), jf: offset(if_false), k }
}
