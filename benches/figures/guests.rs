//! What metering costs a guest: the same code with and without fuel, and as native code.

use std::hint::black_box;

use wasmtime::{Config, Engine, Linker, Module, Store};

use super::stats::{Table, Times, ms};

/// How often each is run; the fastest counts, since others share the machine.
const ROUNDS: usize = 5;
/// As in the runner.
const YIELD_EVERY: u64 = 10_000_000;

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
