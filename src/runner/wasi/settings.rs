//! How the engine is set up: which of WebAssembly it speaks, and the bounds that are not caps.
//!
//! Compiler and runner of guests use the same settings; what was compiled under others is never
//! loaded, because its name in the cache holds [`fingerprint`].

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmparser::WasmFeatures;
use wasmtime::{Config, Engine};

/// Fuel between two looks at the clock: less than a millisecond of a guest's own work, and not much more
/// of one that does nothing but call.
pub const YIELD_EVERY: u64 = 1_000_000;
/// Stack that a guest's own calls may take.
const WASM_STACK_BYTES: usize = 1 << 20;
/// The same with what host functions need on top.
const STACK_BYTES: usize = 2 << 20;
/// Bytes that one host call may copy out of a guest (GHSA-852m-cvvp-9p4w, GHSA-j366-h8gg-77pm): far
/// above the largest honest write.
pub const HOST_CALL_BYTES: usize = 8 << 20;
/// Open files, streams and the like (GHSA-243v-98vx-264h). Below the engine's own limit of files.
pub const RESOURCES: usize = 512;
/// Handles of a component (GHSA-q554-3cjc-rx7p).
pub const HANDLES: usize = 10_000;
/// Bytes of one request for random numbers, which cannot be interrupted.
pub const RANDOM_BYTES: u64 = 1 << 20;
/// Bytes of the header fields of one HTTP message.
pub const HEADER_BYTES: usize = 64 << 10;
/// Refused requests for more memory before a guest that asks on and on is ended: each costs the host
/// far more than the guest's fuel.
pub const REFUSED_GROWTHS: u32 = 1_000;

/// Numbers of things in a store. Components are put together from several modules.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub instances: usize,
    pub memories: usize,
    pub tables: usize,
    pub table_elements: usize,
}

pub const CORE: Numbers = Numbers { instances: 4, memories: 1, tables: 8, table_elements: 100_000 };
pub const COMPONENT: Numbers = Numbers { instances: 100, memories: 10, tables: 100, table_elements: 200_000 };

/// One proposal of WebAssembly, whether it is on, and why.
pub(super) type Proposal = (WasmFeatures, bool, &'static str);

/// Every switch there is, so that a new version turns nothing on by itself. What is off is off twice
/// where the engine is built without it: threads, garbage collection, exceptions.
pub(super) const PROPOSALS: &[Proposal] = &[
    (WasmFeatures::MUTABLE_GLOBAL, true, "compilers emit it by default; in WebAssembly 1"),
    (WasmFeatures::FLOATS, true, "in WebAssembly 1; NaNs are made canonical below"),
    (WasmFeatures::SATURATING_FLOAT_TO_INT, true, "compilers emit it by default; in WebAssembly 2"),
    (WasmFeatures::SIGN_EXTENSION, true, "compilers emit it by default; in WebAssembly 2"),
    (WasmFeatures::BULK_MEMORY, true, "compilers emit it by default; metered by the byte"),
    (WasmFeatures::BULK_MEMORY_OPT, true, "part of bulk memory"),
    (WasmFeatures::MULTI_VALUE, true, "compilers emit it by default; in WebAssembly 2"),
    (WasmFeatures::REFERENCE_TYPES, true, "compilers emit its encoding by default; in WebAssembly 2"),
    (WasmFeatures::CALL_INDIRECT_OVERLONG, true, "the encoding that linkers leave"),
    (WasmFeatures::SIMD, true, "interpreters and hashes use it; in WebAssembly 2"),
    (WasmFeatures::RELAXED_SIMD, true, "numeric code uses it; made deterministic below"),
    (WasmFeatures::EXTENDED_CONST, true, "linkers emit it; only constants"),
    (WasmFeatures::TAIL_CALL, true, "interpreters use it; in WebAssembly 3"),
    (WasmFeatures::MULTI_MEMORY, true, "components put together of modules need it; bounded"),
    (WasmFeatures::COMPONENT_MODEL, true, "WASI preview 2 is made of components"),
    (WasmFeatures::THREADS, false, "shared memory is outside Wasmtime's promises"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, false, "as threads; not finished"),
    (WasmFeatures::GC_TYPES, false, "no collector is built in: its heap was a source of advisories"),
    (WasmFeatures::GC, false, "as its types"),
    (WasmFeatures::FUNCTION_REFERENCES, false, "needs the collector's types"),
    (WasmFeatures::EXCEPTIONS, false, "needs the collector"),
    (WasmFeatures::LEGACY_EXCEPTIONS, false, "given up by its authors"),
    (WasmFeatures::MEMORY64, false, "needs explicit bounds checks; the cap is far below 4 GiB"),
    (WasmFeatures::STACK_SWITCHING, false, "not finished"),
    (WasmFeatures::MEMORY_CONTROL, false, "not finished"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, false, "for small devices"),
    (WasmFeatures::WIDE_ARITHMETIC, false, "not in compilers' defaults"),
    (WasmFeatures::CUSTOM_DESCRIPTORS, false, "needs the collector"),
    (WasmFeatures::COMPACT_IMPORTS, false, "not finished"),
    (WasmFeatures::CM_VALUES, false, "not finished"),
    (WasmFeatures::CM_NESTED_NAMES, false, "not finished"),
    (WasmFeatures::CM_ASYNC, false, "WASI preview 3; outside Wasmtime's promises"),
    (WasmFeatures::CM_ASYNC_STACKFUL, false, "as asynchronous components"),
    (WasmFeatures::CM_MORE_ASYNC_BUILTINS, false, "as asynchronous components"),
    (WasmFeatures::CM_THREADING, false, "as threads"),
    (WasmFeatures::CM_ERROR_CONTEXT, false, "not finished"),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, false, "not finished"),
    (WasmFeatures::CM_GC, false, "needs the collector"),
    (WasmFeatures::CM_MAP, false, "not finished"),
    (WasmFeatures::CM64, false, "as 64-bit memories"),
    (WasmFeatures::CM_IMPLEMENTS, false, "not finished"),
    (WasmFeatures::CM_CANON_NAMES, false, "not finished"),
];

