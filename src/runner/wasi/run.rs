//! Running a guest, in the engine's process.
//!
//! One store for one run, dropped at its end whatever that was. Everything that runs a guest's code,
//! instantiation included, happens under one time-out and in host calls that wait without blocking:
//! a guest that sleeps ends as punctually as one that spins.
//!
//! Calls that never wait cost next to no fuel and may cost much time, so that a guest that does nothing
//! but call (reads at the end of its input, say) would come to its next yield long after its time:
//! with each call the store looks at the clock itself, and whether somebody asked for the end.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use wasmtime::{CallHook, Engine, Store, Trap};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, cli::AsyncStdinStream};

use super::{
    clock, component, core,
    cut::{Cut, Exit},
    denials::Watch,
    job::{End, Run, Told},
    limiter::Limiter,
    line::Line,
    settings::{self, HOST_CALL_BYTES, Purpose, YIELD_EVERY},
    sink::{Meter, Sink},
};
use crate::{
    guest::Form,
    protocol::{Caps, GuestClock},
};

/// Time for the last output to be taken.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// What the engine's process has of a guest.
pub struct Given {
    pub run: Run,
    pub code: OwnedFd,
    pub stdin: Option<OwnedFd>,
    /// See [`super::line`].
    pub line: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What either form of guest is started with.
pub struct Start<'a> {
    pub engine: &'a Engine,
    pub surroundings: WasiCtxBuilder,
    pub code: OwnedFd,
    pub caps: Caps,
    pub clock: GuestClock,
    pub line: Option<Arc<Line>>,
    pub watch: &'a Watch,
    pub ends: Ends,
}

/// What ends a guest that never waits.
#[derive(Clone, Debug)]
pub struct Ends {
    /// When its time is up.
    pub deadline: Instant,
    /// Set once somebody asks for the end.
    pub asked: Arc<AtomicBool>,
}

impl Ends {
    fn look(&self) -> Result<(), Cut> {
        match () {
            () if self.asked.load(Ordering::Relaxed) => Err(Cut::Stop),
            () if Instant::now() >= self.deadline => Err(Cut::Time),
            () => Ok(()),
        }
    }
}

/// Hears of a request to end in a thread of its own, since a guest may hold up the other one. Gives what
/// a guest that never waits looks at, and what wakes whoever waits for one that does.
fn hear_stop() -> std::io::Result<(Arc<AtomicBool>, Arc<Notify>)> {
    let (asked, wake) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stop = {
        let _within = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let (told, awake) = (Arc::clone(&asked), Arc::clone(&wake));
    // It ends with the process.
    std::thread::Builder::new().name("stop".to_owned()).spawn(move || {
        runtime.block_on(stop.recv());
        told.store(true, Ordering::Relaxed);
        awake.notify_one();
    })?;
    Ok((asked, wake))
}

/// State that a store holds, whatever the guest's form.
pub trait Limited {
    fn limiter(&mut self) -> &mut Limiter;
}

/// How far a guest got.
pub enum Ran {
    /// It was never started.
    Refused(String),
    Ended(wasmtime::Result<i32>),
}

/// Runs the guest to its end. An error is the host's.
pub fn run(given: Given) -> Result<Told, String> {
    let engine = settings::engine(Purpose::Run).map_err(|error| format!("the engine cannot start: {error:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the engine cannot start: {error}"))?;
    let told = runtime.block_on(attend(&engine, given));
    // A file operation that still hangs must not hold this process.
    runtime.shutdown_background();
    told
}

async fn attend(engine: &Engine, given: Given) -> Result<Told, String> {
    let said = |error: std::io::Error| format!("the engine cannot start: {error}");
    let watch = Watch::default();
    let meter = Meter::new(given.run.caps.output_bytes, watch.clone());
    let stdout = Sink::new(given.stdout, meter.clone()).map_err(said)?;
    let stderr = Sink::new(given.stderr, meter.clone()).map_err(said)?;
    let wall = Duration::from_secs(given.run.caps.wall_seconds);
    let surroundings = surroundings(&given.run, given.stdin, (&stdout, &stderr))?;
    let (asked, stop) = hear_stop().map_err(said)?;
    let began = Instant::now();
    let start = Start {
        engine,
        surroundings,
        code: given.code,
        caps: given.run.caps,
        clock: given.run.clock,
        line: given.line.map(Line::new).transpose().map_err(said)?.map(Arc::new),
        watch: &watch,
        ends: Ends { deadline: began + wall, asked },
    };

    let mut gauge = Gauge::default();
    let work = async {
        match given.run.form {
            Form::Core => core::run(start, &mut gauge).await,
            Form::Component => component::run(start, &mut gauge).await,
        }
    };
    let ran = tokio::select! {
        ran = tokio::time::timeout(wall, work) => Some(ran),
        () = stop.notified() => None,
    };
    let wall_ms = began.elapsed().as_millis() as u64;
    let flush = async { tokio::join!(stdout.drain(), stderr.drain()) };
    // Whoever does not take it then is gone.
    let _ = tokio::time::timeout(LAST_OUTPUT, flush).await;
    let seen = watch.take();
    let end = match ran {
        None => End::Stopped,
        Some(Err(_)) => End::TimedOut,
        Some(Ok(Ran::Refused(_))) if seen.memory => End::OutOfMemory,
        Some(Ok(Ran::Refused(reason))) => End::Refused { reason },
        Some(Ok(Ran::Ended(ended))) => ending(ended, seen.memory),
    };
    Ok(Told {
        end,
        fuel_used: gauge.fuel_used,
        peak_memory_bytes: gauge.peak_memory_bytes,
        output_bytes: meter.used(),
        wall_ms,
        denials: seen.denials,
        denials_dropped: seen.dropped,
        memory_refused: seen.memory,
        files_refused: seen.files,
    })
}

/// What was used, kept up to date while a guest's future may be dropped at any time.
#[derive(Debug, Default)]
pub struct Gauge {
    pub fuel_used: u64,
    pub peak_memory_bytes: u64,
}

/// A store that reads its gauge when it goes, however it goes.
pub struct Metered<'g, T: Limited + 'static> {
    pub store: Store<T>,
    gauge: &'g mut Gauge,
    fuel: u64,
}

impl<'g, T: Limited + Send + 'static> Metered<'g, T> {
    pub fn new(engine: &Engine, state: T, (fuel, ends): (u64, Ends), gauge: &'g mut Gauge) -> wasmtime::Result<Self> {
        let mut store = Store::new(engine, state);
        store.limiter(|state| state.limiter());
        store.call_hook(move |_, hook| match hook {
            CallHook::CallingHost => Ok(ends.look()?),
            _ => Ok(()),
        });
        store.set_fuel(fuel)?;
        store.fuel_async_yield_interval(Some(YIELD_EVERY))?;
        store.set_hostcall_fuel(HOST_CALL_BYTES);
        Ok(Self { store, gauge, fuel })
    }
}

