//! Components: WASI preview 2, the world `wasi:cli/command`, with `wasi:http/outgoing-handler`.

use std::fs::File;

use wasmtime::{
    Engine,
    component::{HasData, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    filesystem::WasiFilesystemCtxView,
    p2::bindings::{CommandPre, filesystem::types},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    denials::Watch,
    http::Outgoing,
    limiter::Limiter,
    preview2::{Listings, WatchedFiles},
    run::{Gauge, Limited, Metered, Ran, Start},
    settings::{COMPONENT, HANDLES, HEADER_BYTES, RESOURCES},
};
use crate::{protocol::GuestClock, runner::native::code};

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    limiter: Limiter,
    watch: Watch,
    clock: GuestClock,
    listings: Listings,
}

impl Limited for State {
    fn limiter(&mut self) -> &mut Limiter {
        &mut self.limiter
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

/// Names the view of files that keeps watch.
struct Files;

impl HasData for Files {
    type Data<'a> = WatchedFiles<'a>;
}

fn files(state: &mut State) -> WatchedFiles<'_> {
    let inner = WasiFilesystemCtxView { ctx: state.wasi.filesystem(), table: &mut state.table };
    WatchedFiles { inner, watch: state.watch.clone(), clock: state.clock, listings: &mut state.listings }
}

/// Instantiates the component and calls its `run`. It knows only success and failure, and `exit`.
pub async fn run(start: Start<'_>, gauge: &mut Gauge) -> Ran {
    let Start { engine, mut surroundings, code, caps, clock, line, watch, ends } = start;
    let prepared = || -> wasmtime::Result<(CommandPre<State>, Metered<'_, State>)> {
        let component = code::component(engine, File::from(code))?;
        let prepared = CommandPre::new(linker(engine)?.instantiate_pre(&component)?)?;
        let (mut table, mut http) = (ResourceTable::new(), WasiHttpCtx::new());
        table.set_max_capacity(RESOURCES);
        http.set_field_size_limit(HEADER_BYTES);
        let state = State {
            wasi: surroundings.build(),
            table,
            http,
            outgoing: Outgoing::new(line, watch.clone()),
            limiter: Limiter::new(caps.memory_bytes, COMPONENT, watch.clone()),
            watch: watch.clone(),
            clock,
            listings: Listings::new(),
        };
        let mut metered = Metered::new(engine, state, (caps.fuel, ends), gauge)?;
        metered.store.set_max_component_handles(HANDLES);
        Ok((prepared, metered))
    };
    let (prepared, mut metered) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return Ran::Refused(format!("the guest cannot be started: {error:#}")),
    };
    let store = &mut metered.store;
    let ended = async {
        let command = prepared.instantiate_async(&mut *store).await?;
        command.wasi_cli_run().call_run(&mut *store).await
    };
    Ran::Ended(ended.await.map(|outcome| i32::from(outcome.is_err())))
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    types::add_to_linker::<State, Files>(&mut linker, files)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}
