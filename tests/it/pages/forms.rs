//! Forms: they keep what was typed, say what is wrong where it is wrong, and are safe to send twice.

use std::os::unix::fs::PermissionsExt as _;

use airlock::domain::{Kind, Role};

use super::{
    super::git::git,
    checks,
    rig::{PASSWORD, Site, custom},
};
use crate::whole::rig::tar_gz;

/// The form of a new stack, as a browser sends it.
fn new_stack<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("do", "create"),
        ("source.kind", "upload"),
        ("vendor.kind", "custom"),
        ("vendor.plan", "exit 2"),
        ("executor.kind", "jail"),
        ("executor.image", "host"),
        ("executor.network", "host"),
        ("source.branch", "main"),
        ("enabled", "on"),
        ("mask_well_known", "on"),
        ("executor.limits.memory_bytes", "512 MiB"),
    ];
    usual.into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_form_comes_back_as_it_was_sent_with_links_to_what_is_wrong() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let fields = new_stack(&[
        ("name", " "),
        ("slug", "No Slug"),
        ("labels", "prod team:x"),
        ("hooks.before_plan", "echo one\r\necho two"),
        ("executor.limits.memory_bytes", "much"),
        ("unconfirmed_expiry_days", "900"),
    ]);
    let page = admin.post("/stacks/new", &fields).await;
    assert_eq!(page.status, 422);
    assert_eq!(page.attribute("#slug", "value").as_deref(), Some("No Slug"));
    assert_eq!(page.attribute("#labels", "value").as_deref(), Some("prod team:x"));
    assert_eq!(page.words("[id='hooks.before_plan']"), "echo one echo two");
    assert!(page.has("input[name='vendor.kind'][value=custom][checked]"));
    let mut links = page.attributes(".problems a", "href");
    links.sort();
    assert_eq!(links, ["#executor.limits.memory_bytes", "#name", "#slug"]);
    assert!(page.attribute("#slug", "aria-describedby").unwrap().contains("slug-error"));
    assert_eq!(checks::problems(&page.text), Vec::<String>::new());
    let fields = new_stack(&[
        ("name", "Shop"),
        ("unconfirmed_expiry_days", "900"),
        ("executor.network", "allow"),
        ("executor.network.allow", "no host!"),
    ]);
    let page = admin.post("/stacks/new", &fields).await;
    assert_eq!(page.count(".problems li"), 2, "{}", page.words(".problems"));
    assert!(page.has("[id='executor.network.allow-error']"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stack_leads_on_to_its_upload_and_then_to_its_first_run() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let once = admin.get("/stacks/new").await.attribute("input[name=once]", "value").unwrap();
    let fields = new_stack(&[("name", "Shop"), ("once", &once), ("labels", "prod, eu")]);
    let page = admin.post_and_follow("/stacks/new", &fields).await;
    assert_eq!(page.words(".flash"), "The stack Shop was created. Upload its source next.");
    assert!(!admin.get("/stacks/shop/settings").await.has(".flash"), "it is said once");
    assert!(page.words("main").contains("prod"));
    assert_eq!(admin.post("/stacks/new", &fields).await.status, 303, "sent twice, made once");
    assert_eq!(admin.get("/stacks").await.count("li.row"), 1);
    let refused = admin.post("/stacks/shop", &[("do", "trigger"), ("kind", "tracked")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.words(".problems").contains("Nothing was uploaded to this stack yet"), "{}", refused.words("main"));

    let bad = admin.post_file("/stacks/shop/settings", &[("do", "upload")], ("source", b"no archive")).await;
    assert_eq!((bad.status, bad.count("#source-error")), (422, 1), "{}", bad.words("main"));
    let none = admin.post_file("/stacks/shop/settings", &[("do", "upload")], ("source", b"")).await;
    assert!(none.words("#source-error").contains("hoose a file"));
    let good = tar_gz(&[("greeting", "hi\n")]);
    let sent = admin.post_file("/stacks/shop/settings", &[("do", "upload")], ("source", &good)).await;
    assert_eq!(sent.status, 303, "{}", sent.words("main"));
    let page = admin.get("/stacks/shop/settings").await;
    assert!(page.words(".flash").contains("is what new runs of Shop work on now"));
    assert_eq!(page.count("li.upload"), 1);
    assert_eq!(std::fs::read_dir(site.app.actions.upload_scratch()).unwrap().count(), 0, "no scratch file stays");

    let page = admin.get("/stacks/shop?trigger").await;
    let once = page.attribute("form input[name=once]", "value").unwrap();
    let fields = [("do", "trigger"), ("kind", "proposed"), ("message", "look"), ("once", once.as_str())];
    let first = admin.post("/stacks/shop", &fields).await.to();
    assert_eq!(admin.post("/stacks/shop", &fields).await.to(), first, "sent twice, made once");
    let other = [("do", "trigger"), ("kind", "proposed"), ("message", "another"), ("once", once.as_str())];
    assert_ne!(admin.post("/stacks/shop", &other).await.to(), first, "went back, wrote something else");
    assert_eq!(admin.get(&first).await.words("h1"), "look");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_filled_in_like_the_stack_that_it_comes_from() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let page = site.admin().await.get("/stacks/new?from=shop").await;
    assert_eq!(page.attribute("#name", "value").as_deref(), Some("Copy of Shop"));
    assert_eq!(page.attribute("#labels", "value").as_deref(), Some("prod"));
    assert_eq!(page.words("[id='vendor.apply']"), "echo applied");
    assert!(page.has("input[name='source.kind'][value=upload][checked]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_tested_by_asking_its_repository() {
    let repositories = tempfile::tempdir().unwrap();
    // Whoever looks is somebody else.
    std::fs::set_permissions(repositories.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let place = repositories.path().join("infra");
    let git = |arguments: &[&str]| git(&place, arguments);
    std::fs::create_dir(&place).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
    let head = git(&["rev-parse", "HEAD"]);
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("https://{}/x.git", listener.local_addr().unwrap())
    };
    let listed = repositories.path().to_owned();
    let site = Site::with(|config| config.local_sources = vec![listed]).await;
    let admin = site.admin().await;
    let url = place.to_str().unwrap().to_owned();
    let test = async |url: &str, branch: &str| {
        let fields = [
            ("do", "test_source"),
            ("name", "kept"),
            ("source.kind", "git"),
            ("source.url", url),
            ("source.branch", branch),
        ];
        let page = admin.post("/stacks/new", &fields).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.attribute("#name", "value").as_deref(), Some("kept"));
        page.words("#source-test")
    };
    assert_eq!(test(&url, "main").await, format!("The repository is there, and main is at {}.", &head[..7]));
    assert!(test(&url, "other").await.ends_with("has no branch other."));
    let said = test(&nobody, "main").await;
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(test("http://git.example.org/x.git", "main").await.contains("sends credentials and code in clear"));
    assert!(test("/etc", "main").await.contains("is not below a directory that the operator lists"));
    let fields = [("do", "test_source"), ("block", "source_test"), ("source.kind", "git"), ("source.url", "x")];
    let block = admin.post("/stacks/new", &fields).await;
    assert!(!block.text.contains("<html") && block.text.contains("id=\"source-test\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_not_saved_over_those_of_somebody_else() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let (one, other) = (site.admin().await, site.person("chief", false, &[(&stack, Role::Admin)]).await);
    let fill = async |browser: &super::rig::Browser, name: &'static str| {
        let page = browser.get("/stacks/shop/settings").await;
        let version = page.attribute("input[name=version]", "value").unwrap();
        let fields: Vec<(String, String)> = new_stack(&[("name", name), ("do", "save")])
            .into_iter()
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .chain([("version".to_owned(), version)])
            .collect();
        fields
    };
    let pairs = |fields: &[(String, String)]| -> Vec<(String, String)> { fields.to_vec() };
    let (first, second) = (fill(&one, "First").await, fill(&other, "Second").await);
    let send = async |browser: &super::rig::Browser, fields: Vec<(String, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        browser.post("/stacks/shop/settings", &fields).await
    };
    assert_eq!(send(&one, pairs(&first)).await.status, 303);
    let late = send(&other, pairs(&second)).await;
    assert_eq!(late.status, 409);
    assert!(late.words(".problems").contains("Somebody changed this stack meanwhile"));
    assert_eq!(late.attribute("#name", "value").as_deref(), Some("Second"), "what was typed is kept");
    assert_eq!(one.get("/stacks/shop").await.words("h1"), "First");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_deleted_by_typing_its_slug_and_its_records_stay() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let run = site.trigger(&stack, Kind::Proposed).await;
    site.until(run.id, airlock::domain::State::Finished).await;
    let admin = site.admin().await;
    let page = admin.post("/stacks/shop/settings", &[("do", "delete"), ("confirm", "shpo")]).await;
    assert_eq!(page.status, 422);
    assert!(page.words("#confirm-error").contains("type the stack's slug, shop"), "{}", page.words("main"));
    let page = admin.post_and_follow("/stacks/shop/settings", &[("do", "delete"), ("confirm", "shop")]).await;
    assert!(page.words(".flash").contains("The stack Shop was deleted"));
    assert_eq!(admin.get("/stacks/shop").await.status, 404);
    let record = admin.get(&format!("/runs/{}", run.id)).await;
    assert!(record.words("main").contains("The stack was deleted"), "{}", record.words("main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_asks_for_a_recent_sign_in_and_keeps_what_was_typed() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let browser = site.admin().await;
    site.pass(std::time::Duration::from_secs(11 * 60));
    let fields = [("do", "create"), ("name", "ci"), ("role.shop", "writer")];
    let door = browser.post("/admin/keys", &fields).await;
    assert_eq!(
        (door.status, door.to()),
        (303, "/sign-in/again?next=%2Fadmin%2Fkeys%3Fname%3Dci%26role.shop%3Dwriter".into())
    );
    let page = browser.get(&door.to()).await;
    assert!(page.words("main").contains("make or revoke an API key"));
    let next = page.attribute("input[name=next]", "value").unwrap();
    let wrong = browser.post("/sign-in/again", &[("next", &next), ("password", "no")]).await;
    assert_eq!((wrong.status, wrong.words("[role=alert]")), (422, "The password is wrong.".into()));
    let page = browser.post_and_follow("/sign-in/again", &[("next", &next), ("password", PASSWORD)]).await;
    assert_eq!(page.attribute("#name", "value").as_deref(), Some("ci"));
    assert!(page.has("select[name='role.shop'] option[value=writer][selected]"));
    let made = browser.post("/admin/keys", &fields).await;
    assert!(made.words(".once-value").starts_with("ak_"), "{}", made.words("main"));
    assert!(!browser.get("/admin/keys").await.has(".once-value"), "a secret is shown once");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_files_are_set_changed_and_deleted() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let path = "/stacks/shop/environment";
    let set = |name: &'static str, value: &'static str, more: &'static [(&str, &str)]| {
        [("do", "set_variable"), ("name", name), ("value", value)]
            .into_iter()
            .chain(more.iter().copied())
            .collect::<Vec<_>>()
    };
    let page = admin.post_and_follow(path, &set("REGION", "eu\r\nwest", &[("description", "where")])).await;
    assert_eq!(page.words(".flash"), "The variable REGION was added.");
    assert_eq!(page.words("code.value"), "eu west");
    admin.post(path, &set("TOKEN", "hunter2hunter2", &[("sensitive", "on")])).await;
    let page = admin.get(path).await;
    assert_eq!(page.count("tbody tr"), 2);
    assert!(!page.text.contains("hunter2"));
    let page = admin.get(&format!("{path}?edit=TOKEN")).await;
    assert_eq!(page.attribute("#variable-name", "value").as_deref(), Some("TOKEN"));
    assert_eq!(page.words("#variable-value"), "");
    assert!(page.has("#variable-sensitive[checked]"));
    assert_eq!(admin.get(&format!("{path}?edit=REGION")).await.words("#variable-value"), "eu west");

    let page = admin.post(path, &set("PIN", "123", &[("sensitive", "on"), ("description", "kept")])).await;
    assert_eq!(page.status, 422);
    assert_eq!(page.words("#variable-value"), "", "a secret is not sent back");
    assert_eq!(page.attribute("#variable-description", "value").as_deref(), Some("kept"));
    assert!(page.words("#variable-value-error").contains("at least 4 characters"));
    let page = admin.post(path, &set("1BAD", "some value", &[])).await;
    assert_eq!((page.status, page.words("#variable-value")), (422, "some value".into()));

    let file = [("path", "etc/a.hcl"), ("do", "set_file")];
    assert_eq!(admin.post_file(path, &file, ("file", b"x = 1\n")).await.status, 303);
    assert!(admin.get(path).await.words("#files ~ .sheet").contains("etc/a.hcl"));
    let page = admin.post_file(path, &[("path", "../up"), ("do", "set_file")], ("file", b"x")).await;
    assert_eq!((page.status, page.count("#file-path-error")), (422, 1));
    let large = vec![b'x'; 2_100_000];
    let page = admin.post_file(path, &file, ("file", &large)).await;
    assert_eq!(page.status, 413, "{}", page.words("main"));

    assert!(
        admin
            .post_and_follow(path, &[("do", "delete_variable"), ("name", "REGION")])
            .await
            .words(".flash")
            .contains("deleted")
    );
    assert!(
        admin
            .post_and_follow(path, &[("do", "delete_file"), ("path", "etc/a.hcl")])
            .await
            .words(".flash")
            .contains("deleted")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_given_roles_and_switched_off() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let page = admin.post("/admin/users", &[("do", "invite"), ("name", "no good name")]).await;
    assert_eq!((page.status, page.attribute("#name", "value").as_deref()), (422, Some("no good name")));
    let page = admin.post("/admin/users", &[("do", "invite"), ("name", "dana")]).await;
    let link = page.words(".once-value");
    let token = link.split("token=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(page.words("main").contains("Invited"));
    assert_eq!(
        admin.post("/admin/users", &[("do", "invite"), ("name", "Dana")]).await.status,
        409,
        "names are taken whatever their case"
    );
    let dana = site.stranger();
    dana.post("/invitation", &[("token", &token), ("password", PASSWORD), ("repeat", PASSWORD)]).await;
    assert_eq!(dana.get("/stacks/shop").await.status, 404);
    let roles = [("do", "roles"), ("user", "dana"), ("role.shop", "reader")];
    assert!(admin.post_and_follow("/admin/users", &roles).await.words("main").contains("reader on Shop"));
    assert_eq!(dana.get("/stacks/shop").await.status, 303, "a change of rights ends the session");
    dana.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    assert_eq!(dana.get("/stacks/shop").await.status, 200);
    let page = admin.get("/admin/users").await;
    assert_eq!(page.count("input[name=session]"), 1, "one's own are on the page of one's account");
    let session = page.attribute("input[name=session]", "value").unwrap();
    let end = [("do", "revoke_session"), ("user", "dana"), ("session", session.as_str())];
    let page = admin.post_and_follow("/admin/users", &end).await;
    assert_eq!(
        (page.words(".flash"), page.has("input[name=session]")),
        ("The session of dana was ended.".into(), false)
    );
    assert_eq!(dana.get("/").await.status, 303);
    dana.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    assert_eq!(dana.get("/stacks/shop").await.status, 200);
    admin.post("/admin/users", &[("do", "disable"), ("user", "dana")]).await;
    assert_eq!(dana.get("/").await.status, 303);
    assert_eq!(dana.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await.status, 401);
    admin.post("/admin/users", &[("do", "invite"), ("name", "erin")]).await;
    let page = admin.post_and_follow("/admin/users", &[("do", "revoke_invitation"), ("user", "erin")]).await;
    assert!(!page.words("main ul").contains("erin"), "{}", page.words("main ul"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_stored_bound_and_never_shown() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let path = "/admin/credentials";
    let page = admin
        .post(path, &[("do", "create"), ("name", "infra"), ("kind", "ssh"), ("private_key", "-----KEY-----")])
        .await;
    assert_eq!((page.status, page.count("#known_hosts-error")), (422, 1));
    assert!(!page.text.contains("-----KEY-----"));
    let fields = [
        ("do", "create"),
        ("name", "infra"),
        ("kind", "https"),
        ("username", "bot"),
        ("token", "s3cr3t-token"),
        ("stack", "shop"),
    ];
    let page = admin.post_and_follow(path, &fields).await;
    assert!(page.words("main ul").contains("infra bot · for shop"), "{}", page.words("main ul"));
    assert!(!page.text.contains("s3cr3t"));
    assert!(admin.get("/stacks/shop/settings").await.has("[id='source.credential'] option[value=infra]"));
    let page = admin.post_and_follow(path, &[("do", "delete"), ("credential", "infra")]).await;
    assert!(page.has(".empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_says_what_is_wrong_once() {
    let site = Site::new().await;
    site.stack(custom("Shop")).await;
    let admin = site.admin().await;
    let page = admin.post("/stacks/shop/policies", &[("do", "dance")]).await;
    assert_eq!((page.status, page.words(".wrong h1")), (422, "Something is not right yet".to_owned()));
    assert_eq!(page.words(".wrong").matches("is nothing that this page does").count(), 1, "{}", page.words(".wrong"));
    let page = admin.get("/nowhere").await;
    assert_eq!((page.status, page.words(".wrong .detail").contains("leads nowhere")), (404, true));
    let page = admin.post("/docs/api", &[]).await;
    assert_eq!((page.status, page.words(".wrong h1")), (405, "This address does not take that".to_owned()));
    assert!(!page.words(".wrong").contains("logged"), "{}", page.words(".wrong"));
}
