//! Row 10: a server that does nothing, on a store that holds much.

use airlock::{
    app::App,
    config::{Config, Flags},
    domain::{Kind, RunId, State, Timestamp, actor::ActorName, run::SourceVersion},
    store::{Backend, Store, record},
};

use super::{
    server::{Server, megabytes},
    stats::{Table, ms},
};

/// Stacks over which stored runs are spread.
const STACKS: usize = 50;

pub fn idle(table: &mut Table) {
    let server = with_runs(100_000);
    let dir = {
        let mut server = server;
        std::mem::replace(&mut server.dir, tempfile::tempdir().unwrap())
    };
    let server = Server::on(dir);
    table.row(
        10,
        "idle with 100 000 stored runs: memory; start to first 200; binary",
        format!(
            "{:.1} MB; {} ms; {:.1} MB",
            server.memory() as f64 / 1e6,
            ms(server.started_in),
            megabytes(env!("CARGO_BIN_EXE_airlock"))
        ),
        "≤ 30 MB; ≤ 100 ms; ≤ 45 MB",
    );
}

/// A server whose store holds this many ended runs.
pub fn with_runs(count: u64) -> Server {
    let server = Server::new();
    for n in 0..STACKS {
        server.stack(&format!("bench-{n}"));
    }
    let dir = {
        let mut server = server;
        std::mem::replace(&mut server.dir, tempfile::tempdir().unwrap())
    };
    store_runs(&dir.path().join("data"), count);
    Server::on(dir)
}

fn store_runs(data: &std::path::Path, count: u64) {
    let flags = Flags { data: Some(data.to_owned()), ..Flags::default() };
    // Opened once as a server would, so that stacks can be read; then written to directly.
    let stacks: Vec<record::Stack> = {
        let app = App::open(Config::load(&flags).unwrap()).unwrap();
        let who = airlock::auth::Who::system();
        let rows = app.queries.stacks(&who, &airlock::queries::StackFilter::default()).unwrap();
        rows.into_iter().map(|row| row.stack).collect()
    };
    let store = Store::open(Backend::File(data.join("airlock.redb"))).unwrap();
    for chunk in 0..count.div_ceil(1_000) {
        let stacks = stacks.clone();
        store
            .write_blocking(move |tx| {
                for n in chunk * 1_000..((chunk + 1) * 1_000).min(count) {
                    let stack = &stacks[usize::try_from(n).unwrap() % stacks.len()];
                    let seq = tx.next("run")?;
                    tx.put_run(None, &ended(stack, seq, n))?;
                }
                Ok(())
            })
            .unwrap();
    }
}

fn ended(stack: &record::Stack, seq: u64, n: u64) -> record::Run {
    let at = Timestamp::from_millis(1_760_000_000_000 + i64::try_from(n).unwrap() * 1_000);
    let state = if n.is_multiple_of(9) { State::Failed } else { State::Finished };
    let birth = record::Birth {
        id: RunId::from_number(u128::from(seq) << 64 | u128::from(n)),
        seq,
        kind: if n.is_multiple_of(3) { Kind::Task } else { Kind::Tracked },
        by: ActorName::system(),
        by_id: None,
        source: SourceVersion::Upload { digest: stack.upload.clone().unwrap() },
        at,
    };
    record::Run {
        number: seq,
        state,
        command: n.is_multiple_of(3).then(|| "terraform state list".to_owned()),
        ..record::Run::new(stack, birth)
    }
}
