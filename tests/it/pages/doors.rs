//! Coming in, and being kept out.

use airlock::{
    actions::{NewUser, Secret},
    auth::{On, Permission, Who},
    config::{List, Proxy},
    domain::UserName,
    http::SETUP_LINK,
    queries::Outcome,
};
use futures_util::future::join_all;

use super::{
    checks,
    rig::{PASSWORD, Site, custom},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_asked_to_sign_in_and_then_led_back() {
    let site = Site::new().await;
    site.person("dana", false, &[]).await;
    let browser = site.stranger();
    let page = browser.get("/runs?kind=task&q=a%20b").await;
    assert_eq!((page.status, page.to()), (303, "/sign-in?next=%2Fruns%3Fkind%3Dtask%26q%3Da%2520b".into()));
    let door = browser.get(&page.to()).await;
    let next = door.attribute("input[name=next]", "value").unwrap();
    assert_eq!(next, "/runs?kind=task&q=a%20b");
    let page = browser.post("/sign-in", &[("next", &next), ("username", "dana"), ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.to()), (303, next));
    assert_eq!(browser.get("/").await.status, 200);
    browser.set_cookie("__Host-airlock", &browser.cookie("airlock").unwrap());
    assert_eq!(browser.get("/api/v1/sessions").await.status, 200);
    let other = site.stranger();
    other.set_cookie("__Host-airlock", &browser.cookie("airlock").unwrap());
    assert_eq!(other.get("/api/v1/sessions").await.status, 401, "without TLS this server does not set that one");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_led_to_another_site_after_signing_in() {
    let site = Site::new().await;
    site.person("dana", false, &[]).await;
    for next in ["//evil.example/", "https://evil.example", "/\\evil.example", "/sign-in?next=x"] {
        let fields = [("next", next), ("username", "dana"), ("password", PASSWORD)];
        assert_eq!(site.stranger().post("/sign-in", &fields).await.to(), "/");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_says_no_more_than_an_unknown_name_and_keeps_what_was_typed() {
    let site = Site::new().await;
    site.person("dana", false, &[]).await;
    let mut said = Vec::new();
    for name in ["dana", "nobody"] {
        let page = site.stranger().post("/sign-in", &[("username", name), ("password", "not the right one")]).await;
        assert_eq!(page.status, 401);
        assert_eq!(page.attribute("input[name=username]", "value").as_deref(), Some(name));
        assert!(!page.text.contains("not the right one"));
        assert_eq!(checks::problems(&page.text), Vec::<String>::new());
        said.push(page.words("[role=alert]"));
    }
    assert_eq!(said[0], "User name or password is wrong.");
    assert_eq!(said[0], said[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let site = Site::new().await;
    site.person("dana", false, &[]).await;
    let browser = site.stranger();
    let page = browser.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    let line = page.headers.get("set-cookie").unwrap().to_str().unwrap();
    assert!(line.starts_with("airlock="), "{line}");
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(line.contains(part), "{line}");
    }
    let old = browser.cookie("airlock").unwrap();
    browser.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    assert_ne!(browser.cookie("airlock").unwrap(), old);
    let stale = site.stranger();
    stale.set_cookie("airlock", &old);
    assert_eq!(stale.get("/").await.status, 303, "signing in again ends the session that it replaces");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_cookie_is_bound_to_this_host() {
    let site = Site::with(|config| config.public_url = Some("https://airlock.example".into())).await;
    let browser = site.person("dana", false, &[]).await;
    assert!(browser.cookie("__Host-airlock").is_some());
    assert_eq!(browser.get("/").await.status, 200);
    let page = site.stranger().post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    assert!(page.headers.get("set-cookie").unwrap().to_str().unwrap().ends_with("; Secure"));
    let plain = site.stranger();
    plain.set_cookie("airlock", &browser.cookie("__Host-airlock").unwrap());
    assert_eq!(plain.get("/").await.status, 303, "the cookie without the prefix is not believed");
    assert_eq!(plain.get("/api/v1/sessions").await.status, 401, "nor is it by the API");
    assert_eq!(browser.get("/api/v1/sessions").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_on_the_server() {
    let site = Site::new().await;
    let browser = site.person("dana", false, &[]).await;
    let token = browser.cookie("airlock").unwrap();
    assert_eq!(browser.post("/sign-out", &[]).await.to(), "/sign-in");
    assert_eq!(browser.cookie("airlock"), None);
    browser.set_cookie("airlock", &token);
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_up_link_makes_one_admin_and_is_then_worth_nothing() {
    let site = Site::new().await;
    let token = site.app.actions.set_up_token().await.unwrap();
    let file = site.data().join(SETUP_LINK);
    std::fs::write(&file, "link").unwrap();
    let browser = site.stranger();
    let path = format!("/setup?token={}", token.expose());
    assert!(browser.get(&path).await.has("input[name=username]"));
    let slip = [("token", token.expose().as_str()), ("username", "a b"), ("password", PASSWORD), ("repeat", "x")];
    let page = browser.post("/setup", &slip).await;
    assert_eq!(page.status, 422);
    assert_eq!(page.attribute("input[name=username]", "value").as_deref(), Some("a b"));
    assert_eq!(page.count(".problems li"), 2, "{}", page.words(".problems"));
    let right = [("token", token.expose().as_str()), ("username", "ada"), ("password", PASSWORD), ("repeat", PASSWORD)];
    let page = browser.post_and_follow("/setup", &right).await;
    assert_eq!(page.words(".flash"), "Welcome, ada.");
    assert!(page.has("a[href='/admin/users']"));
    assert!(!file.exists());
    assert_eq!(site.stranger().get(&path).await.status, 404);
    assert_eq!(site.stranger().post("/setup", &right).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_link_is_withdrawn_with_whoever_is_made_first() {
    let site = Site::new().await;
    let link = site.app.actions.set_up_token().await.unwrap();
    let permit = site.permit(Permission::ManageUsers, On::Installation);
    let new = NewUser { name: UserName::new("dana").unwrap(), admin: false, roles: vec![] };
    let dana = site.app.actions.invite(&permit, new, None).await.unwrap();
    site.app.actions.withdraw_invitation(&permit, dana.user.id).await.unwrap();
    assert!(site.app.actions.needs_set_up().unwrap());
    assert_eq!(site.app.actions.invitation(link.expose(), None).unwrap(), None, "not even when nobody is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_link_makes_nobody_once_there_is_somebody() {
    let site = Site::new().await;
    site.person("dana", false, &[]).await;
    // As an earlier version left it.
    let link = site.app.actions.set_up_token().await.unwrap();
    let link = link.expose().as_str();
    assert_eq!(site.stranger().get(&format!("/setup?token={link}")).await.status, 404);
    let fields = [("token", link), ("username", "eve"), ("password", PASSWORD), ("repeat", PASSWORD)];
    assert_eq!(site.stranger().post("/setup", &fields).await.status, 404);
    let eve = Some(UserName::new("eve").unwrap());
    let made = site.app.actions.accept_invitation(link, eve, Secret::new(PASSWORD.to_owned()), None).await;
    assert!(made.unwrap_err().to_string().contains("for the first user only"));
    let users = site.app.queries.users().unwrap();
    assert_eq!(users.iter().map(|user| (user.name.as_str(), user.admin)).collect::<Vec<_>>(), [("dana", false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_lets_one_person_choose_a_password() {
    let site = Site::new().await;
    let permit = site.permit(Permission::ManageUsers, On::Installation);
    let new = NewUser { name: UserName::new("dana").unwrap(), admin: false, roles: vec![] };
    let invited = site.app.actions.invite(&permit, new, None).await.unwrap();
    let token = invited.token.expose();
    let browser = site.stranger();
    let lost = browser.get(&format!("/setup?token={token}")).await;
    let page = browser.get(&lost.to()).await;
    assert_eq!(page.words("h1"), "Welcome, dana");
    let short = browser.post("/invitation", &[("token", token), ("password", "short"), ("repeat", "short")]).await;
    assert_eq!(short.status, 422);
    assert!(short.words(".problems").contains("at least 12 characters"));
    let fields = [("token", token.as_str()), ("password", PASSWORD), ("repeat", PASSWORD)];
    assert_eq!(browser.post_and_follow("/invitation", &fields).await.words(".flash"), "Welcome, dana.");
    assert_eq!(browser.post("/invitation", &fields).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_invitation_works_and_none_once_a_password_was_set() {
    let site = Site::new().await;
    let permit = site.permit(Permission::ManageUsers, On::Installation);
    let here = site.person("dana", false, &[]).await;
    let dana = site.app.queries.user_by_name("dana").unwrap().unwrap().id;
    let again = async || site.app.actions.invite_again(&permit, dana, None).await.unwrap().token.expose().clone();
    let works = |link: &str| site.app.actions.invitation(link, None).unwrap().is_some();

    let links = [again().await, again().await, again().await];
    assert_eq!(links.each_ref().map(|link| works(link)), [false, false, true]);
    let new = "another long enough one";
    let fields = [("token", links[2].as_str()), ("password", new), ("repeat", new)];
    let there = site.stranger();
    there.post_and_follow("/invitation", &fields).await;
    assert_eq!(here.get("/").await.status, 303, "a password that came by an invitation ends other sessions");
    assert_eq!(there.get("/").await.status, 200);

    let link = again().await;
    let change = [("do", "password"), ("current", new), ("password", PASSWORD), ("repeat", PASSWORD)];
    there.post_and_follow("/account", &change).await;
    assert!(!works(&link), "after one's own change of the password");
    let link = again().await;
    site.app.actions.set_password(&permit, dana, Secret::new(new.to_owned())).await.unwrap();
    assert!(!works(&link), "after a change of the password on the data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_another_site_changes_nothing() {
    let site = Site::new().await;
    let stack = site.stack(custom("Shop")).await;
    let browser = site.admin().await;
    let foreign = browser
        .bare_request(reqwest::Method::POST, "/stacks/shop")
        .header("sec-fetch-site", "cross-site")
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded");
    let response = foreign.body("do=lock").send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(site.app.queries.stack_of(stack.id).unwrap().unwrap().lock, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_may_end_ones_other_sessions_and_change_ones_password() {
    let site = Site::new().await;
    let here = site.person("dana", false, &[]).await;
    let there = site.stranger();
    there.post("/sign-in", &[("username", "dana"), ("password", PASSWORD)]).await;
    let page = here.get("/account").await;
    assert_eq!(page.count("input[name=session]"), 1, "this session is not offered");
    assert!(page.words("main").contains("Firefox on Linux"));
    let page = here.post_and_follow("/account", &[("do", "revoke_others")]).await;
    assert_eq!(page.words(".flash"), "1 other session ended.");
    assert_eq!(there.get("/").await.status, 303);
    let new = "another long enough one";
    let wrong = [("do", "password"), ("current", "no"), ("password", new), ("repeat", new)];
    let page = here.post("/account", &wrong).await;
    assert_eq!((page.status, page.count("#current-error")), (422, 1), "{}", page.words(".problems"));
    let right = [("do", "password"), ("current", PASSWORD), ("password", new), ("repeat", new)];
    assert!(here.post_and_follow("/account", &right).await.words(".flash").contains("was changed"));
    assert_eq!(site.stranger().post("/sign-in", &[("username", "dana"), ("password", new)]).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_session_guesses_its_password_no_faster_than_at_the_door() {
    let site = Site::new().await;
    let browser = site.person("dana", false, &[]).await;
    site.stop_the_clock();
    let browser = &browser;
    let door = [("username", "dana"), ("password", "a long enough guess")];
    let again = [("next", "/"), ("password", "a long enough guess")];
    let new = "one two three four";
    let change = [("do", "password"), ("current", "a long enough guess"), ("password", new), ("repeat", new)];
    let guesses = (0..24).map(|n| async move {
        let page = match n % 3 {
            0 => browser.post("/sign-in/again", &again).await,
            1 => browser.post("/account", &change).await,
            _ => browser.post("/sign-in", &door).await,
        };
        (page.status, page.headers.contains_key("retry-after"))
    });
    let answers = join_all(guesses).await;
    assert!(answers.iter().all(|answer| [(422, false), (401, false), (429, true)].contains(answer)), "{answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status != 429).count(), 4, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_to_somebody_on_their_own_account_is_on_record() {
    let site = Site::new().await;
    let browser = site.person("dana", false, &[]).await;
    site.person("erin", false, &[]).await;
    let erin = site.app.queries.user_by_name("erin").unwrap().unwrap().id;
    let theirs = site.app.queries.sessions_of(&Who::system(), erin).unwrap()[0].session.id.to_string();
    let new = "one two three four";
    let change = [("do", "password"), ("current", "a guess"), ("password", new), ("repeat", new)];
    assert_eq!(browser.post("/account", &change).await.status, 422);
    assert_eq!(browser.post("/sign-in/again", &[("next", "/"), ("password", "a guess")]).await.status, 422);
    assert_eq!(browser.post("/account", &[("do", "revoke"), ("session", &theirs)]).await.status, 404);
    let log = site.app.queries.audit_from(1, 1_000).unwrap();
    let refused = log.iter().filter(|entry| entry.outcome == Outcome::Refused);
    let told: Vec<_> =
        refused.map(|entry| (entry.actor.name.as_str(), entry.verb.as_str(), entry.object.as_str())).collect();
    assert_eq!(
        told,
        [
            ("dana", "user.change_password", "user:dana"),
            ("dana", "session.reauthenticate", "user:dana"),
            ("dana", "session.revoke", theirs.as_str()),
        ]
    );
    assert!(!log.iter().any(|entry| entry.detail.as_deref().unwrap_or_default().contains("guess")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_through_a_proxy_cannot_say_where_they_come_from() {
    let site =
        Site::with(|config| config.trusted_proxies = List(vec!["127.0.0.1".parse::<Proxy>().unwrap()]).into()).await;
    site.person("dana", false, &[]).await;
    let request = site.stranger().bare_request(reqwest::Method::POST, "/sign-in");
    let request = request.header("sec-fetch-site", "same-origin").header("x-forwarded-for", "6.6.6.6");
    // The proxy adds a line of its own.
    let request = request.header("x-forwarded-for", "198.51.100.1");
    let form = format!("username=dana&password={}", PASSWORD.replace(' ', "+"));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    assert_eq!(request.send().await.unwrap().status(), 303);
    let log = site.app.queries.audit_from(1, 1_000).unwrap();
    let signed_in = log.iter().rfind(|entry| entry.verb == "session.create").unwrap();
    assert_eq!(signed_in.address.as_deref(), Some("198.51.100.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn theme_and_shortcuts_are_kept_by_the_browser_and_rendered_by_the_server() {
    let site = Site::new().await;
    let browser = site.person("dana", false, &[]).await;
    assert!(browser.get("/").await.has("html[data-theme=system]"));
    assert!(browser.get("/").await.has("body[data-shortcuts]"));
    browser.post("/account", &[("do", "theme"), ("theme", "dark")]).await;
    browser.post("/account", &[("do", "shortcuts")]).await;
    let page = browser.get("/").await;
    assert!(page.has("html[data-theme=dark]") && !page.has("body[data-shortcuts]"));
}