impl<T: Limited + 'static> Drop for Metered<'_, T> {
    fn drop(&mut self) {
        self.gauge.fuel_used = self.fuel - self.store.get_fuel().unwrap_or(0).min(self.fuel);
        self.gauge.peak_memory_bytes = self.store.data_mut().limiter().peak_bytes();
    }
}

fn surroundings(run: &Run, stdin: Option<OwnedFd>, out: (&Sink, &Sink)) -> Result<WasiCtxBuilder, String> {
    let mut builder = WasiCtxBuilder::new();
    // No sockets, ever; the jail has no network for them either.
    builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    builder.args(&run.args).envs(&run.environment).stdout(out.0.clone()).stderr(out.1.clone());
    if let Some(stdin) = stdin {
        builder.stdin(AsyncStdinStream::new(tokio::fs::File::from_std(File::from(stdin))));
    }
    let shown = run.directories.iter().map(|directory| (directory, directory.path.as_str()));
    // A phase before this one may have taken it away.
    let home = run.home.iter().filter(|home| Path::new(&home.path).is_dir()).map(|home| (home, "."));
    for (directory, name) in shown.chain(home) {
        let access = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder
            .preopened_dir(directory.at.as_ref().unwrap_or(&directory.path), name, access)
            .map_err(|error| format!("cannot open the granted `{}`: {error:#}", directory.path))?;
    }
    clock::grant(&mut builder, run.clock, run.random);
    Ok(builder)
}

/// How a guest ended by itself or was ended by its caps.
fn ending(ended: wasmtime::Result<i32>, memory_refused: bool) -> End {
    let end = match ended {
        Ok(code) => End::Exited { code },
        Err(error) => {
            if let Some(Exit(code)) = error.downcast_ref() {
                End::Exited { code: *code }
            } else if let Some(I32Exit(code)) = error.downcast_ref() {
                End::Exited { code: *code }
            } else if let Some(cut) = error.downcast_ref() {
                match cut {
                    Cut::Output => End::OutputLimit,
                    Cut::Memory => End::OutOfMemory,
                    Cut::Time => End::TimedOut,
                    Cut::Stop => End::Stopped,
                }
            } else {
                match error.downcast_ref() {
                    Some(Trap::OutOfFuel) => End::OutOfFuel,
                    Some(trap) => End::Trapped { reason: trap.to_string() },
                    None => End::Trapped { reason: error.root_cause().to_string() },
                }
            }
        }
    };
    match end {
        // Told that there is no more memory, most programs fail, each in its own way.
        End::Exited { code } if code != 0 && memory_refused => End::OutOfMemory,
        End::Trapped { .. } if memory_refused => End::OutOfMemory,
        end => end,
    }
}
