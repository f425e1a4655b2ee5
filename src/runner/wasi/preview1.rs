//! WASI preview 1, as Wasmtime offers it, with an eye on what it refuses.
//!
//! Every call goes through; only the answers are looked at. The one call that is answered here is
//! `proc_exit`, since Wasmtime's own knows no exit codes from 126 on.
//!
//! What a file system adds of its own is other in every run; what a guest does with it must cost the same
//! each time ([`steady`]).

use std::collections::BTreeMap;

use wasmtime_wasi::{
    WasiCtxView, WasiView,
    p1::{
        WasiP1Ctx,
        types::{
            Advice, CiovecArray, Clockid, Dircookie, Errno, Error, Event, Exitcode, Fd, Fdflags, Fdstat, Filedelta,
            Filesize, Filestat, Filetype, Fstflags, IovecArray, Lookupflags, Oflags, Prestat, Riflags, Rights, Roflags,
            Sdflags, Siflags, Signal, Size, Subscription, Timestamp, Whence,
        },
        wasi_snapshot_preview1::WasiSnapshotPreview1,
    },
};
use wiggle::{GuestMemory, GuestPtr};

use super::{
    cut::Exit,
    denials::Watch,
    steady::{self, Listing},
};
use crate::{
    domain::limits::MIB,
    protocol::{DenialKind, GuestClock},
};

/// Room for a directory: enough for a million files with names of 40 bytes.
const LISTING_BYTES: usize = 64 * MIB as usize;

/// The interface with its watch.
pub struct Watched {
    inner: WasiP1Ctx,
    watch: Watch,
    clock: GuestClock,
    /// Of the directories that are being read, by the number of the descriptor.
    listings: BTreeMap<u32, Listing>,
}

impl Watched {
    pub fn new(inner: WasiP1Ctx, watch: Watch, clock: GuestClock) -> Self {
        Self { inner, watch, clock, listings: BTreeMap::new() }
    }

    pub fn ctx(&mut self) -> WasiCtxView<'_> {
        self.inner.ctx()
    }

    /// What is said of a file.
    fn shown(&self, stat: Filestat) -> Filestat {
        let stat = Filestat { ino: steady::inode(stat.ino), ..stat };
        let Some(time) = steady::time(self.clock) else { return stat };
        let time = time.as_nanos() as Timestamp;
        let stat = Filestat { atim: time, mtim: time, ctim: time, ..stat };
        if stat.filetype == Filetype::Directory {
            return Filestat { size: steady::DIRECTORY_BYTES, nlink: 1, ..stat };
        }
        stat
    }

    /// Reads a whole directory: only then it can be put in order.
    async fn list(&mut self, fd: Fd) -> Result<Listing, Error> {
        // Where nothing is written, the room takes none of the machine's.
        let mut bytes = vec![0; LISTING_BYTES];
        let mut own = GuestMemory::Unshared(&mut bytes);
        let room = LISTING_BYTES as Size;
        let written = self.inner.fd_readdir(&mut own, fd, GuestPtr::new(0), room, 0).await? as usize;
        if written == LISTING_BYTES {
            return Err(Errno::Overflow.into());
        }
        Ok(Listing::new(&bytes[..written]))
    }

    /// Keeps a listing for the calls that go on with it. Where all of them would take too much, they are
    /// read again.
    fn keep(&mut self, fd: Fd, listing: Listing) {
        let kept: usize = self.listings.values().map(Listing::len).sum();
        if kept + listing.len() > LISTING_BYTES {
            self.listings.clear();
        }
        self.listings.insert(fd.into(), listing);
    }

    /// Notes a refusal of a call about a path.
    fn note<T>(&self, done: &Result<T, Error>, mem: &GuestMemory<'_>, call: &str, path: GuestPtr<str>, changes: bool) {
        let Some(errno) = done.as_ref().err().and_then(Error::downcast_ref) else { return };
        let path = || mem.as_cow_str(path).unwrap_or_default().into_owned();
        match errno {
            Errno::Perm | Errno::Notcapable | Errno::Acces | Errno::Rofs => {
                let path = path();
                self.watch.deny(refused(&path, changes), &format!("{call} {path}"));
            }
            Errno::Nospc | Errno::Dquot | Errno::Fbig => self.watch.files_cap(call, &path()),
            _ => {}
        }
    }

    /// The same for a call about an open file.
    fn note_file<T>(&self, done: &Result<T, Error>, call: &str) {
        match done.as_ref().err().and_then(Error::downcast_ref) {
            Some(Errno::Nospc | Errno::Dquot | Errno::Fbig) => self.watch.files_cap(call, ""),
            Some(Errno::Perm | Errno::Notcapable | Errno::Rofs) => self.watch.deny(DenialKind::Write, call),
            _ => {}
        }
    }
}

