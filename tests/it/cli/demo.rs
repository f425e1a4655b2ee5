//! The demo, from an empty directory to a confirmed run.

use serde_json::Value;

use super::rig::{Desk, Server, files};

/// Starts a demo, waits for its greeting and for the run of the shop that waits.
fn demo(desk: &Desk) -> (Server, String, String) {
    let mut server = Server::start(desk, &["demo", "--data", &desk.at("demo"), "--listen", "127.0.0.1:0"]);
    let password = server.process.until("Password").split_whitespace().nth(1).unwrap().to_owned();
    let line = server.process.until("of shop waits for you");
    let run = line.trim().rsplit('/').next().unwrap().to_owned();
    (server, password, run)
}

fn sign_in(desk: &Desk, server: &Server, password: &str) {
    desk.run_with(&["login", &server.url, "--user", "admin"], &format!("{password}\n"), &[]).expect(0);
}

fn runs(desk: &Desk) -> Vec<(String, String)> {
    let text = |run: &Value, name: &str| run[name].as_str().unwrap().to_owned();
    let runs = desk.run(&["run", "list", "shop", "--json"]).expect(0).json();
    runs["items"].as_array().unwrap().iter().map(|run| (text(run, "kind"), text(run, "state"))).collect()
}

#[test]
fn a_demo_has_a_past_and_a_run_that_waits_and_goes_on_where_it_was() {
    let desk = Desk::new();
    let (server, password, run) = demo(&desk);
    sign_in(&desk, &server, &password);
    let is = |kind: &str, state: &str| (kind.to_owned(), state.to_owned());
    let story = [("tracked", "unconfirmed"), ("proposed", "finished"), ("on_demand", "finished"), ("task", "finished")];
    assert_eq!(runs(&desk)[..4], story.map(|(kind, state)| is(kind, state)));
    let agent = desk.run(&["run", "list", "shop", "--kind", "on_demand", "--json"]).expect(0).json();
    assert!(agent["items"][0]["receipt"]["fuel_used"].as_u64() > Some(0), "{agent:#}");

    let shown = desk.run(&["run", "show", &run]).expect(0).out;
    for change in ["+ site.search", "~ site.web", "± database.orders", "- site.cart", "· provider.prices"] {
        assert!(shown.contains(change), "{change} is not in\n{shown}");
    }
    for said in ["guard at post_plan (advisory): failed", "data-is-kept (plan): warn, database.orders holds data"] {
        assert!(shown.contains(said), "{said} is not in\n{shown}");
    }
    let report = desk.run(&["run", "list", "shop", "--kind", "task", "--json"]).expect(0).json();
    let report = desk.run(&["run", "logs", report["items"][0]["id"].as_str().unwrap()]).expect(0).out;
    assert!(report.contains("The shop in eu-central, with prices in EUR"), "context and stack together: {report}");
    let log = desk.run(&["run", "logs", &run]).expect(0).out;
    assert!(log.contains("with the token ***") && log.contains("Plan: 2 to add, 2 to change"), "{log}");

    let confirmed = desk.run(&["run", "confirm", &run, "--wait"]).expect(0);
    assert!(confirmed.out.contains("finished"), "{}", confirmed.out);
    server.stop();

    let (again, new_password, ()) = {
        let mut server = Server::start(&desk, &["demo", "--data", &desk.at("demo"), "--listen", "127.0.0.1:0"]);
        let password = server.process.until("Password").split_whitespace().nth(1).unwrap().to_owned();
        (server, password, ())
    };
    assert_ne!(new_password, password);
    let refused = desk.run_with(&["login", &again.url, "--user", "admin"], &format!("{password}\n"), &[]);
    refused.expect(3);
    sign_in(&desk, &again, &new_password);
    assert_eq!(runs(&desk)[0], is("tracked", "finished"), "nothing was made once more");
    again.stop();
    for (path, bytes) in files(&desk.path("demo")) {
        let found = bytes.windows(password.len()).any(|part| part == password.as_bytes());
        assert!(!found, "the password stands in {}", path.display());
    }
}

#[test]
fn a_server_s_data_directory_is_no_demo() {
    let desk = Desk::new();
    desk.serve(&[]).stop();
    let ran = desk.run(&["demo", "--data", &desk.at("data"), "--listen", "127.0.0.1:0"]).expect(3);
    assert!(ran.err.contains("not of a demo"), "{}", ran.err);
}
