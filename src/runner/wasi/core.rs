//! Core modules: WASI preview 1.

use std::fs::File;

use wasmtime::{InstancePre, Linker};
use wasmtime_wasi::p1::wasi_snapshot_preview1::add_to_linker;

use super::{
    limiter::Limiter,
    preview1::Watched,
    run::{Gauge, Limited, Metered, Ran, Start},
    settings::{CORE, RESOURCES},
};
use crate::runner::native::code;

struct State {
    wasi: Watched,
    limiter: Limiter,
}

impl Limited for State {
    fn limiter(&mut self) -> &mut Limiter {
        &mut self.limiter
    }
}

/// Instantiates the module and calls `_start`.
pub async fn run(start: Start<'_>, gauge: &mut Gauge) -> Ran {
    // The old interface has no HTTP.
    let Start { engine, mut surroundings, code, caps, clock, line: _, watch, ends } = start;
    let prepared = || -> wasmtime::Result<(InstancePre<State>, Metered<'_, State>)> {
        let module = code::module(engine, File::from(code))?;
        let mut linker = Linker::new(engine);
        add_to_linker(&mut linker, |state: &mut State| &mut state.wasi)?;
        let prepared = linker.instantiate_pre(&module)?;
        let mut wasi = Watched::new(surroundings.build_p1(), watch.clone(), clock);
        wasi.ctx().table.set_max_capacity(RESOURCES);
        let limiter = Limiter::new(caps.memory_bytes, CORE, watch.clone());
        let metered = Metered::new(engine, State { wasi, limiter }, (caps.fuel, ends), gauge)?;
        Ok((prepared, metered))
    };
    let (prepared, mut metered) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return Ran::Refused(format!("the guest cannot be started: {error:#}")),
    };
    let store = &mut metered.store;
    // A module's start function runs while it is instantiated.
    let ended = async {
        let instance = prepared.instantiate_async(&mut *store).await?;
        instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(&mut *store, ()).await
    };
    Ran::Ended(ended.await.map(|()| 0))
}
