//! From an archive to its layers, the lowest first.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::Deserialize;

use super::{EXTENDED_BYTES, ImageError};
use crate::{
    archive::{ArchiveError, Reader, What, shown},
    crypt::{Hasher, random_bytes},
    domain::limits,
};

/// Documents of an archive.
const DOCUMENT_BYTES: u64 = 4 * limits::MIB;
/// Indexes that lie in indexes.
const INDEXES: u32 = 3;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What zstd may keep in memory: a window of 128 MiB.
const ZSTD_WINDOW: u32 = 27;
/// Links among an archive's files that are followed.
const HOPS: u32 = 8;

/// What to do with a layer.
type Apply<'a> = dyn FnMut(&mut dyn Read) -> Result<(), ImageError> + 'a;

/// Hands every layer of the archive's image to `apply`.
pub fn layers(archive: &File, scratch: &Path, apply: &mut Apply<'_>) -> Result<(), ImageError> {
    let mut plain = plain(archive, scratch)?;
    let Some(files) = index(&mut plain)? else {
        // No file of its own says that it is anything else: it is a root.
        plain.rewind().map_err(ImageError::Read)?;
        return apply(&mut BufReader::new(plain));
    };
    let mut archive = Archive { file: plain, files };
    let layers = archive.layers()?;
    if layers.is_empty() {
        return Err(ImageError::NotAnImage("its image has no layers".to_owned()));
    }
    if layers.len() > limits::IMAGE_LAYERS {
        return Err(ImageError::TooManyLayers);
    }
    layers.iter().try_for_each(|name| archive.layer(name, apply))
}

/// The archive without its compression, which nothing can be looked up in: in a file without a name.
fn plain(archive: &File, scratch: &Path) -> Result<File, ImageError> {
    let mut copy = archive.try_clone().map_err(ImageError::Read)?;
    copy.rewind().map_err(ImageError::Read)?;
    let mut reader = BufReader::new(copy);
    let (packed, mut unpacked) = decompressed(&mut reader)?;
    if !packed {
        drop(unpacked);
        return Ok(reader.into_inner());
    }
    let mut file = nameless(scratch).map_err(ImageError::Read)?;
    let mut piece = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let read = match unpacked.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(ImageError::Broken { after: "its beginning".to_owned(), why: error.to_string() });
            }
        };
        bytes += read as u64;
        if bytes > limits::IMAGE_UNPACKED_BYTES {
            return Err(ImageError::TooLarge { entry: "its own compression".to_owned() });
        }
        file.write_all(&piece[..read]).map_err(ImageError::Read)?;
    }
    drop(unpacked);
    file.rewind().map_err(ImageError::Read)?;
    Ok(file)
}

/// A file that is gone when nobody has it open any more.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!(".incoming-{}", hex::encode(random_bytes::<16>())));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A stream out of one that may be compressed; and whether it is.
fn decompressed<R: io::BufRead>(stream: &mut R) -> Result<(bool, Box<dyn Read + '_>), ImageError> {
    let start = stream.fill_buf().map_err(ImageError::Read)?;
    if start.starts_with(&GZIP) {
        return Ok((true, Box::new(flate2::bufread::MultiGzDecoder::new(stream))));
    }
    if start.starts_with(&ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(stream).map_err(ImageError::Read)?;
        decoder.window_log_max(ZSTD_WINDOW).map_err(ImageError::Read)?;
        return Ok((true, Box::new(decoder)));
    }
    Ok((false, Box::new(stream)))
}

/// Where the files of an archive are.
type Files = BTreeMap<String, Place>;

#[derive(Clone, Debug)]
enum Place {
    File { at: u64, bytes: u64 },
    Link { to: String },
}

/// The files of an archive of an image; none where it is something else.
fn index(file: &mut File) -> Result<Option<Files>, ImageError> {
    file.rewind().map_err(ImageError::Read)?;
    let mut files = Files::new();
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, &*file), EXTENDED_BYTES);
    let mut entries = 0_u64;
    while let Some(entry) = reader.next_entry()? {
        entries += 1;
        if entries > limits::IMAGE_ENTRIES {
            return Err(ImageError::TooMany { entry: shown(&entry.name) });
        }
        let name = String::from_utf8_lossy(&entry.name).trim_start_matches("./").to_owned();
        match entry.what {
            What::File { size } => {
                files.insert(name, Place::File { at: reader.at(), bytes: size });
                reader.content(size, |_| Ok::<_, ArchiveError>(()))?;
            }
            What::Symlink { target } | What::HardLink { target } => {
                let to = beside(&name, &String::from_utf8_lossy(&target));
                files.insert(name, Place::Link { to });
            }
            What::Directory | What::Sparse | What::Special { .. } => {}
        }
        // A root has many files before anything is known; those of an image are few.
        if files.len() > 16_384 {
            return Ok(None);
        }
    }
    let is_image = files.contains_key("manifest.json") || files.contains_key("oci-layout");
    Ok(is_image.then_some(files))
}

