//! The root that a jail sees.
//!
//! Built from nothing on a file system in memory (the *scaffold*), so that what is not named here is
//! not there. For an image the scaffold lies over the image's tree in a read-only overlay: the mount
//! points exist whatever the image holds, and nothing is written into it.
//!
//! The order matters twice: /proc is mounted while the host's is still visible (a user namespace may
//! not see more of /proc than its maker did), and the root becomes read-only when all mount points
//! exist.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount},
    process::{fchdir, pivot_root},
};

use super::{
    kept,
    mounts::{DEVICE, Links, Owner, READ_ONLY, Tree, WRITABLE, attach, bounded, memory, new_file_system},
    sys,
    wire::{Doing, Failure},
};
use crate::{
    domain::limits::{MIB, TMP_BYTES, TMP_FILES},
    protocol::{Bind, Root, file, inside},
};

/// The scaffold holds directories, links and a few small files.
const SCAFFOLD_BYTES: u64 = 4 * MIB;
const SCAFFOLD_FILES: u64 = 4_096;
const SHM_BYTES: u64 = 64 * MIB;
const SHM_FILES: u64 = 1_024;
const DEV_BYTES: u64 = 64 * 1_024;
const DEV_FILES: u64 = 64;

/// Where the host keeps programs. Links (on merged systems) are copied as links.
const PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs read in /etc: the dynamic linker, certificates, names, alternatives, time zone.
/// Nothing that holds a secret: /etc/ssl/private and /etc/pki/tls/private stay out.
const ETC: [&str; 14] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/crypto-policies",
    "/etc/ca-certificates",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/protocols",
];

/// What else they need where there is a network. Often links to elsewhere, which are followed.
const NETWORK_ETC: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/services"];

/// With the host's root only: an image's own says how it looks up names.
const NAME_SERVICE: &str = "/etc/nsswitch.conf";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What a root is made of.
pub(super) struct Plan<'a> {
    pub root: &'a Root,
    /// The chain's directory.
    pub dir: &'a Path,
    pub binds: &'a [Bind],
    pub private_network: bool,
    /// Whether init is root of a user namespace only.
    pub user_namespace: bool,
    /// What the jail may use at all: a larger /tmp would promise too much.
    pub memory_bytes: u64,
    /// Of what is made for the jail, as the namespace that builds the root counts.
    pub owner: Owner,
    /// What the jail's programs see as their own uid.
    pub uid_inside: u32,
    /// Told while something takes long.
    pub busy: kept::Busy<'a>,
}

/// Builds the root and makes it the calling process's, the host's being gone.
pub(super) fn enter(plan: &Plan<'_>) -> Result<(), Failure> {
    let scaffold = scaffold()?;
    skeleton(&scaffold, plan).doing("make the directories of the jail's root")?;

    let root = match plan.root {
        Root::Host => {
            programs(&scaffold)?;
            scaffold
        }
        Root::Image { path } => image(scaffold, path)?,
    };
    etc(&root, plan)?;
    proc(&root)?;
    devices(&root)?;
    temporary(&root, plan)?;
    granted(&root, plan)?;

    take_place(&root)
}

/// What every root begins with.
pub(super) fn scaffold() -> Result<Tree, Failure> {
    // Nothing that is mounted from here on may reach the host, and pivot_root wants it so.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).doing("make mounts private")?;

    // The scaffold lies on top of "/": paths of the host are still found, because a process's root is
    // the mount below. Attached first, since older kernels attach nothing to what is not.
    on_top_of_everything(memory(&bounded(SCAFFOLD_BYTES, SCAFFOLD_FILES, 0o755))?)
}

/// Makes a finished root the calling process's, the host's being gone.
pub(super) fn take_place(root: &Tree) -> Result<(), Failure> {
    // All mount points exist: the root itself needs no more writing. What is mounted on it keeps its
    // own attributes.
    sys::mount_setattr(root.root().as_fd(), READ_ONLY, false).doing("make the root read-only")?;

    // The new root takes the old one's place, and the old one lands on top of it …
    fchdir(root.root()).doing("enter the new root")?;
    pivot_root(c".", c".").doing("change the root")?;

    // … from where it is taken away, with every mount of the host that this namespace had copied.
    unmount(c".", UnmountFlags::DETACH).doing("detach the host's root")?;
    rustix::process::chdir(c"/").doing("enter the new root")
}

fn on_top_of_everything(mount: std::os::fd::OwnedFd) -> Result<Tree, Failure> {
    let slash = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).doing("open /")?;
    attach(&mount, &slash).doing("attach the new root")?;
    Ok(Tree::new(mount))
}

fn skeleton(tree: &Tree, plan: &Plan<'_>) -> io::Result<()> {
    for directory in ["/proc", "/dev", "/tmp", "/etc", "/var/tmp", inside::WORKSPACE, inside::RUN] {
        tree.directory(Path::new(directory))?;
    }
    // An image takes no new mount points later on.
    for bind in plan.binds {
        match bind.kept {
            None => mount_point(tree, &bind.host, &bind.inside)?,
            Some(_) => drop(tree.directory(&bind.inside)?),
        }
    }
    let id = plan.uid_inside;
    tree.write("/etc/passwd", &format!("airlock:x:{id}:{id}:airlock:/tmp/home:/bin/sh\n"))?;
    tree.write("/etc/group", &format!("airlock:x:{id}:\n"))?;
    if plan.private_network {
        return tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
    }
    NETWORK_ETC.iter().map(Path::new).try_for_each(|path| mount_point(tree, path, path))
}

