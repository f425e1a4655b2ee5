//! The files of WASI preview 2, as Wasmtime offers them, with an eye on what it refuses.

use std::collections::{BTreeMap, VecDeque};

use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::WasiFilesystemCtxView,
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::{
            clocks::wall_clock::Datetime,
            filesystem::types::{
                Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
                DirectoryEntryStream, ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream,
                MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
            },
        },
    },
};

use super::{denials::Watch, preview1::refused, steady};
use crate::protocol::{DenialKind, GuestClock};

type Fd = Resource<Descriptor>;

/// What is left of the directories that are being read, by the number of the stream; what could not be
/// read comes last.
pub type Listings = BTreeMap<u32, VecDeque<FsResult<DirectoryEntry>>>;

/// The interface with its watch.
pub struct WatchedFiles<'a> {
    pub inner: WasiFilesystemCtxView<'a>,
    pub watch: Watch,
    pub clock: GuestClock,
    pub listings: &'a mut Listings,
}

impl WatchedFiles<'_> {
    /// What is said of a file.
    fn shown(&self, stat: DescriptorStat) -> DescriptorStat {
        let Some(time) = steady::time(self.clock) else { return stat };
        let time = Some(Datetime { seconds: time.as_secs(), nanoseconds: 0 });
        let stat = DescriptorStat {
            data_access_timestamp: time,
            data_modification_timestamp: time,
            status_change_timestamp: time,
            ..stat
        };
        if stat.type_ == DescriptorType::Directory {
            return DescriptorStat { size: steady::DIRECTORY_BYTES, link_count: 1, ..stat };
        }
        stat
    }

    fn note<T>(&self, done: &FsResult<T>, call: &str, path: &str, changes: bool) {
        match done.as_ref().err().and_then(FsError::downcast_ref) {
            Some(ErrorCode::NotPermitted | ErrorCode::Access | ErrorCode::ReadOnly) => {
                let kind = if path.is_empty() { DenialKind::Write } else { refused(path, changes) };
                self.watch.deny(kind, format!("{call} {path}").trim_end());
            }
            Some(ErrorCode::InsufficientSpace | ErrorCode::Quota | ErrorCode::FileTooLarge) => {
                self.watch.files_cap(call, path);
            }
            _ => {}
        }
    }
}

/// What stands for a file's number.
fn as_shown(hash: MetadataHashValue) -> MetadataHashValue {
    MetadataHashValue { lower: steady::inode(hash.lower), upper: steady::inode(hash.upper) }
}

/// Calls that pass unseen.
macro_rules! pass {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {$(
        async fn $name(&mut self, $($arg: $kind),*) -> $out {
            self.inner.$name($($arg),*).await
        }
    )*};
}

/// Calls about an open file.
macro_rules! watch_file {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {$(
        async fn $name(&mut self, $($arg: $kind),*) -> FsResult<$out> {
            let done = self.inner.$name($($arg),*).await;
            self.note(&done, stringify!($name), "", true);
            done
        }
    )*};
}

/// Calls about a path; `$seen` is the argument that is shown, `$changes` whether it changes something.
macro_rules! watch_path {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty, $seen:ident, $changes:expr;)*) => {$(
        async fn $name(&mut self, $($arg: $kind),*) -> FsResult<$out> {
            let (shown, changes) = ($seen.clone(), $changes);
            let done = self.inner.$name($($arg),*).await;
            self.note(&done, stringify!($name), &shown, changes);
            done
        }
    )*};
}

impl Host for WatchedFiles<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let code = self.inner.filesystem_error_code(error)?;
        if let Some(ErrorCode::InsufficientSpace | ErrorCode::Quota | ErrorCode::FileTooLarge) = code {
            self.watch.files_cap("write", "");
        }
        Ok(code)
    }
}

