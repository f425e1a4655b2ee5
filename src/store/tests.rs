use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::{record::*, tables as t, *};
use crate::domain::{Refused, Timestamp, actor::ActorName};

fn in_memory() -> Store {
    Store::open(Backend::Custom(Box::new(|| Box::new(InMemoryBackend::new())))).unwrap()
}

fn meta(text: &str) -> Meta {
    Meta { value: text.as_bytes().to_vec() }
}

fn put(name: &'static str) -> impl FnMut(&Tx<'_>) -> Result<(), Error> + Send + 'static {
    move |tx| Ok(tx.put(t::NAME_TO_META, name, &meta(name))?)
}

fn names(store: &Store) -> Vec<String> {
    let found = store.read().unwrap().all(t::NAME_TO_META, "".."~").unwrap();
    found.into_iter().map(|meta| String::from_utf8(meta.value).unwrap()).collect()
}

#[tokio::test]
async fn what_was_answered_is_there_to_be_read() {
    let store = in_memory();
    store.write(put("a")).await.unwrap();
    assert_eq!(names(&store), ["a"]);
}

#[tokio::test]
async fn a_refusal_leaves_its_neighbours_alone_even_if_it_came_after_a_write() {
    let store = in_memory();
    let refuse_late = store.write(|tx: &Tx<'_>| -> Result<(), Error> {
        tx.put(t::NAME_TO_META, "late", &meta("late"))?;
        Err(Refused::conflict("no").into())
    });
    let refuse = store.write(|_: &Tx<'_>| -> Result<(), Error> { Err(Refused::conflict("no").into()) });
    let (a, late, early, b) = tokio::join!(store.write(put("a")), refuse_late, refuse, store.write(put("b")));
    a.unwrap();
    b.unwrap();
    assert!(matches!(late, Err(Error::Refused(_))));
    assert!(matches!(early, Err(Error::Refused(_))));
    assert_eq!(names(&store), ["a", "b"]);
}

#[tokio::test]
async fn an_action_that_panics_takes_nobody_with_it() {
    let store = in_memory();
    let panics = store.write(|tx: &Tx<'_>| -> Result<(), Error> {
        tx.put(t::NAME_TO_META, "gone", &meta("gone"))?;
        panic!("as asked");
    });
    let (a, gone, b) = tokio::join!(store.write(put("a")), panics, store.write(put("b")));
    a.unwrap();
    b.unwrap();
    assert!(gone.unwrap_err().to_string().contains("as asked"));
    assert_eq!(names(&store), ["a", "b"]);
}

#[tokio::test]
async fn bells_ring_only_for_what_was_kept() {
    let store = in_memory();
    let rung = Arc::new(AtomicU64::new(0));
    let ring = |rung: &Arc<AtomicU64>, ok: bool| {
        let rung = Arc::clone(rung);
        move |tx: &Tx<'_>| -> Result<(), Error> {
            tx.put(t::NAME_TO_META, "x", &meta("x"))?;
            let rung = Arc::clone(&rung);
            tx.after_commit(move || {
                rung.fetch_add(1, Ordering::SeqCst);
            });
            if ok { Ok(()) } else { Err(Refused::conflict("no").into()) }
        }
    };
    store.write(ring(&rung, true)).await.unwrap();
    store.write(ring(&rung, false)).await.unwrap_err();
    assert_eq!(rung.load(Ordering::SeqCst), 1);
}

/// A disk in memory that can be frozen at any write, as a crash would leave it.
#[derive(Debug, Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    /// What is on the platter: everything up to the last sync.
    synced: Mutex<Vec<u8>>,
    writes: AtomicU64,
    freeze_after: AtomicU64,
    fail: AtomicBool,
}

#[derive(Debug)]
struct Handle(Arc<Disk>);

impl Disk {
    fn new() -> Arc<Self> {
        Arc::new(Self { freeze_after: AtomicU64::new(u64::MAX), ..Self::default() })
    }

