//! Uploads over the API: whole ones, evil ones, and ones that are cut off.

use std::path::Path;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::server::{Server, archive};

fn files_in(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().unwrap().is_file()).count()
}

/// What lies around in a server's data directory: uploads that came in, and kept ones.
fn lying_around(server: &Server) -> (usize, usize) {
    let uploads = server.data().join("uploads");
    (files_in(&uploads.join("incoming")), files_in(&uploads))
}

#[tokio::test]
async fn an_upload_is_a_version_with_a_digest_that_runs_are_pinned_to() {
    let server = Server::start().await;
    let body = json!({"name": "shop", "vendor": {"kind": "custom"}, "source": {"kind": "upload"}});
    server.admin.post("/stacks", body).await.expect(201);
    assert!(server.admin.post("/stacks/shop/runs", json!({"kind": "tracked"})).await.detail(409).contains("upload"));
    let bytes = archive(&[("a/main.tf", b"x"), ("b", b"y")]);
    let digest = airlock::crypt::digest(&bytes).to_string();
    let upload = server.admin.upload("shop", bytes.clone()).await.expect(200).json();
    assert_eq!(upload, json!({"digest": digest, "size": bytes.len()}));
    server.admin.upload("shop", bytes).await.expect(200);
    assert_eq!(lying_around(&server), (0, 1));
    let run = server.run("shop").await;
    assert_eq!(run["commit"], json!(null));
    let commit = "0".repeat(40);
    server.admin.post("/stacks/shop/runs", json!({"kind": "tracked", "commit": commit})).await.problem(422);
}

#[tokio::test]
async fn an_archive_that_reaches_out_is_refused_with_the_entry() {
    let server = Server::start().await;
    server.stack("shop").await;
    let evil = |make: &dyn Fn(&mut tar::Header)| {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        make(&mut header);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    };
    let named = |header: &mut tar::Header, name: &str| {
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    };
    let archives = [
        ("../escape", evil(&|header| named(header, "../escape"))),
        ("/etc/passwd", evil(&|header| named(header, "/etc/passwd"))),
        (
            "disk",
            evil(&|header| {
                named(header, "disk");
                header.set_entry_type(tar::EntryType::Block);
                header.set_device_major(8).unwrap();
                header.set_device_minor(0).unwrap();
            }),
        ),
        (
            "out",
            evil(&|header| {
                named(header, "out");
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name("../../etc").unwrap();
            }),
        ),
    ];
    let before = lying_around(&server);
    for (entry, bytes) in archives {
        let detail = server.admin.upload("shop", bytes).await.detail(422);
        assert!(detail.contains(entry.trim_start_matches('/')), "{entry} in {detail:?}");
    }
    server.admin.upload("shop", b"this is no archive".to_vec()).await.problem(422);
    let whole = archive(&[("a", &[7; 10_000])]);
    server.admin.upload("shop", whole[..whole.len() - 20].to_vec()).await.problem(422);
    assert_eq!(lying_around(&server), before);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let server = Server::start().await;
    server.stack("shop").await;
    let before = lying_around(&server);
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let token = server.admin.token();
    let head = format!(
        "PUT /api/v1/stacks/shop/source HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0x1f; 5_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(lying_around(&server), before);
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_before_it_comes() {
    let server = Server::start().await;
    server.stack("shop").await;
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let token = server.admin.token();
    let bytes = (1_u64 << 30) + 1;
    let head = format!(
        "PUT /api/v1/stacks/shop/source HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("1 GiB"), "{answer}");
}

#[tokio::test]
async fn a_stack_whose_source_is_a_repository_takes_no_upload() {
    let server = Server::start().await;
    let source = json!({"kind": "git", "url": "https://example.org/x.git", "branch": "main"});
    server
        .admin
        .post("/stacks", json!({"name": "shop", "vendor": {"kind": "custom"}, "source": source}))
        .await
        .expect(201);
    assert!(server.admin.upload("shop", archive(&[("a", b"x")])).await.detail(409).contains("git"));
    assert_eq!(lying_around(&server), (0, 0));
}
