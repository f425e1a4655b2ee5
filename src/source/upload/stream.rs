//! The layers below the archive: what was sent, counted and hashed; what that unzips to.

use std::io::{self, BufReader, Read};

use aws_lc_rs::digest::{Context, SHA256};
use flate2::bufread::MultiGzDecoder;

use super::UploadError;
use crate::domain::{Digest, limits};

/// Unzips a stream.
pub struct Stream<R> {
    decoder: MultiGzDecoder<BufReader<Sent<R>>>,
    /// Bytes that came out.
    unzipped: u64,
}

impl<R: Read> Stream<R> {
    pub fn new(archive: R) -> Self {
        let sent = Sent { inner: archive, context: Context::new(&SHA256), size: 0, failed: None };
        Self { decoder: MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, sent)), unzipped: 0 }
    }

    /// Digest and size of what was sent, once all of it has been read.
    pub fn finish(self) -> (Digest, u64) {
        let sent = self.decoder.into_inner().into_inner();
        let digest = sent.context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        (Digest::from_bytes(digest), sent.size)
    }

    /// The error with what is known of it here, if it is anything but damage.
    fn explain(&mut self, error: io::Error) -> io::Error {
        let sent = self.decoder.get_mut().get_mut();
        io::Error::other(match sent.failed.take() {
            Some(Failed::TooLarge) => UploadError::TooLarge,
            Some(Failed::Read(error)) => UploadError::Read(error),
            None if sent.size == 0 => UploadError::NothingSent,
            None if error.kind() == io::ErrorKind::UnexpectedEof => return error,
            None if self.unzipped == 0 => UploadError::NotGzip,
            None => return error,
        })
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
            Ok(read) => {
                self.unzipped += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.explain(error)),
        }
    }
}

/// What was sent.
struct Sent<R> {
    inner: R,
    context: Context,
    size: u64,
    failed: Option<Failed>,
}

enum Failed {
    TooLarge,
    Read(io::Error),
}

impl<R: Read> Read for Sent<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match self.inner.read(buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                self.failed = Some(Failed::Read(error));
                return Err(io::ErrorKind::Other.into());
            }
        };
        self.context.update(&buffer[..n]);
        self.size += n as u64;
        if self.size > limits::SOURCE_BYTES {
            self.failed = Some(Failed::TooLarge);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(n)
    }
}