/// Whether a refused path led out of its grant, or was to be changed below a read-only one.
pub fn refused(path: &str, changes: bool) -> DenialKind {
    let mut depth = 0_i32;
    let leaves = path.starts_with('/')
        || path.split('/').any(|part| {
            depth += match part {
                ".." => -1,
                "" | "." => 0,
                _ => 1,
            };
            depth < 0
        });
    if changes && !leaves { DenialKind::Write } else { DenialKind::Path }
}

type Memory<'a, 'b> = &'a mut GuestMemory<'b>;

/// Calls that pass unseen.
macro_rules! pass {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {$(
        fn $name(&mut self, mem: Memory<'_, '_>, $($arg: $kind),*) -> $out {
            self.inner.$name(mem, $($arg),*)
        }
    )*};
}

/// The same for those that may wait.
macro_rules! pass_waiting {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {$(
        async fn $name(&mut self, mem: Memory<'_, '_>, $($arg: $kind),*) -> Result<$out, Error> {
            self.inner.$name(mem, $($arg),*).await
        }
    )*};
}

/// Calls about an open file.
macro_rules! watch_file {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {$(
        async fn $name(&mut self, mem: Memory<'_, '_>, $($arg: $kind),*) -> Result<$out, Error> {
            let done = self.inner.$name(mem, $($arg),*).await;
            self.note_file(&done, stringify!($name));
            done
        }
    )*};
}

/// Calls about a path; `$seen` is the argument that is shown, `$changes` whether it changes something.
macro_rules! watch_path {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty, $seen:ident, $changes:expr;)*) => {$(
        async fn $name(&mut self, mem: Memory<'_, '_>, $($arg: $kind),*) -> Result<$out, Error> {
            let changes = $changes;
            let done = self.inner.$name(mem, $($arg),*).await;
            self.note(&done, mem, stringify!($name), $seen, changes);
            done
        }
    )*};
}

impl WasiSnapshotPreview1 for Watched {
    fn set_hostcall_fuel(&mut self, fuel: usize) {
        self.inner.set_hostcall_fuel(fuel);
    }

    fn proc_exit(&mut self, _: Memory<'_, '_>, status: Exitcode) -> wiggle::error::Error {
        // Wasm's number has no sign; programs return `-1` and mean it.
        Exit(status.cast_signed()).into()
    }

    async fn fd_filestat_get(&mut self, mem: Memory<'_, '_>, fd: Fd) -> Result<Filestat, Error> {
        self.inner.fd_filestat_get(mem, fd).await.map(|stat| self.shown(stat))
    }

    async fn path_filestat_get(
        &mut self,
        mem: Memory<'_, '_>,
        fd: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
    ) -> Result<Filestat, Error> {
        let done = self.inner.path_filestat_get(mem, fd, flags, path).await;
        self.note(&done, mem, "path_filestat_get", path, false);
        done.map(|stat| self.shown(stat))
    }

    async fn fd_readdir(
        &mut self,
        mem: Memory<'_, '_>,
        fd: Fd,
        buffer: GuestPtr<u8>,
        len: Size,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        let number = u32::from(fd);
        if cookie == 0 || !self.listings.contains_key(&number) {
            let listing = self.list(fd).await?;
            self.keep(fd, listing);
        }
        let part = self.listings.get(&number).map(|listing| listing.part(cookie, len as usize)).unwrap_or_default();
        let written = part.len() as Size;
        mem.copy_from_slice(part, buffer.as_array(written))?;
        Ok(written)
    }

