//! Loading compiled guests: machine code that becomes a part of this process.

#![allow(unsafe_code)]

use std::{fs::File, io::Read};

use wasmtime::{Engine, Module, component::Component};

/// Maps a module's code.
pub(in crate::runner) fn module(engine: &Engine, code: File) -> wasmtime::Result<Module> {
    // SAFETY: the code must have been made by this Wasmtime and not been changed since. The runner
    // hands over only descriptors whose content it has authenticated with the installation's key, and
    // it gives the key to nothing but what its own compiler child wrote. Files of the cache are never
    // written to again: they are replaced by renaming. Wasmtime checks version and settings itself.
    unsafe { Module::deserialize_open_file(engine, code) }
}

/// Reads a component's code.
pub(in crate::runner) fn component(engine: &Engine, mut code: File) -> wasmtime::Result<Component> {
    let mut bytes = Vec::new();
    code.read_to_end(&mut bytes)?;
    // SAFETY: as above; and the bytes are this process's own copy.
    unsafe { Component::deserialize(engine, &bytes) }
}
