//! Compiling a guest, in the jailed child: hostile input meets a compiler that nobody promises to
//! be safe from hanging or from taking all memory.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    job::Compiled,
    settings::{self, Purpose},
};
use crate::{
    domain::limits::{COMPILE_MEMORY_BYTES, COMPILE_WALL, GIB, GUEST_CODE_BYTES},
    guest::{self, Form},
};

/// Address space that is never filled: this program itself, and what threads keep for their heaps.
const UNFILLED_BYTES: u64 = 2 * GIB;
/// Threads of the compiler.
const THREADS: u64 = 2;

/// Compiles; what the guest itself is to blame for is said.
pub fn compile(form: Form, module: OwnedFd, code: OwnedFd) -> Compiled {
    match try_to(form, File::from(module), File::from(code)) {
        Ok(()) => Compiled::Done,
        Err(reason) => Compiled::Refused { reason },
    }
}

fn try_to(form: Form, module: File, mut code: File) -> Result<(), String> {
    bound()?;
    let mut bytes = Vec::new();
    module.take(GUEST_CODE_BYTES).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    guest::check(&bytes).map_err(|error| error.to_string())?;
    let said = |error: wasmtime::Error| format!("it cannot be compiled: {error:#}");
    let engine = settings::engine(Purpose::Compile).map_err(said)?;
    let compiled = match form {
        Form::Core => engine.precompile_module(&bytes),
        Form::Component => engine.precompile_component(&bytes),
    };
    code.write_all(&compiled.map_err(said)?).map_err(|error| format!("its code cannot be written: {error}"))
}

/// The second fence, where the jail's memory is only polled: no more address space, no more time on
/// the processor.
fn bound() -> Result<(), String> {
    let seconds = COMPILE_WALL.as_secs() * THREADS;
    for (resource, most) in [(Resource::As, COMPILE_MEMORY_BYTES + UNFILLED_BYTES), (Resource::Cpu, seconds)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("its compiler cannot be limited: {error}"))?;
    }
    Ok(())
}