/// What the engine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Compile,
    /// Without a compiler: it takes longer to set up, and only code that is known is to be run.
    Run,
}

/// The engine. It fails where this processor lacks what Wasmtime needs.
pub fn engine(purpose: Purpose) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    for (feature, on, _) in PROPOSALS {
        config.wasm_features(*feature, *on);
    }
    config
        .consume_fuel(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        // Nothing of one run's stack is left to see for a later one.
        .async_stack_zeroing(true)
        // The same numbers on every processor.
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_max_frames(None)
        // Guests are interrupted by fuel alone.
        .epoch_interruption(false);
    match purpose {
        Purpose::Compile => config.cranelift_nan_canonicalization(true),
        Purpose::Run => config.enable_compiler(false),
    };
    Engine::new(&config)
}

/// Stands for all settings that compiled code depends on, Wasmtime's version and the processor's
/// abilities included.
pub fn fingerprint(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proposal_is_switched_on_purpose() {
        let named = PROPOSALS.iter().fold(WasmFeatures::empty(), |named, (feature, ..)| named | *feature);
        assert_eq!(WasmFeatures::all() - named, WasmFeatures::empty(), "a new version brought something new");
    }

    #[test]
    fn what_one_engine_compiles_the_other_one_loads() {
        let compiler = engine(Purpose::Compile).unwrap();
        let code = compiler.precompile_module(&wat::parse_str("(module)").unwrap()).unwrap();
        assert_eq!(Engine::detect_precompiled(&code), Some(wasmtime::Precompiled::Module));
        // Their fingerprints agree where their settings do.
        let names = [fingerprint(&engine(Purpose::Run).unwrap()), fingerprint(&engine(Purpose::Run).unwrap())];
        assert_eq!(names[0], names[1]);
    }

    #[test]
    fn what_is_off_does_not_compile() {
        let compiler = engine(Purpose::Compile).unwrap();
        for text in
            ["(module (memory 1 1 shared))", "(module (memory i64 1))", "(module (type (struct)))", "(module (tag))"]
        {
            assert!(compiler.precompile_module(&wat::parse_str(text).unwrap()).is_err(), "{text}");
        }
    }
}