    async fn fd_close(&mut self, mem: Memory<'_, '_>, fd: Fd) -> Result<(), Error> {
        self.listings.remove(&u32::from(fd));
        self.inner.fd_close(mem, fd).await
    }

    async fn fd_renumber(&mut self, mem: Memory<'_, '_>, from: Fd, to: Fd) -> Result<(), Error> {
        self.listings.remove(&u32::from(from));
        self.listings.remove(&u32::from(to));
        self.inner.fd_renumber(mem, from, to).await
    }

    pass! {
        args_get(argv: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Result<(), Error>;
        args_sizes_get() -> Result<(Size, Size), Error>;
        environ_get(environ: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Result<(), Error>;
        environ_sizes_get() -> Result<(Size, Size), Error>;
        clock_res_get(id: Clockid) -> Result<Timestamp, Error>;
        clock_time_get(id: Clockid, precision: Timestamp) -> Result<Timestamp, Error>;
        fd_allocate(fd: Fd, offset: Filesize, len: Filesize) -> Result<(), Error>;
        fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> Result<(), Error>;
        fd_fdstat_set_rights(fd: Fd, base: Rights, inheriting: Rights) -> Result<(), Error>;
        fd_prestat_get(fd: Fd) -> Result<Prestat, Error>;
        fd_prestat_dir_name(fd: Fd, path: GuestPtr<u8>, len: Size) -> Result<(), Error>;
        fd_tell(fd: Fd) -> Result<Filesize, Error>;
        proc_raise(signal: Signal) -> Result<(), Error>;
        sched_yield() -> Result<(), Error>;
        random_get(buffer: GuestPtr<u8>, len: Size) -> Result<(), Error>;
        sock_accept(fd: Fd, flags: Fdflags) -> Result<Fd, Error>;
        sock_recv(fd: Fd, data: IovecArray, flags: Riflags) -> Result<(Size, Roflags), Error>;
        sock_send(fd: Fd, data: CiovecArray, flags: Siflags) -> Result<Size, Error>;
        sock_shutdown(fd: Fd, how: Sdflags) -> Result<(), Error>;
    }

    pass_waiting! {
        fd_advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> ();
        fd_datasync(fd: Fd) -> ();
        fd_fdstat_get(fd: Fd) -> Fdstat;
        fd_read(fd: Fd, data: IovecArray) -> Size;
        fd_pread(fd: Fd, data: IovecArray, offset: Filesize) -> Size;
        fd_seek(fd: Fd, offset: Filedelta, whence: Whence) -> Filesize;
        fd_sync(fd: Fd) -> ();
        poll_oneoff(subscriptions: GuestPtr<Subscription>, events: GuestPtr<Event>, count: Size) -> Size;
    }

    watch_file! {
        fd_filestat_set_size(fd: Fd, size: Filesize) -> ();
        fd_filestat_set_times(fd: Fd, atim: Timestamp, mtim: Timestamp, flags: Fstflags) -> ();
        fd_write(fd: Fd, data: CiovecArray) -> Size;
        fd_pwrite(fd: Fd, data: CiovecArray, offset: Filesize) -> Size;
    }

    watch_path! {
        path_create_directory(fd: Fd, path: GuestPtr<str>) -> (), path, true;
        path_filestat_set_times(
            fd: Fd, flags: Lookupflags, path: GuestPtr<str>, atim: Timestamp, mtim: Timestamp, which: Fstflags
        ) -> (), path, true;
        path_link(
            fd: Fd, flags: Lookupflags, path: GuestPtr<str>, to: Fd, new: GuestPtr<str>
        ) -> (), new, true;
        path_open(
            fd: Fd, flags: Lookupflags, path: GuestPtr<str>, how: Oflags, rights: Rights, inheriting: Rights, as_: Fdflags
        ) -> Fd, path, how.intersects(Oflags::CREAT | Oflags::TRUNC) || rights.contains(Rights::FD_WRITE);
        path_readlink(fd: Fd, path: GuestPtr<str>, buffer: GuestPtr<u8>, len: Size) -> Size, path, false;
        path_remove_directory(fd: Fd, path: GuestPtr<str>) -> (), path, true;
        path_rename(fd: Fd, path: GuestPtr<str>, to: Fd, new: GuestPtr<str>) -> (), new, true;
        path_symlink(target: GuestPtr<str>, fd: Fd, path: GuestPtr<str>) -> (), path, true;
        path_unlink_file(fd: Fd, path: GuestPtr<str>) -> (), path, true;
    }
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

    use super::*;

    /// The interface over a directory, which is number 3.
    fn over(dir: &std::path::Path, clock: GuestClock) -> Watched {
        let mut builder = WasiCtxBuilder::new();
        builder.preopened_dir(dir, "/workspace", FsPerms::ReadWrite).unwrap();
        let mut watched = Watched::new(builder.build_p1(), Watch::default(), clock);
        watched.set_hostcall_fuel(super::super::settings::HOST_CALL_BYTES);
        watched
    }

    /// A directory as a guest reads it that has room for `room` bytes.
    async fn read(watched: &mut Watched, room: usize) -> Vec<String> {
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let mut bytes = vec![0; room];
            let mut mem = GuestMemory::Unshared(&mut bytes);
            let read = watched.fd_readdir(&mut mem, 3.into(), GuestPtr::new(0), room as Size, cookie).await.unwrap();
            let mut entries = &bytes[..read as usize];
            while entries.len() >= 24 {
                let length = u32::from_le_bytes(entries[16..20].try_into().unwrap()) as usize;
                let Some(name) = entries[24..].get(..length) else { break };
                cookie = u64::from_le_bytes(entries[..8].try_into().unwrap());
                names.push(String::from_utf8(name.to_vec()).unwrap());
                entries = &entries[24 + length..];
            }
            if (read as usize) < room {
                return names;
            }
        }
    }

    #[tokio::test]
    async fn a_directory_is_read_by_name_in_pieces_of_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = (0..2_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9E37_79B1))).collect();
        for name in &names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        names.sort();
        names.splice(0..0, [".", ".."].map(str::to_owned));
        let mut watched = over(dir.path(), GuestClock::Frozen);
        for room in [40, 4_096, 1 << 20] {
            assert!(read(&mut watched, room).await == names, "{room}");
        }
        // Whoever begins anew sees what has come meanwhile.
        std::fs::write(dir.path().join("00"), "").unwrap();
        assert_eq!(read(&mut watched, 4_096).await[2], "00");
        let mut none = GuestMemory::Unshared(&mut []);
        watched.fd_close(&mut none, 3.into()).await.unwrap();
        assert!(watched.fd_readdir(&mut none, 3.into(), GuestPtr::new(0), 0, 5).await.is_err());
    }

    #[tokio::test]
    async fn a_frozen_clock_holds_for_files_and_a_directory_has_no_size_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "12345").unwrap();
        for (clock, fixed) in [(GuestClock::Frozen, true), (GuestClock::Real, false)] {
            let mut watched = over(dir.path(), clock);
            let mut name = *b"file";
            let path = GuestPtr::<str>::new((0, 4));
            let mut mem = GuestMemory::Unshared(&mut name);
            let file = watched.path_filestat_get(&mut mem, 3.into(), Lookupflags::empty(), path).await.unwrap();
            let whole = watched.fd_filestat_get(&mut mem, 3.into()).await.unwrap();
            assert_eq!(file.size, 5);
            let frozen = super::super::clock::FROZEN.as_nanos() as u64;
            for stat in [&file, &whole] {
                assert_eq!([stat.atim, stat.mtim, stat.ctim] == [frozen; 3], fixed);
            }
            assert!(!fixed || (whole.size, whole.nlink) == (steady::DIRECTORY_BYTES, 1));
        }
    }
}
