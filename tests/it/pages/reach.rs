//! Who reaches what: every page and every form, for an admin, writers and readers of a stack, people
//! without a role, and strangers.

use airlock::domain::Role;

use super::{
    checks,
    rig::{Browser, Site, custom},
};

struct People {
    admin: Browser,
    chief: Browser,
    writer: Browser,
    reader: Browser,
    outsider: Browser,
    stranger: Browser,
}

async fn people(site: &Site, stack: &airlock::queries::Stack) -> People {
    People {
        admin: site.admin().await,
        chief: site.person("chief", false, &[(stack, Role::Admin)]).await,
        writer: site.person("will", false, &[(stack, Role::Writer)]).await,
        reader: site.person("rea", false, &[(stack, Role::Reader)]).await,
        outsider: site.person("otto", false, &[]).await,
        stranger: site.stranger(),
    }
}

impl People {
    fn all(&self) -> [(&'static str, &Browser); 6] {
        [
            ("admin", &self.admin),
            ("stack admin", &self.chief),
            ("writer", &self.writer),
            ("reader", &self.reader),
            ("outsider", &self.outsider),
            ("stranger", &self.stranger),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_answers_everybody_as_the_roles_say() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let people = people(&site, &stack).await;
    let run = format!("/runs/{}", run.id);
    //                                 admin chief writer reader outsider stranger
    let table = [
        ("/".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/stacks".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/stacks/new".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/stacks/new?from=shop".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/stacks/shop".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/stacks/shop?trigger".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/stacks/shop/tasks".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/stacks/shop/environment".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/stacks/shop/run-tasks".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/stacks/shop/settings".to_owned(), [200, 200, 200, 403, 404, 303]),
        ("/stacks/nothing".to_owned(), [404, 404, 404, 404, 404, 303]),
        (run.clone(), [200, 200, 200, 200, 404, 303]),
        (format!("{run}?tab=log"), [200, 200, 200, 200, 404, 303]),
        (format!("{run}?tab=timeline"), [200, 200, 200, 200, 404, 303]),
        (format!("{run}?tab=run_tasks"), [200, 200, 200, 200, 404, 303]),
        (format!("{run}/log"), [200, 200, 200, 200, 404, 303]),
        (format!("{run}/changes"), [200, 200, 200, 200, 404, 303]),
        ("/runs/nothing".to_owned(), [404, 404, 404, 404, 404, 303]),
        ("/runs".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/runs?stack=shop".to_owned(), [200, 200, 200, 200, 404, 303]),
        ("/tasks".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/queue".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/audit".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/users".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/keys".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/contexts".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/contexts/nothing".to_owned(), [404, 403, 403, 403, 403, 303]),
        ("/admin/credentials".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/guests".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/run-tasks".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/run-tasks/nothing".to_owned(), [404, 403, 403, 403, 403, 303]),
        ("/admin/images".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/services".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/policies".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/policies/new".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/policies/new?from=working-hours".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/policies/nothing".to_owned(), [404, 403, 403, 403, 403, 303]),
        ("/admin/webhooks".to_owned(), [200, 403, 403, 403, 403, 303]),
        ("/admin/webhooks/nothing".to_owned(), [404, 403, 403, 403, 403, 303]),
        ("/stacks/shop/policies".to_owned(), [200, 200, 200, 200, 404, 303]),
        (format!("{run}?tab=policies"), [200, 200, 200, 200, 404, 303]),
        ("/account".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/docs/api".to_owned(), [200, 200, 200, 200, 200, 200]),
        ("/sign-in/again".to_owned(), [200, 200, 200, 200, 200, 303]),
        ("/sign-in".to_owned(), [303, 303, 303, 303, 303, 200]),
        ("/no/such/page".to_owned(), [404, 404, 404, 404, 404, 404]),
        ("/live/stacks/shop".to_owned(), [200, 200, 200, 200, 404, 401]),
        (format!("/live{run}"), [200, 200, 200, 200, 404, 401]),
    ];
    let mut wrong = Vec::new();
    for (path, expected) in table {
        for ((name, browser), expected) in people.all().into_iter().zip(expected) {
            let response = browser.request(reqwest::Method::GET, &path).send().await.unwrap();
            let status = response.status().as_u16();
            if status != expected {
                wrong.push(format!("{path} answers the {name} {status}, not {expected}"));
            }
            // A stream is not read to its end.
            if status == 303 || path.starts_with("/live") {
                continue;
            }
            let html = response.text().await.unwrap();
            wrong.extend(checks::problems(&html).into_iter().map(|it| format!("{path} for the {name}: {it}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_does_what_the_roles_allow_and_refuses_the_rest() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let people = people(&site, &stack).await;
    let run = format!("/runs/{}", run.id);
    // What is allowed here fails for another reason, so that each row can be tried by everybody.
    //                                                            admin chief writer reader outsider stranger
    let table: Vec<(&str, &str, [u16; 6])> = vec![
        ("/stacks/shop", "do=trigger&kind=odd", [422, 422, 422, 403, 404, 303]),
        ("/stacks/shop", "do=unlock", [409, 409, 409, 403, 404, 303]),
        ("/stacks/shop/tasks", "do=perform&command=", [422, 422, 422, 403, 404, 303]),
        ("/tasks", "do=perform&stack=shop&command=", [422, 422, 422, 403, 404, 303]),
        ("/stacks/shop/policies", "do=attach&policy=gone", [404, 404, 403, 403, 404, 303]),
        ("/stacks/shop/environment", "do=set_variable&name=1", [422, 422, 422, 403, 404, 303]),
        ("/stacks/shop/environment", "do=delete_variable&name=GONE", [404, 404, 404, 403, 404, 303]),
        ("/stacks/shop/environment", "do=delete_file&path=gone", [404, 404, 404, 403, 404, 303]),
        ("/stacks/shop/settings", "do=save&name=", [422, 422, 403, 403, 404, 303]),
        ("/stacks/shop/settings", "do=test_source&source.kind=git&source.url=x", [200, 200, 403, 403, 404, 303]),
        ("/stacks/shop/settings", "do=delete&confirm=other", [422, 422, 403, 403, 404, 303]),
        ("/stacks/new", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        (&run, "do=stop", [409, 409, 409, 403, 404, 303]),
        (&run, "do=cancel", [409, 409, 409, 403, 404, 303]),
        (&run, "do=confirm&plan_digest=odd", [422, 422, 422, 422, 422, 303]),
        (&run, "do=replan", [422, 422, 422, 403, 404, 303]),
        (&run, "do=force_stop&note=x", [409, 409, 403, 403, 404, 303]),
        (&run, "do=acknowledge", [409, 409, 409, 403, 404, 303]),
        (&run, "do=retry", [409, 409, 409, 403, 404, 303]),
        (&run, "do=promote", [409, 409, 409, 403, 404, 303]),
        (&run, "do=comment&text=", [422, 422, 422, 422, 422, 303]),
        (&run, "do=dance", [422, 422, 422, 422, 422, 303]),
        ("/queue", "do=prioritize&run=nothing", [404, 404, 404, 404, 404, 303]),
        ("/admin/users", "do=invite&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/users", "do=disable&user=nobody", [404, 403, 403, 403, 403, 303]),
        ("/admin/keys", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/keys", "do=revoke&key=nothing", [404, 403, 403, 403, 403, 303]),
        ("/stacks/shop/tasks", "do=run&task=x&variables=nothing", [422, 422, 422, 403, 404, 303]),
        ("/tasks", "do=run&stack=shop&task=x&variables=nothing", [422, 422, 422, 403, 404, 303]),
        ("/admin/services", "do=put&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/services", "do=delete&service=gone", [404, 403, 403, 403, 403, 303]),
        ("/admin/policies/new", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/policies", "do=delete&policy=gone", [404, 403, 403, 403, 403, 303]),
        ("/admin/policies/gone", "do=save", [404, 403, 403, 403, 403, 303]),
        ("/admin/webhooks", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/webhooks/gone", "do=delete", [404, 403, 403, 403, 403, 303]),
        ("/admin/webhooks/gone", "do=test", [404, 403, 403, 403, 403, 303]),
        ("/", "do=dismiss&message=1", [404, 404, 404, 404, 404, 303]),
        ("/", "do=dance", [422, 422, 422, 422, 422, 303]),
        ("/stacks/shop/environment", "do=attach&context=", [422, 422, 403, 403, 404, 303]),
        ("/stacks/shop/environment", "do=detach&context=gone", [404, 404, 403, 403, 404, 303]),
        ("/admin/contexts", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/contexts/gone", "do=delete", [404, 403, 403, 403, 403, 303]),
        ("/admin/credentials", "do=create&name=", [422, 403, 403, 403, 403, 303]),
        ("/admin/credentials", "do=delete&credential=gone", [404, 403, 403, 403, 403, 303]),
        ("/admin/guests", "do=remove&guest=gone", [404, 403, 403, 403, 403, 303]),
        ("/admin/images", "do=remove&image=gone", [404, 403, 403, 403, 403, 303]),
        ("/account", "do=revoke&session=nothing", [404, 404, 404, 404, 404, 303]),
        ("/audit", "do=erase", [405, 405, 405, 405, 405, 405]),
    ];
    let mut wrong = Vec::new();
    for (path, body, expected) in table {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        for ((name, browser), expected) in people.all().into_iter().zip(expected) {
            let page = browser.post(path, &fields).await;
            if page.status != expected {
                wrong.push(format!("{path} {body} answers the {name} {}, not {expected}", page.status));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let refused = people.admin.get("/audit?outcome=refused&actor=user:rea").await;
    assert!(refused.count("tbody tr") >= 10, "refused attempts are in the audit log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_sees_no_trace_of_what_is_hidden_from_them() {
    let site = Site::new().await;
    let (_, run) = site.waiting("Shop").await;
    site.stack(custom("Secret lair")).await;
    let outsider = site.person("otto", false, &[]).await;
    for path in ["/", "/stacks", "/runs", "/tasks", "/queue"] {
        let page = outsider.get(path).await;
        for trace in ["Shop", "shop", "lair", &run.id.to_string()] {
            assert!(!page.text.contains(trace), "{path} shows {trace}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_offered_no_button_that_would_be_refused() {
    let site = Site::new().await;
    let (stack, run) = site.waiting("Shop").await;
    let reader = site.person("rea", false, &[(&stack, Role::Reader)]).await;
    for (path, offered) in [
        ("/stacks/shop".to_owned(), vec![]),
        ("/stacks/shop?trigger".to_owned(), vec![]),
        ("/stacks/shop/tasks".to_owned(), vec![]),
        ("/stacks/shop/environment".to_owned(), vec![]),
        ("/stacks".to_owned(), vec![]),
        ("/tasks".to_owned(), vec![]),
        (format!("/runs/{}", run.id), vec![]),
        (format!("/runs/{}?tab=timeline", run.id), vec!["comment".to_owned()]),
    ] {
        assert_eq!(reader.get(&path).await.verbs(), offered, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_of_every_page_leads_to_a_page_that_keeps_the_rules() {
    let site = Site::new().await;
    let (_, run) = site.waiting("Shop").await;
    let admin = site.admin().await;
    admin.post("/stacks/shop/environment", &[("do", "set_variable"), ("name", "A"), ("value", "b")]).await;
    admin.post("/stacks/shop/tasks", &[("do", "perform"), ("command", "true")]).await;
    let mut ahead = vec!["/".to_owned(), format!("/runs/{}", run.id)];
    let mut seen = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    while let Some(path) = ahead.pop() {
        if !seen.insert(path.clone()) || seen.len() > 150 {
            continue;
        }
        let page = admin.get(&path).await;
        if page.status != 200 {
            wrong.push(format!("{path} answers {}", page.status));
            continue;
        }
        wrong.extend(checks::problems(&page.text).into_iter().map(|it| format!("{path}: {it}")));
        let policy = page.headers.get("content-security-policy").map(|it| it.to_str().unwrap().to_owned());
        if !policy.as_ref().is_some_and(|policy| policy.starts_with("default-src 'none'") && !policy.contains("unsafe"))
        {
            wrong.push(format!("{path} has the policy {policy:?}"));
        }
        for href in page.attributes("a[href]", "href") {
            let href = href.split('#').next().unwrap().to_owned();
            if href.starts_with('/') && !href.starts_with("/api/") {
                ahead.push(href);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(seen.len() > 30, "{seen:#?}");
}