/// Makes what something of the host is mounted on. A bind whose source is missing fails later, by name.
fn mount_point(tree: &Tree, host: &Path, inside: &Path) -> io::Result<()> {
    match fs::metadata(host) {
        Ok(kind) if kind.is_dir() => tree.directory(inside).map(drop),
        Ok(_) => tree.file(inside).map(drop),
        Err(_) => Ok(()),
    }
}

fn programs(tree: &Tree) -> Result<(), Failure> {
    for path in PROGRAMS {
        let Ok(kind) = fs::symlink_metadata(path) else { continue };
        let shown = if kind.is_symlink() {
            fs::read_link(path).and_then(|target| tree.link(path, &target))
        } else {
            tree.bind(Path::new(path), Path::new(path), READ_ONLY, Links::Refuse)
        };
        shown.doing(&format!("show the host's {path}"))?;
    }
    show_if_there(tree, &ETC)?;
    show_if_there(tree, &[NAME_SERVICE])
}

fn etc(tree: &Tree, plan: &Plan<'_>) -> Result<(), Failure> {
    if plan.private_network { Ok(()) } else { show_if_there(tree, &NETWORK_ETC) }
}

fn show_if_there(tree: &Tree, paths: &[&str]) -> Result<(), Failure> {
    for path in paths.iter().map(Path::new) {
        match tree.bind(path, path, READ_ONLY, Links::Follow) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::new(format!("show the host's {}", path.display()), &error)),
        }
    }
    Ok(())
}

/// The image's tree under the scaffold, neither of them writable.
fn image(scaffold: Tree, path: &Path) -> Result<Tree, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let image = openat(CWD, path, flags, Mode::empty()).doing(&format!("open the image {}", path.display()))?;
    // By descriptor: a path may hold characters that the option would take for separators.
    let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", scaffold.root().as_raw_fd(), image.as_raw_fd());
    let overlay = new_file_system(c"overlay", &[(c"lowerdir", &layers)], WRITABLE)?;
    // The overlay has its own hold on the scaffold. As a mount it must go: one more layer on top of
    // the old root would be what is detached in the old root's stead.
    fchdir(scaffold.root()).doing("enter the scaffold")?;
    unmount(c".", UnmountFlags::DETACH).doing("detach the scaffold")?;
    on_top_of_everything(overlay)
}

/// A /proc of this pid namespace in which processes of others are not even listed. Its settings belong
/// to root, which nobody in a jail is.
fn proc(tree: &Tree) -> Result<(), Failure> {
    let attributes = DEVICE | MountAttrFlags::MOUNT_ATTR_NODEV;
    let proc = new_file_system(c"proc", &[(c"hidepid", "2")], attributes)?;
    tree.directory(Path::new("/proc")).and_then(|target| attach(proc, target)).doing("attach /proc")
}

fn devices(tree: &Tree) -> Result<(), Failure> {
    let dev = memory(&bounded(DEV_BYTES, DEV_FILES, 0o755))?;
    tree.directory(Path::new("/dev")).and_then(|target| attach(&dev, target)).doing("attach /dev")?;
    for device in DEVICES {
        let path = PathBuf::from("/dev").join(device);
        tree.bind(&path, &path, DEVICE, Links::Refuse).doing(&format!("show the host's {}", path.display()))?;
    }
    for (link, target) in DEVICE_LINKS {
        tree.link(link, Path::new(target)).doing("make the links of /dev")?;
    }
    // Terminals of the jail's own; nobody else's can be opened through it.
    let pts = new_file_system(c"devpts", &[(c"ptmxmode", "666"), (c"mode", "620")], DEVICE)?;
    tree.directory(Path::new("/dev/pts")).and_then(|target| attach(pts, target)).doing("attach /dev/pts")?;
    let shm = memory(&bounded(SHM_BYTES, SHM_FILES, 0o1777))?;
    tree.directory(Path::new("/dev/shm")).and_then(|target| attach(shm, target)).doing("attach /dev/shm")?;
    sys::mount_setattr(dev.as_fd(), READ_ONLY, false).doing("make /dev read-only")
}

fn temporary(tree: &Tree, plan: &Plan<'_>) -> Result<(), Failure> {
    let tmp = memory(&bounded(TMP_BYTES.min(plan.memory_bytes), TMP_FILES, 0o1777))?;
    tree.directory(Path::new("/tmp")).and_then(|target| attach(tmp, target)).doing("attach /tmp")?;
    tree.owned_directory(Path::new("/tmp/home"), plan.owner, 0o700).doing("make /tmp/home")
}

/// The workspace, what Airlock and the phase tell each other by files, and what the phase was granted.
fn granted(tree: &Tree, plan: &Plan<'_>) -> Result<(), Failure> {
    let own = plan.dir.join(file::TREE);
    for (name, inside) in [(file::WORKSPACE, inside::WORKSPACE), (file::RUN, inside::RUN)] {
        let host = own.join(name);
        tree.bind(&host, Path::new(inside), WRITABLE, Links::Refuse).doing(&format!("show {}", host.display()))?;
    }
    grants(tree, plan)
}

/// What of the host was granted by name.
pub(super) fn grants(tree: &Tree, plan: &Plan<'_>) -> Result<(), Failure> {
    let user = (!plan.user_namespace).then_some(plan.owner);
    let mut used = kept::Used::default();
    for bind in plan.binds {
        let Bind { host, inside, writable, kept, .. } = bind;
        let attributes = if *writable { WRITABLE } else { READ_ONLY };
        let Some(path) = kept else {
            let doing = || format!("show {} as {}", host.display(), inside.display());
            tree.bind(host, inside, attributes, Links::Follow).doing(&doing())?;
            continue;
        };
        let copy = kept::copy_of(bind, path, attributes, (user, &mut used, plan.busy))?;
        tree.directory(inside).and_then(|target| attach(copy, target)).doing(&kept::doing(bind, path))?;
    }
    Ok(())
}
