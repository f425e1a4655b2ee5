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

    /// Fills as much of `buffer` as there is.
    pub fn fill(&mut self, buffer: &mut [u8], after: &str) -> Result<usize, UploadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.decoder.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(error, after)),
            }
        }
        self.unzipped += filled as u64;
        Ok(filled)
    }

    /// Fills all of `buffer`.
    pub fn fill_exactly(&mut self, buffer: &mut [u8], after: &str) -> Result<(), UploadError> {
        if self.fill(buffer, after)? == buffer.len() {
            Ok(())
        } else {
            Err(UploadError::CutOff { after: after.to_owned() })
        }
    }

    /// Digest and size of what was sent, once all of it has been read.
    pub fn finish(self) -> (Digest, u64) {
        let sent = self.decoder.into_inner().into_inner();
        let digest = sent.context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        (Digest::from_bytes(digest), sent.size)
    }

    fn explain(&mut self, error: io::Error, after: &str) -> UploadError {
        let sent = self.decoder.get_mut().get_mut();
        match sent.failed.take() {
            Some(Failed::TooLarge) => return UploadError::TooLarge,
            Some(Failed::Read(error)) => return UploadError::Read(error),
            None => {}
        }
        match error.kind() {
            _ if sent.size == 0 => UploadError::NothingSent,
            io::ErrorKind::UnexpectedEof => UploadError::CutOff { after: after.to_owned() },
            _ if self.unzipped == 0 => UploadError::NotGzip,
            _ => UploadError::Damaged { after: after.to_owned(), why: error.to_string() },
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