/// Where a link leads that stands at `name`: old archives share layers so (`../<id>/layer.tar`).
fn beside(name: &str, target: &str) -> String {
    let mut path: Vec<&str> = name.split('/').collect();
    path.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path.join("/")
}

struct Archive {
    file: File,
    files: Files,
}

/// What `docker save` says of one image.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// An index or a manifest (OCI image specification; Docker's have the same fields).
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Archive {
    /// The names of the layers' files.
    fn layers(&mut self) -> Result<Vec<String>, ImageError> {
        if self.files.contains_key("manifest.json") {
            let saved: Vec<Saved> = self.document("manifest.json")?;
            let count = saved.len();
            return match <[Saved; 1]>::try_from(saved) {
                Ok([only]) => Ok(only.layers),
                Err(_) => Err(ImageError::Several(count)),
            };
        }
        let mut document: Document = self.document("index.json")?;
        for _ in 0..INDEXES {
            if document.manifests.is_empty() {
                return document.layers.iter().map(|layer| blob(&layer.digest)).collect();
            }
            document = self.document(&blob(&for_this_machine(document.manifests)?.digest)?)?;
        }
        Err(ImageError::NotAnImage("its indexes lie too deep".to_owned()))
    }

    fn document<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Result<T, ImageError> {
        let mut bytes = Vec::new();
        let content = self.open(name)?;
        content.take(DOCUMENT_BYTES).read_to_end(&mut bytes).map_err(ImageError::Read)?;
        check(name, &crate::crypt::digest(&bytes))?;
        serde_json::from_slice(&bytes).map_err(|error| ImageError::NotAnImage(format!("`{name}`: {error}")))
    }

    fn layer(&mut self, name: &str, apply: &mut Apply<'_>) -> Result<(), ImageError> {
        let mut hashed = Hashed { content: self.open(name)?, hasher: Hasher::new() };
        let mut reader = BufReader::with_capacity(256 << 10, &mut hashed);
        let (_, mut plain) = decompressed(&mut reader)?;
        apply(&mut plain)?;
        drop(plain);
        // What follows a layer's end belongs to its digest, too.
        io::copy(&mut reader, &mut io::sink()).map_err(ImageError::Read)?;
        drop(reader);
        let digest = hashed.hasher.digest();
        check(name, &digest)
    }

    /// The content of a file of the archive.
    fn open(&mut self, name: &str) -> Result<io::Take<File>, ImageError> {
        let missing = || ImageError::Missing(name.chars().take(200).collect());
        let mut at = name.to_owned();
        for _ in 0..HOPS {
            match self.files.get(&at).ok_or_else(missing)? {
                Place::Link { to } => at.clone_from(to),
                Place::File { at, bytes } => {
                    let mut file = self.file.try_clone().map_err(ImageError::Read)?;
                    file.seek(SeekFrom::Start(*at)).map_err(ImageError::Read)?;
                    return Ok(file.take(*bytes));
                }
            }
        }
        Err(missing())
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    content: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// The name of a blob's file.
fn blob(digest: &str) -> Result<String, ImageError> {
    match digest.split_once(':') {
        Some(("sha256", digits)) if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(format!("blobs/sha256/{digits}"))
        }
        _ => Err(ImageError::NotAnImage(format!("`{}` is no digest", digest.chars().take(80).collect::<String>()))),
    }
}

/// The one manifest that this machine can run.
fn for_this_machine(manifests: Vec<Descriptor>) -> Result<Descriptor, ImageError> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |one: &Descriptor| {
        one.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == machine)
    };
    let found: Vec<Descriptor> = manifests.into_iter().filter(fits).collect();
    let count = found.len();
    match <[Descriptor; 1]>::try_from(found) {
        Ok([only]) => Ok(only),
        Err(_) if count == 0 => Err(ImageError::OtherMachine(machine)),
        Err(_) => Err(ImageError::Several(count)),
    }
}

/// Holds a blob against its name, where that is a digest.
fn check(name: &str, found: &crate::domain::Digest) -> Result<(), ImageError> {
    match name.strip_prefix("blobs/sha256/") {
        Some(digits) if digits != found.digits() => Err(ImageError::Damaged { what: name.to_owned() }),
        Some(_) | None => Ok(()),
    }
}
