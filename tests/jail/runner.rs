//! The other life of this binary: a runner that makes the jails it is told of.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use airlock::{
    domain::{
        Verdict,
        stack::{Limits, NetworkMode},
    },
    protocol::{Bind, JailSpec},
    runner::native::{JailError, Jailer, PhaseJail, Program, Question, RunningJail, StopSignal, probe},
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::{PipeFlags, pipe_with},
};
use serde::{Deserialize, Serialize};

pub const ARGUMENT: &str = "--as-runner";

/// What the runner is told, on its standard input.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub spec: JailSpec,
    pub phases: Vec<Phase>,
    /// Opens this file first, inherited by everything that does not close it.
    pub leak: Option<PathBuf>,
    /// Starts a second thread before the jail.
    pub second_thread: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Phase {
    pub argv: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub network: NetworkMode,
    pub binds: Vec<Bind>,
    pub limits: Limits,
    /// Serve one connection on each of these ports of the jail's loopback.
    pub listen: Vec<u16>,
    /// What to do when the program prints the line `ready`.
    pub when_ready: WhenReady,
    /// Counts the host's processes whose command line holds this, when `ready` and after the end.
    pub marker: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenReady {
    Nothing,
    /// Write a line into this pipe of the host, for which the program waits.
    GoOn(PathBuf),
    Interrupt,
    Terminate,
    Kill,
    /// The runner itself ends without a word, as if it had been killed.
    Die,
}

/// What the runner reports about one phase.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub stdout: String,
    pub stderr: String,
    /// What the program wrote to descriptor 3.
    pub reported: String,
    pub verdict: Verdict,
    pub limited_by: String,
    pub peak_memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub marked_when_ready: usize,
    pub marked_after: usize,
    /// What a client sent to each listener.
    pub served: Vec<String>,
    pub microseconds: u64,
}

pub type Reports = Result<Vec<Report>, String>;

/// Instead of a jail: asks what the host offers, with this data directory.
pub const PROBE: &str = "--as-probe";

/// Name, status, meaning and what to do of each item; and whether jails work.
pub type Probed = (Vec<(String, String, String, Option<String>)>, bool);

pub fn probe_main(data: &Path) -> ExitCode {
    let report = probe(&Question { data, uids: 60_100..=60_199 });
    let items = report.items.into_iter();
    let items =
        items.map(|item| (item.name.to_owned(), item.status.word().to_owned(), item.means, item.mend)).collect();
    let probed: Probed = (items, report.default_isolation_works);
    println!("{}", serde_json::to_string(&probed).unwrap());
    ExitCode::SUCCESS
}

pub fn main() -> ExitCode {
    let order: Order = serde_json::from_reader(std::io::stdin()).unwrap();
    let reports: Reports = carry_out(order).map_err(|error| error.to_string());
    println!("{}", serde_json::to_string(&reports).unwrap());
    ExitCode::SUCCESS
}

fn carry_out(order: Order) -> Result<Vec<Report>, JailError> {
    let leaked = order.leak.map(|path| File::open(path).unwrap());
    if let Some(leaked) = &leaked {
        fcntl_setfd(leaked, FdFlags::empty()).unwrap();
    }
    let (release, held) = std::sync::mpsc::channel::<()>();
    let second = order.second_thread.then(|| std::thread::spawn(move || held.recv()));
    let jailer = Jailer::start(&order.spec);
    drop(release);
    let _ = second.map(std::thread::JoinHandle::join);
    let jailer = jailer?;
    order.phases.into_iter().map(|phase| one(&jailer, phase)).collect()
}

fn one(jailer: &Jailer, phase: Phase) -> Result<Report, JailError> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
    let ((stdout, stdout_in), (stderr, stderr_in), (report, report_in)) = (pipe(), pipe(), pipe());
    let started = Instant::now();
    let mut jail = jailer.run(PhaseJail {
        program: Program::Exec(phase.argv),
        environment: phase.environment.into_iter().collect(),
        cwd: phase.cwd,
        network: phase.network,
        root: None,
        binds: phase.binds,
        limits: phase.limits,
        listen: phase.listen,
        stdin: None,
        stdout: stdout_in,
        stderr: stderr_in,
        inherited: vec![report_in],
    })?;
    let serving = |listener| std::thread::spawn(move || serve(&listener));
    let servers: Vec<_> = jail.take_listeners().into_iter().map(serving).collect();
    let errors = std::thread::spawn(move || read_all(File::from(stderr)));
    let reported = std::thread::spawn(move || read_all(File::from(report)));
    let (mut printed, mut marked_when_ready) = (String::new(), 0);
    let mut lines = BufReader::new(File::from(stdout));
    enforce_until_output(&mut jail, &lines);
    while lines.read_line(&mut printed).unwrap() > 0 {
        if printed.ends_with("ready\n") {
            marked_when_ready = marked(phase.marker.as_deref());
            act(&jail, &phase.when_ready);
        }
        enforce_until_output(&mut jail, &lines);
    }
    let end = jail.wait();
    let microseconds = started.elapsed().as_micros() as u64;
    Ok(Report {
        stdout: printed,
        stderr: errors.join().unwrap(),
        reported: reported.join().unwrap(),
        verdict: end.verdict,
        limited_by: end.usage.limited_by.to_string(),
        peak_memory_bytes: end.usage.peak_memory_bytes,
        cpu_ms: end.usage.cpu_ms,
        marked_when_ready,
        marked_after: marked(phase.marker.as_deref()),
        served: servers.into_iter().map(|server| server.join().unwrap()).collect(),
        microseconds,
    })
}

/// What the runner does every 50 ms, for as long as nothing is printed.
fn enforce_until_output(jail: &mut RunningJail, output: &BufReader<File>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while output.buffer().is_empty()
        && poll(&mut [PollFd::new(output.get_ref(), PollFlags::IN)], Some(&tick)).is_ok_and(|ready| ready == 0)
    {
        jail.enforce();
    }
}

fn act(jail: &RunningJail, what: &WhenReady) {
    match what {
        WhenReady::Nothing => {}
        WhenReady::GoOn(pipe) => fs::write(pipe, "go\n").unwrap(),
        WhenReady::Interrupt => jail.signal(StopSignal::Interrupt),
        WhenReady::Terminate => jail.signal(StopSignal::Terminate),
        WhenReady::Kill => jail.kill(),
        WhenReady::Die => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
    }
}

fn serve(listener: &std::net::TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    stream.write_all(b"pong\n").unwrap();
    line
}

fn read_all(mut file: File) -> String {
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// The host's processes whose command line holds the marker.
fn marked(marker: Option<&str>) -> usize {
    let Some(marker) = marker else { return 0 };
    let commands = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        fs::read(entry.path().join("cmdline")).ok()
    });
    commands.filter(|command| String::from_utf8_lossy(command).contains(marker)).count()
}
