//! The files of WASI preview 2, as Wasmtime offers them, with an eye on what it refuses.

use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::WasiFilesystemCtxView,
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::types::{
            Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
            ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp,
            OpenFlags, PathFlags,
        },
    },
};

use super::{
    denials::Watch,
    preview1::{refused, steady},
};
use crate::protocol::DenialKind;

type Fd = Resource<Descriptor>;

/// The interface with its watch.
pub struct WatchedFiles<'a> {
    inner: WasiFilesystemCtxView<'a>,
    watch: Watch,
}

impl<'a> WatchedFiles<'a> {
    pub fn new(inner: WasiFilesystemCtxView<'a>, watch: Watch) -> Self {
        Self { inner, watch }
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
    MetadataHashValue { lower: steady(hash.lower), upper: steady(hash.upper) }
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
        read_directory(fd: Fd) -> FsResult<Resource<DirectoryEntryStream>>;
        sync(fd: Fd) -> FsResult<()>;
        stat(fd: Fd) -> FsResult<DescriptorStat>;
        is_same_object(a: Fd, b: Fd) -> wasmtime::Result<bool>;
    }

    watch_file! {
        set_size(fd: Fd, size: Filesize) -> ();
        set_times(fd: Fd, atim: NewTimestamp, mtim: NewTimestamp) -> ();
        write(fd: Fd, data: Vec<u8>, offset: Filesize) -> Filesize;
    }

    watch_path! {
        create_directory_at(fd: Fd, path: String) -> (), path, true;
        stat_at(fd: Fd, flags: PathFlags, path: String) -> DescriptorStat, path, false;
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
        self.inner.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}