    fn check(&self) -> std::io::Result<()> {
        if self.fail.swap(false, Ordering::SeqCst) {
            return Err(std::io::Error::other("the disk stumbled"));
        }
        if self.writes.fetch_add(1, Ordering::SeqCst) >= self.freeze_after.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("frozen"));
        }
        Ok(())
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let bytes = self.0.bytes.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&bytes[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.check()?;
        self.0.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.check()?;
        self.0.synced.lock().unwrap().clone_from(&self.0.bytes.lock().unwrap());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.check()?;
        let at = usize::try_from(offset).unwrap();
        self.0.bytes.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn on(disk: &Arc<Disk>) -> Backend {
    let disk = Arc::clone(disk);
    Backend::Custom(Box::new(move || Box::new(Handle(Arc::clone(&disk)))))
}

#[tokio::test]
async fn a_crash_at_any_write_keeps_everything_that_was_answered() {
    for freeze in (0..400).step_by(7) {
        let disk = Disk::new();
        let store = Store::open(on(&disk)).unwrap();
        let start = disk.writes.load(Ordering::SeqCst);
        disk.freeze_after.store(start + freeze, Ordering::SeqCst);
        let mut answered = 0;
        for n in 0..20_u64 {
            let write = store.write(move |tx: &Tx<'_>| Ok(tx.set_number(t::NAME_TO_COUNTER, "n", n + 1)?)).await;
            match write {
                Ok(()) => answered = n + 1,
                Err(_) => break,
            }
        }
        drop(store);
        for platter in [disk.synced.lock().unwrap().clone(), disk.bytes.lock().unwrap().clone()] {
            let after = Disk::new();
            *after.bytes.lock().unwrap() = platter;
            let store = Store::open(on(&after)).unwrap();
            let found = store.read().unwrap().number(t::NAME_TO_COUNTER, "n").unwrap().unwrap_or(0);
            assert!(found == answered || found == answered + 1, "freeze {freeze}: {found} after {answered}");
        }
    }
}

#[tokio::test]
async fn after_a_fault_of_the_disk_the_store_reopens_itself_and_goes_on() {
    let disk = Disk::new();
    let store = Store::open(on(&disk)).unwrap();
    store.write(put("a")).await.unwrap();
    disk.fail.store(true, Ordering::SeqCst);
    store.write(put("b")).await.unwrap();
    store.write(put("c")).await.unwrap();
    assert_eq!(names(&store), ["a", "b", "c"]);
}

#[test]
fn a_second_server_is_told_who_holds_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("airlock.redb");
    let first = Store::open(Backend::File(path.clone())).unwrap();
    let second = Store::open(Backend::File(path)).unwrap_err();
    assert!(second.to_string().starts_with("another server holds the store"), "{second}");
    drop(first);
}

#[test]
fn a_store_of_a_newer_release_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("airlock.redb");
    drop(Store::open(Backend::File(path.clone())).unwrap());
    let database = redb::Database::create(&path).unwrap();
    migrate::set_schema(&database, migrate::SCHEMA + 1).unwrap();
    drop(database);
    let error = Store::open(Backend::File(path.clone())).unwrap_err();
    assert!(error.to_string().contains("written by a newer release"), "{error}");
    let database = redb::Database::create(&path).unwrap();
    assert_eq!(migrate::schema_of(&database).unwrap(), Some(migrate::SCHEMA + 1));
}

#[test]
fn records_keep_the_bytes_of_their_version() {
    let entry = AuditEntry {
        seq: 7,
        at: Timestamp::from_millis(1_700_000_000_120),
        actor: ActorName::system(),
        address: None,
        verb: "stack.create".to_owned(),
        object: "stack:shop".to_owned(),
        outcome: Outcome::Done,
        detail: None,
        previous: "00".to_owned(),
        hash: "01".to_owned(),
    };
    let bytes = encode("SEQ_TO_AUDIT", &entry).unwrap();
    insta::assert_snapshot!(hex::encode(&bytes), @"018aa373657107a26174cf0000018bcfe56878a56163746f7282a46b696e64a673797374656da46e616d65a673797374656da761646472657373c0a476657262ac737461636b2e637265617465a66f626a656374aa737461636b3a73686f70a76f7574636f6d65a4646f6e65a664657461696cc0a870726576696f7573a23030a468617368a23031");
    assert_eq!(decode::<AuditEntry>("SEQ_TO_AUDIT", &bytes).unwrap(), entry);
    assert!(decode::<AuditEntry>("SEQ_TO_AUDIT", &[9]).unwrap_err().to_string().contains("version 9"));
}
