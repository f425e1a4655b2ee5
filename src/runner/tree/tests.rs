use std::os::unix::fs::symlink;

use super::*;

fn tree() -> (tempfile::TempDir, Tree) {
    let root = tempfile::tempdir().unwrap();
    let tree = Tree::make(&ChainDir::open(root.path()).unwrap(), None).unwrap();
    (root, tree)
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

#[test]
fn a_file_is_placed_in_place_of_a_link_and_never_through_one() {
    let (root, tree) = tree();
    let outside = root.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    let workspace = root.path().join("tree/workspace");
    symlink(outside.join("kept"), workspace.join("link")).unwrap();
    symlink(&outside, workspace.join("dir")).unwrap();
    tree.place(&path("link"), b"new").unwrap();
    assert_eq!(std::fs::read(workspace.join("link")).unwrap(), b"new");
    assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"kept");
    assert!(tree.place(&path("dir/file"), b"new").is_err());
    assert!(!outside.join("file").exists());
}

#[test]
fn links_are_made_and_removed_and_never_followed() {
    let (root, tree) = tree();
    let workspace = root.path().join("tree/workspace");
    symlink("..", workspace.join("out")).unwrap();
    tree.link(&path("d/e/link"), b"../../a").unwrap();
    assert_eq!(tree.read(&path("d/e/link")).unwrap(), Some(Entry::Link(b"../../a".to_vec())));
    tree.link(&path("d/e/link"), b"other").unwrap();
    assert_eq!(std::fs::read_link(workspace.join("d/e/link")).unwrap(), Path::new("other"));
    assert!(tree.link(&path("out/link"), b"x").is_err());
    assert!(!root.path().join("tree/link").exists());
    tree.write(&path("d/file"), b"text", None).unwrap();
    tree.remove(&path("d/e/link")).unwrap();
    assert!(!workspace.join("d/e").exists(), "directories that hold nothing any more go");
    assert_eq!(tree.read(&path("d/file")).unwrap(), Some(Entry::File(b"text".to_vec())));
    assert_eq!(tree.read(&path("d")).unwrap(), None);
}

#[test]
fn what_is_not_a_regular_file_is_not_read() {
    let (root, tree) = tree();
    let run = root.path().join("tree/run");
    std::fs::write(root.path().join("secret"), "secret").unwrap();
    symlink(root.path().join("secret"), run.join("link")).unwrap();
    symlink("../../secret", run.join("relative")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, run.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    std::fs::create_dir(run.join("dir")).unwrap();
    for name in ["link", "relative", "pipe", "dir", "absent"] {
        assert_eq!(tree.read_run_file(name, 100).unwrap(), None, "{name}");
    }
}

#[test]
fn nothing_is_read_beyond_its_bound() {
    let (root, tree) = tree();
    std::fs::write(root.path().join("tree/run/file"), vec![0; 101]).unwrap();
    assert!(tree.read_run_file("file", 100).unwrap_err().to_string().contains("100 B"));
    assert_eq!(tree.read_run_file("file", 101).unwrap().unwrap().len(), 101);
}

#[test]
fn configuration_is_read_through_links_that_stay_inside() {
    let (root, tree) = tree();
    let workspace = root.path().join("tree/workspace");
    std::fs::create_dir_all(workspace.join("infra")).unwrap();
    std::fs::write(workspace.join("shared.tf"), "shared").unwrap();
    symlink("../shared.tf", workspace.join("infra/inside.tf")).unwrap();
    symlink("/etc/passwd", workspace.join("infra/outside.tf")).unwrap();
    std::fs::write(workspace.join("infra/notes.md"), "no").unwrap();
    let found = tree.configuration(&path("infra"), |name| name != "notes.md").unwrap();
    assert_eq!(found, [("inside.tf".to_owned(), b"shared".to_vec())]);
    assert_eq!(tree.configuration(&path("absent"), |_| true).unwrap(), []);
}