impl HostDescriptor for WatchedFiles<'_> {
    pass! {
        advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> FsResult<()>;
        sync_data(fd: Fd) -> FsResult<()>;
        get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        get_type(fd: Fd) -> FsResult<DescriptorType>;
        read(fd: Fd, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        sync(fd: Fd) -> FsResult<()>;
        is_same_object(a: Fd, b: Fd) -> wasmtime::Result<bool>;
    }

    watch_file! {
        set_size(fd: Fd, size: Filesize) -> ();
        set_times(fd: Fd, atim: NewTimestamp, mtim: NewTimestamp) -> ();
        write(fd: Fd, data: Vec<u8>, offset: Filesize) -> Filesize;
    }

    watch_path! {
        create_directory_at(fd: Fd, path: String) -> (), path, true;
        set_times_at(fd: Fd, flags: PathFlags, path: String, atim: NewTimestamp, mtim: NewTimestamp) -> (), path, true;
        link_at(fd: Fd, flags: PathFlags, path: String, to: Fd, new: String) -> (), new, true;
        open_at(fd: Fd, flags: PathFlags, path: String, how: OpenFlags, mode: DescriptorFlags) -> Fd, path,
            how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) || mode.contains(DescriptorFlags::WRITE);
        readlink_at(fd: Fd, path: String) -> String, path, false;
        remove_directory_at(fd: Fd, path: String) -> (), path, true;
        rename_at(fd: Fd, path: String, to: Fd, new: String) -> (), new, true;
        symlink_at(fd: Fd, target: String, path: String) -> (), path, true;
        unlink_file_at(fd: Fd, path: String) -> (), path, true;
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        self.inner.stat(fd).await.map(|stat| self.shown(stat))
    }

    async fn stat_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let shown = path.clone();
        let done = self.inner.stat_at(fd, flags, path).await;
        self.note(&done, "stat_at", &shown, false);
        done.map(|stat| self.shown(stat))
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        let stream = self.inner.read_directory(fd).await?;
        let (mut entries, mut unread) = (Vec::new(), Vec::new());
        loop {
            match self.inner.read_directory_entry(Resource::new_borrow(stream.rep())).await {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break,
                Err(error) if error.downcast_ref().is_some() => unread.push(Err(error)),
                Err(trap) => return Err(trap),
            }
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        self.listings.insert(stream.rep(), entries.into_iter().map(Ok).chain(unread).collect());
        Ok(stream)
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        self.inner.metadata_hash(fd).await.map(as_shown)
    }

    async fn metadata_hash_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue> {
        let shown = path.clone();
        let done = self.inner.metadata_hash_at(fd, flags, path).await;
        self.note(&done, "metadata_hash_at", &shown, false);
        done.map(as_shown)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.inner, fd)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.inner.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let done = self.inner.write_via_stream(fd, offset);
        self.note(&done, "write_via_stream", "", true);
        done
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let done = self.inner.append_via_stream(fd);
        self.note(&done, "append_via_stream", "", true);
        done
    }
}

impl HostDirectoryEntryStream for WatchedFiles<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.listings.get_mut(&stream.rep()).and_then(VecDeque::pop_front).transpose()
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.listings.remove(&stream.rep());
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::ResourceTable;
    use wasmtime_wasi::{FsPerms, WasiCtxBuilder, p2::bindings::filesystem::preopens::Host as _};

    use super::*;

    #[tokio::test]
    async fn a_directory_is_read_by_name_and_a_frozen_clock_holds_for_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = (0..300_u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9E37_79B1))).collect();
        for name in &names {
            std::fs::write(dir.path().join(name), "12345").unwrap();
        }
        names.sort();
        let mut builder = WasiCtxBuilder::new();
        builder.preopened_dir(dir.path(), "/workspace", FsPerms::ReadWrite).unwrap();
        let (mut wasi, mut table, mut listings) = (builder.build(), ResourceTable::new(), Listings::new());
        for (clock, fixed) in [(GuestClock::Frozen, true), (GuestClock::Real, false)] {
            let inner = WasiFilesystemCtxView { ctx: wasi.filesystem(), table: &mut table };
            let mut files = WatchedFiles { inner, watch: Watch::default(), clock, listings: &mut listings };
            let root = files.inner.get_directories().unwrap().remove(0).0.rep();
            let root = || Resource::new_borrow(root);
            let stream = files.read_directory(root()).await.unwrap();
            let mut read = Vec::new();
            while let Some(entry) = files.read_directory_entry(Resource::new_borrow(stream.rep())).await.unwrap() {
                read.push(entry.name);
            }
            assert!(read == names, "{read:?}");
            HostDirectoryEntryStream::drop(&mut files, stream).unwrap();
            assert!(files.listings.is_empty());

            let frozen = super::super::clock::FROZEN.as_secs();
            let file = files.stat_at(root(), PathFlags::empty(), names[0].clone()).await.unwrap();
            assert_eq!(file.size, 5);
            assert_eq!(file.data_modification_timestamp.unwrap().seconds == frozen, fixed);
            let whole = files.stat(root()).await.unwrap();
            assert!(!fixed || (whole.size, whole.link_count) == (steady::DIRECTORY_BYTES, 1));
        }
    }
}
