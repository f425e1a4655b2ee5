//! Opening, reopening, reading and writing.

use std::{
    fs,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use redb::{Database, ReadableDatabase as _, StorageBackend};
use tokio::sync::oneshot;

use super::{
    Error, Fault, Snapshot, Tx,
    fault::io,
    migrate, renew,
    writer::{self, Action, Order},
};
use crate::domain::limits;

/// Where the bytes are.
pub enum Backend {
    File(PathBuf),
    /// For tests: makes a backend each time the store is opened.
    Custom(Box<dyn Fn() -> Box<dyn StorageBackend> + Send + Sync>),
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// The store. Cheap to clone; the last one to go ends the writer.
#[derive(Clone, Debug)]
pub struct Store {
    opened: Arc<Opened>,
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Writer {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

/// The open database, which can be closed and opened again after a fault of the disk.
pub(super) struct Opened {
    backend: Backend,
    database: Mutex<Option<Open>>,
    /// Databases that were replaced while somebody read them.
    retired: Mutex<Vec<Open>>,
    /// Whether the ballast was let go to make room.
    ballast_gone: AtomicBool,
}

/// An open database, and who reads it.
#[derive(Clone)]
struct Open {
    database: Arc<Database>,
    readers: Arc<()>,
}

impl Open {
    fn new(database: Database) -> Self {
        Self { database: Arc::new(database), readers: Arc::default() }
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, makes it when there is none, and migrates it when it is older.
    pub fn open(backend: Backend) -> Result<Self, Fault> {
        let opened = Arc::new(Opened {
            database: Mutex::default(),
            retired: Mutex::default(),
            backend,
            ballast_gone: AtomicBool::new(false),
        });
        opened.reopen()?;
        opened.keep_ballast();
        let (queue, waiting) = sync_channel(limits::WRITER_QUEUE);
        let writes = Arc::clone(&opened);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(writes, waiting))
            .map_err(|error| Fault::Open(error.to_string()))?;
        Ok(Self { opened, writer: Arc::new(Writer { queue: Some(queue), thread: Some(thread) }) })
    }

    /// What is committed now.
    pub fn read(&self) -> Result<Snapshot, Fault> {
        let Open { database, readers } = self.opened.present()?;
        Ok(Snapshot::new(database.begin_read()?, readers))
    }

    /// Runs an action in the next commit. It may run more than once, and answers after its writes
    /// are durable.
    pub async fn write<T, F>(&self, run: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.submit(run)?.await.map_err(|_| Fault::Closed)?
    }

    /// As [`Store::write`], for callers outside the async runtime.
    pub fn write_blocking<T, F>(&self, run: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.submit(run)?.blocking_recv().map_err(|_| Fault::Closed)?
    }

    fn submit<T, F>(&self, run: F) -> Result<oneshot::Receiver<Result<T, Error>>, Fault>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queue = self.writer.queue.as_ref().ok_or(Fault::Closed)?;
        queue.try_send(Order::Act(Box::new(Action { run, answer: None, reply }))).map_err(not_taken)?;
        Ok(answer)
    }

    /// Replaces the file by a fresh one with the same rows: no page of the old one is left. Those who
    /// read the old one go on undisturbed, see [`Store::forget_old`].
    pub async fn renew(&self) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let queue = self.writer.queue.as_ref().ok_or(Fault::Closed)?;
        queue.try_send(Order::Renew(reply)).map_err(not_taken)?;
        answer.await.map_err(|_| Fault::Closed)?
    }

    /// Refuses when there is no room for a second file beside the present one.
    pub fn check_renewal(&self) -> Result<(), Fault> {
        self.opened.check_renewal()
    }

    /// Closes files that were replaced and that nobody reads any more; says whether all are closed.
    pub fn forget_old(&self) -> bool {
        let mut retired = self.opened.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|old| Arc::strong_count(&old.readers) > 1);
        retired.is_empty()
    }

    /// Whether there is room to write and to start something new.
    pub fn has_room(&self) -> bool {
        self.opened.check_room().is_ok()
    }
}

fn not_taken<T>(error: TrySendError<T>) -> Fault {
    match error {
        TrySendError::Full(_) => Fault::Busy,
        TrySendError::Disconnected(_) => Fault::Closed,
    }
}

impl Opened {
    pub(super) fn database(&self) -> Result<Arc<Database>, Fault> {
        self.present().map(|open| open.database)
    }

    /// The open database. One that a fault left closed is opened again.
    fn present(&self) -> Result<Open, Fault> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(open) => Ok(open.clone()),
            None => Ok(slot.insert(self.open_again()?).clone()),
        }
    }

    /// Closes the database once nobody reads any more, and opens it again.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = slot.take() {
            let mut shared = open.database;
            // Readers hold the database for the length of a request and never across an await.
            loop {
                match Arc::try_unwrap(shared) {
                    Ok(alone) => break drop(alone),
                    Err(still) => shared = still,
                }
                std::thread::yield_now();
            }
        }
        *slot = Some(self.open_again()?);
        Ok(())
    }

    fn open_again(&self) -> Result<Open, Fault> {
        if let Backend::File(path) = &self.backend {
            self.release_ballast_below(path);
        }
        // A damaged page makes redb panic where it is met.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = self.open_database()?;
            migrate::run(&database, &self.backend)?;
            Ok(Open::new(database))
        }));
        opened.unwrap_or_else(|_| Err(Fault::Open("it is damaged; put a backup in its place".to_owned())))
    }

    fn open_database(&self) -> Result<Database, Fault> {
        match &self.backend {
            Backend::File(path) => open_file(path),
            Backend::Custom(make) => Ok(builder().create_with_backend(Boxed(make()))?),
        }
    }

    /// Puts a fresh file in place of the present one. Called by the writer, so that nothing is written
    /// meanwhile. After a crash the place holds the old one or the new one, whole.
    pub(super) fn renew(&self) -> Result<(), Fault> {
        let Backend::File(path) = &self.backend else {
            return Err(Fault::Open("only a store in a file can be renewed".to_owned()));
        };
        self.check_renewal()?;
        let beside = path.with_extension("fresh.redb");
        remove_left_over(&beside)?;
        let fresh = open_file(&beside)?;
        let old = self.database()?;
        let placed = renew::copy(&old, &fresh).and_then(|()| fs::rename(&beside, path).map_err(|error| io(&error)));
        if let Err(fault) = placed {
            drop(fresh);
            remove_left_over(&beside)?;
            return Err(fault);
        }
        // From here on the place holds the fresh one, whatever else fails.
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = slot.replace(Open::new(fresh)) {
            self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(old);
        }
        drop(slot);
        sync_parent(path).map_err(|error| io(&error))
    }

    fn check_renewal(&self) -> Result<(), Fault> {
        let Backend::File(path) = &self.backend else { return Ok(()) };
        let needed = fs::metadata(path).map_err(|error| io(&error))?.len() + limits::DISK_FLOOR_BYTES;
        let dir = path.parent().unwrap_or(Path::new("."));
        let free = free_bytes(dir)?;
        if free >= needed {
            return Ok(());
        }
        Err(Fault::Full(format!(
            "a fresh copy of the store needs {} free in {}; there are {}",
            crate::domain::verdict::bytes(needed),
            dir.display(),
            crate::domain::verdict::bytes(free)
        )))
    }

    /// Refuses to write below the floor of free space, after the ballast was let go.
    pub(super) fn check_room(&self) -> Result<(), Fault> {
        let Backend::File(path) = &self.backend else { return Ok(()) };
        let dir = path.parent().unwrap_or(Path::new("."));
        let free = free_bytes(dir)?;
        if free >= limits::DISK_FLOOR_BYTES || limits::DISK_FLOOR_BYTES > total_bytes(dir)? / 4 {
            return Ok(());
        }
        self.release_ballast_below(path);
        Err(Fault::Full(format!(
            "{} has {} free; {} are needed. Free some space, for example by removing old logs",
            dir.display(),
            crate::domain::verdict::bytes(free),
            crate::domain::verdict::bytes(limits::DISK_FLOOR_BYTES)
        )))
    }

    /// Puts a file aside that can be given up when the disk is full.
    fn keep_ballast(&self) {
        let Backend::File(path) = &self.backend else { return };
        let ballast = ballast_of(path);
        let dir = path.parent().unwrap_or(Path::new("."));
        let roomy = free_bytes(dir).is_ok_and(|free| free > 8 * limits::DISK_FLOOR_BYTES);
        if ballast.exists() || !roomy {
            return;
        }
        let written = fs::File::create(&ballast).and_then(|mut file| {
            let block = vec![0_u8; 1 << 20];
            for _ in 0..limits::BALLAST_BYTES >> 20 {
                file.write_all(&block)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "no ballast could be put aside for a full disk");
        }
    }

    fn release_ballast_below(&self, path: &Path) {
        let dir = path.parent().unwrap_or(Path::new("."));
        let low = free_bytes(dir).is_ok_and(|free| free < limits::DISK_FLOOR_BYTES);
        if low && fs::remove_file(ballast_of(path)).is_ok() && !self.ballast_gone.swap(true, Ordering::Relaxed) {
            tracing::warn!("the disk is nearly full: the ballast file was removed to make room");
        }
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(limits::STORE_CACHE_BYTES);
    builder
}

fn open_file(path: &Path) -> Result<Database, Fault> {
    builder().create(path).map_err(|error| match Fault::from(error) {
        Fault::Held(_) => Fault::Held(path.display().to_string()),
        other => other,
    })
}

fn remove_left_over(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn ballast_of(path: &Path) -> PathBuf {
    path.with_extension("ballast")
}

fn free_bytes(dir: &Path) -> Result<u64, Fault> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| Fault::Io(error.to_string()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn total_bytes(dir: &Path) -> Result<u64, Fault> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| Fault::Io(error.to_string()))?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// A boxed backend is a backend.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
}
