use std::{cell::RefCell, collections::BTreeSet};

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<File, String> {
    File::parse("c.toml".to_owned(), text.to_owned()).map_err(|error| error.to_string())
}

fn read(flags: &Flags, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Config, String> {
    let file = parse(text)?;
    Config::from_parts(&Places { flags, file: &file, variable }).map_err(|error| error.to_string())
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let text = "slots = 3\nlisten = \"127.0.0.1:1\"\nlocal_sources = [\"/srv/git\"]";
    let variable = |name: &str| (name == "AIRLOCK_SLOTS").then(|| "5".to_owned());
    let config = read(&Flags::default(), text, &none).unwrap();
    assert_eq!((config.slots, config.listen.port()), (3, 1));
    assert_eq!(config.local_sources, [PathBuf::from("/srv/git")]);
    assert_eq!(read(&Flags::default(), text, &variable).unwrap().slots, 5);
    let flags = Flags { slots: Some(7), ..Flags::default() };
    assert_eq!(read(&flags, text, &variable).unwrap().slots, 7);
}

#[test]
fn what_a_stronger_place_says_of_tls_replaces_what_a_weaker_one_says() {
    let given = "tls_cert = \"cert\"\ntls_key = \"key\"";
    let off = Flags { tls: Some(TlsMode::Off), ..Flags::default() };
    assert_eq!(read(&off, given, &none).unwrap().tls, Tls::Off);
    let variable = |name: &str| (name == "AIRLOCK_TLS").then(|| "self-signed".to_owned());
    assert_eq!(read(&Flags::default(), given, &variable).unwrap().tls, Tls::SelfSigned);
    assert_eq!(read(&off, given, &variable).unwrap().tls, Tls::Off);
    let (cert, key) = (PathBuf::from("cert"), PathBuf::from("key"));
    let flags = Flags { tls_cert: Some(cert.clone()), tls_key: Some(key.clone()), ..Flags::default() };
    assert_eq!(read(&flags, "tls = \"self-signed\"", &none).unwrap().tls, Tls::Given { cert, key });
    // The key may come from elsewhere than the certificate that it belongs to.
    let variable = |name: &str| (name == "AIRLOCK_TLS_KEY").then(|| "secret/key".to_owned());
    let tls = read(&Flags::default(), "tls_cert = \"cert\"", &variable).unwrap().tls;
    assert_eq!(tls, Tls::Given { cert: "cert".into(), key: "secret/key".into() });
    let both = read(&Flags::default(), &format!("tls = \"off\"\n{given}"), &none).unwrap_err();
    assert!(both.contains("line 1: tls: `off` and a certificate exclude each other"), "{both}");
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let error = parse("sluts = 3").unwrap_err();
    assert!(error.contains("did you mean `slots`?"), "{error}");
    let unknown = |key: &&&str| parse(&format!("{key} = 1.5")).unwrap_err().contains("unknown field");
    assert_eq!(KEYS.iter().filter(unknown).count(), 0);
}

#[test]
fn every_key_is_a_variable() {
    let asked = RefCell::new(BTreeSet::new());
    let variable = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    read(&Flags::default(), "", &variable).unwrap();
    let known: BTreeSet<String> = KEYS.iter().map(|key| variable_of(key)).collect();
    assert_eq!(*asked.borrow(), known);
}

#[test]
fn a_variable_holds_lists_and_names_as_one_text() {
    let variable = |name: &str| {
        let text = match name {
            "AIRLOCK_TRUSTED_PROXIES" => "10.1.0.0/16, ::1",
            "AIRLOCK_BINARIES" => "tofu=/opt/tofu,old=/opt/old",
            "AIRLOCK_RUNTIME_IMAGES" => "php:8.3=php",
            "AIRLOCK_METRICS_TOKEN" => "secret words",
            _ => return None,
        };
        Some(text.to_owned())
    };
    let config = read(&Flags::default(), "binaries = {tofu = \"/elsewhere\"}", &variable).unwrap();
    let holds = |address: &str| config.trusted_proxies.contains(&address.parse().unwrap());
    assert!(holds("10.1.2.3") && holds("::1") && !holds("10.2.0.1"));
    assert_eq!(config.binaries["tofu"], Path::new("/opt/tofu"));
    assert_eq!(config.binaries.len(), 2);
    assert_eq!(config.runtime_images["php:8.3"], "php");
    assert_eq!(config.metrics_token.as_ref().unwrap().expose(), "secret words");
    assert!(!format!("{config:?}").contains("secret words"));
}

#[test]
fn what_makes_no_sense_is_refused_by_file_line_and_key() {
    let cases = [
        ("\nlisten = \"nowhere\"", "line 2", "`nowhere` is not ADDRESS:PORT"),
        ("uid_range = \"0-10\"", "line 1", "60000-69999"),
        ("tls_cert = \"a\"", "c.toml, line 1: tls_cert", "tls_key is missing"),
        ("# many\nslots = 100000", "c.toml, line 2: slots", "at most"),
        ("state_versions = 0", "line 1", "state_versions"),
        ("public_url = \"not a url\"", "line 1", "`not a url` is not an address"),
        ("outbound_allow = [\"0x7f.1\"]", "line 1", "0x7f.1"),
        ("trusted_proxies = [\"10.0.0.1/8\"]", "line 1", "neither an address nor a network"),
        ("tls = \"on\"", "line 1", "neither `self-signed` nor `off`"),
        ("metrics_token = \"\"", "c.toml, line 1: metrics_token", "empty"),
    ];
    for (text, place, why) in cases {
        let error = read(&Flags::default(), text, &none).unwrap_err();
        assert!(error.starts_with("c.toml") && error.contains(place) && error.contains(why), "{text}: {error}");
    }
    let variable = |name: &str| (name == "AIRLOCK_LISTEN").then(|| "nowhere".to_owned());
    let error = read(&Flags::default(), "", &variable).unwrap_err();
    assert_eq!(error, "AIRLOCK_LISTEN: `nowhere` is not ADDRESS:PORT, such as 127.0.0.1:7070");
}

#[test]
fn a_server_needs_the_files_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    fs::write(&there, "").unwrap();
    let cases = [
        ("binaries = {tofu = \"THERE\", old = \"/nowhere/old\"}", "binaries: old: /nowhere/old is no file"),
        ("tls_cert = \"THERE\"\ntls_key = \"/nowhere/key\"", "c.toml, line 2: tls_key: /nowhere/key is no file"),
        ("master_key_file = \"/nowhere/key\"", "c.toml, line 1: master_key_file: /nowhere/key is no file"),
    ];
    for (text, why) in cases {
        let file = parse(&text.replace("THERE", &there.display().to_string())).unwrap();
        let places = Places { flags: &Flags::default(), file: &file, variable: &none };
        let config = Config::from_parts(&places).unwrap();
        let error = config.check_files(&places).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
