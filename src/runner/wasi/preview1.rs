//! WASI preview 1, as Wasmtime offers it, with an eye on what it refuses.
//!
//! Every call goes through; only the answers are looked at. The one call that is answered here is
//! `proc_exit`, since Wasmtime's own knows no exit codes from 126 on.
//!
//! Numbers of files are other ones in every run; what a guest does with one must cost the same each time
//! ([`steady`]).

use wasmtime_wasi::{
    WasiCtxView, WasiView,
    p1::{
        WasiP1Ctx,
        types::{
            Advice, CiovecArray, Clockid, Dircookie, Errno, Error, Event, Exitcode, Fd, Fdflags, Fdstat, Filedelta,
            Filesize, Filestat, Fstflags, IovecArray, Lookupflags, Oflags, Prestat, Riflags, Rights, Roflags, Sdflags,
            Siflags, Signal, Size, Subscription, Timestamp, Whence,
        },
        wasi_snapshot_preview1::WasiSnapshotPreview1,
    },
};
use wiggle::{GuestMemory, GuestPtr};

use super::{cut::Exit, denials::Watch};
use crate::protocol::DenialKind;

/// The interface with its watch.
pub struct Watched {
    inner: WasiP1Ctx,
    watch: Watch,
}

impl Watched {
    pub fn new(inner: WasiP1Ctx, watch: Watch) -> Self {
        Self { inner, watch }
    }

    pub fn ctx(&mut self) -> WasiCtxView<'_> {
        self.inner.ctx()
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

/// The least number of a file that a guest sees. All of them have 18 decimal digits and between 59 and
/// 60 bits: to print one, or to count with it, takes the same fuel.
const LEAST_INODE: u64 = 600_000_000_000_000_000;
const INODES: u64 = 400_000_000_000_000_000;

/// A file's number as guests see it.
pub fn steady(inode: u64) -> u64 {
    LEAST_INODE + inode % INODES
}

/// Bytes of a directory's entry before its name; the file's number is in the second eight.
const ENTRY_BYTES: usize = 24;

/// The same in the entries of a directory, the last of which may be cut off: nobody reads that one.
fn steady_entries(mut entries: &mut [u8]) {
    while let Some((head, rest)) = entries.split_first_chunk_mut::<ENTRY_BYTES>() {
        let (inode, name) = (head[8..16].try_into(), head[16..20].try_into());
        let (Ok(inode), Ok(name)) = (inode, name) else { return };
        head[8..16].copy_from_slice(&steady(u64::from_le_bytes(inode)).to_le_bytes());
        let name = u32::from_le_bytes(name) as usize;
        entries = rest.get_mut(name..).unwrap_or_default();
    }
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
        let stat = self.inner.fd_filestat_get(mem, fd).await?;
        Ok(Filestat { ino: steady(stat.ino), ..stat })
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
        done.map(|stat| Filestat { ino: steady(stat.ino), ..stat })
    }

    async fn fd_readdir(
        &mut self,
        mem: Memory<'_, '_>,
        fd: Fd,
        buffer: GuestPtr<u8>,
        len: Size,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        let written = self.inner.fd_readdir(mem, fd, buffer, len, cookie).await?;
        let shown = buffer.as_array(written);
        let mut entries = mem.as_cow(shown)?.into_owned();
        steady_entries(&mut entries);
        mem.copy_from_slice(&entries, shown)?;
        Ok(written)
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
        fd_close(fd: Fd) -> ();
        fd_datasync(fd: Fd) -> ();
        fd_fdstat_get(fd: Fd) -> Fdstat;
        fd_read(fd: Fd, data: IovecArray) -> Size;
        fd_pread(fd: Fd, data: IovecArray, offset: Filesize) -> Size;
        fd_renumber(from: Fd, to: Fd) -> ();
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
    use super::*;

    #[test]
    fn the_number_of_a_file_is_as_long_whatever_it_is() {
        for inode in [0, 1, 1 << 30, INODES - 1, INODES, u64::MAX] {
            let shown = steady(inode);
            assert_eq!((shown.to_string().len(), shown.ilog2()), (18, 59), "{inode}");
        }
    }

    #[test]
    fn so_it_is_in_the_entries_of_a_directory_whose_names_stay() {
        let entry = |inode: u64, name: &str| {
            let length = (name.len() as u32).to_le_bytes();
            [&[7; 8][..], &inode.to_le_bytes(), &length, &[3, 0, 0, 0], name.as_bytes()].concat()
        };
        let entries = |number: fn(u64) -> u64| {
            [(1, "a"), (u64::MAX, "long name"), (5, "")].map(|(inode, name)| entry(number(inode), name)).concat()
        };
        let (given, expected) = (entries(|inode| inode), entries(steady));
        for cut in [given.len(), given.len() - ENTRY_BYTES, given.len() - ENTRY_BYTES - 4, 0] {
            let mut seen = given[..cut].to_vec();
            steady_entries(&mut seen);
            assert_eq!(seen, expected[..cut], "{cut}");
        }
        let mut torn = given[..given.len() - 1].to_vec();
        steady_entries(&mut torn);
        assert_eq!(torn[..given.len() - ENTRY_BYTES], expected[..given.len() - ENTRY_BYTES]);
    }
}
