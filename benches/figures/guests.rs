//! A guest from the API call to its end, and what metering costs: the same code with and without
//! fuel, and as native code.

use std::{hint::black_box, time::Duration};

use serde_json::{Value, json};
use wasmtime::{Config, Engine, Linker, Module, Store};

use super::{
    server::Server,
    stats::{Table, Times, ms},
};

/// How often each is run; the fastest counts, since others share the machine.
const ROUNDS: usize = 5;
/// As in the runner.
pub const YIELD_EVERY: u64 = 1_000_000;

struct Work {
    what: &'static str,
    text: &'static str,
    argument: u64,
    native: fn(u64) -> u64,
    aim: &'static str,
}

const WORK: [Work; 2] = [
    Work {
        what: "a loop of 200 M steps",
        text: r#"(module (func (export "run") (param $n i64) (result i64)
          (local $x i64) (local.set $x (i64.const 88172645463325252))
          (loop $again
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
            (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
            (local.set $n (i64.sub (local.get $n) (i64.const 1)))
            (br_if $again (i64.ne (local.get $n) (i64.const 0))))
          (local.get $x)))"#,
        argument: 200_000_000,
        native: steps,
        aim: "≤ 1.1×",
    },
    Work {
        what: "fib(35), all calls",
        text: r#"(module (func $fib (export "run") (param $n i64) (result i64)
          (if (result i64) (i64.lt_u (local.get $n) (i64.const 2))
            (then (local.get $n))
            (else (i64.add (call $fib (i64.sub (local.get $n) (i64.const 1)))
                           (call $fib (i64.sub (local.get $n) (i64.const 2))))))))"#,
        argument: 35,
        native: fib,
        aim: "≤ 1.6×",
    },
];

/// Prints a line.
const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Row 5: API call → `finished` seen over the API, and the runner's part of it.
pub fn hello(table: &mut Table) {
    let server = Server::new();
    server.stack("bench");
    server.import("hello", false, &wat::parse_str(HELLO).unwrap());
    let mut parts = Vec::new();
    let mut once = || {
        let run = server.post("/api/v1/stacks/bench/tasks", &json!({"guest": "hello"}));
        let run = run["id"].as_str().unwrap().to_owned();
        server.until_done(&run);
        parts.push(performing(&server, &run));
    };
    (0..20).for_each(|_| once());
    let times = Times::of(200, once);
    table.row(
        5,
        "WASI hello, cached: API call → finished, p50 / p95; its phase in the runner",
        format!("{}; {}", times.p50_p95(), Times::sorted(parts.split_off(20)).p50_p95()),
        format!("≤ 12 ms; ≤ 3 ms; in this process, compiled: {}", alone()),
    );
}

/// How long the guest's phase took: its jail, its code loaded, instantiated, run, its receipt.
pub fn performing(server: &Server, run: &str) -> Duration {
    let run = server.get(&format!("/api/v1/runs/{run}"));
    assert_eq!(run["state"], "finished", "{run:#}");
    let phase = run["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "performing").unwrap();
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    Duration::from_millis((at(&phase["finished_at"]) - at(&phase["started_at"])).unsigned_abs())
}

/// Instantiating and calling what is compiled already.
fn alone() -> String {
    let engine = Engine::new(&Config::new()).unwrap();
    let module = Module::new(&engine, wat::parse_str(HELLO).unwrap()).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("wasi_snapshot_preview1", "fd_write", |_: u32, _: u32, _: u32, _: u32| 0_u32).unwrap();
    let prepared = linker.instantiate_pre(&module).unwrap();
    let times = Times::of(200, || {
        let mut store = Store::new(&engine, ());
        let instance = prepared.instantiate(&mut store).unwrap();
        instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap().call(&mut store, ()).unwrap();
    });
    times.p50_p95()
}

/// Row 6.
pub fn metering(table: &mut Table) {
    for work in &WORK {
        let native = Times::of(ROUNDS, || {
            black_box((work.native)(black_box(work.argument)));
        });
        let [plain, metered] = [false, true].map(|fuel| guest(work, fuel));
        let seconds = |times: &Times| times.percentile(0).as_secs_f64();
        table.row(
            6,
            format!("metered guest: {}", work.what),
            format!(
                "{} ms, {:.2}× of unmetered, {:.2}× of native",
                ms(metered.percentile(0)),
                seconds(&metered) / seconds(&plain),
                seconds(&metered) / seconds(&native)
            ),
            work.aim,
        );
    }
}

fn guest(work: &Work, fuel: bool) -> Times {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut config = Config::new();
    config.consume_fuel(fuel).cranelift_nan_canonicalization(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, wat::parse_str(work.text).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    if fuel {
        store.set_fuel(u64::MAX).unwrap();
        store.fuel_async_yield_interval(Some(YIELD_EVERY)).unwrap();
    }
    runtime.block_on(async {
        let instance = Linker::new(&engine).instantiate_async(&mut store, &module).await.unwrap();
        let run = instance.get_typed_func::<u64, u64>(&mut store, "run").unwrap();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = std::time::Instant::now();
            black_box(run.call_async(&mut store, work.argument).await.unwrap());
            times.push(start.elapsed());
        }
        Times::sorted(times)
    })
}

fn steps(mut n: u64) -> u64 {
    let mut x = 88_172_645_463_325_252_u64;
    while n > 0 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        n -= 1;
    }
    x
}

fn fib(n: u64) -> u64 {
    if n < 2 { n } else { black_box(fib(n - 1)) + fib(n - 2) }
}
