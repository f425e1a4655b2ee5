use super::*;

fn terraform() -> Vendor {
    Vendor::Terraform { binary: None, workspace: None }
}

fn tofu() -> Vendor {
    Vendor::OpenTofu { binary: None, workspace: None }
}

fn needs(vendor: &Vendor, files: &[(&str, &str)]) -> bool {
    needs_managed_state(vendor, files.iter().map(|(name, text)| (*name, text.as_bytes())))
}

#[test]
fn a_backend_is_found_wherever_it_hides() {
    for text in [
        "terraform {\n  backend \"s3\" {\n    bucket = \"x\"\n  }\n}",
        "terraform {\n  cloud {\n    organization = \"x\"\n  }\n}",
        "terraform{backend \"local\"{}}",
        "terraform {\n  backend local {\n  }\n}",
        "terraform {\n  required_version = \">= 1.0\"\n}\n\nterraform {\n  backend \"http\" {}\n}",
        "terraform {\n  required_providers {\n    a = { source = \"x/y\" }\n  }\n  backend \"gcs\" {}\n}",
        "terraform /* c */ { // backend\n  # {\n  backend /* x */ \"s3\" # y\n {}\n}",
        "locals {\n  a = \"${\"}\"} {\"\n}\nterraform {\n  backend \"s3\" {}\n}",
        "locals {\n  a = <<-EOT\n    terraform { {{{\n    ${x}\n  EOT\n}\nterraform {\n  backend \"s3\" {}\n}",
        "locals {\n  a = \"\\\" { \\\\\"\n b = \"$${ {\" \n c = \"%{ if x }{%{ endif }\" }\nterraform {\n  backend \"s3\" {}\n}",
        "\u{feff}terraform {\r\n  backend \"s3\" {\r\n  }\r\n}\r\n",
    ] {
        assert!(!needs(&terraform(), &[("main.tf", text)]), "{text}");
    }
}

#[test]
fn what_only_looks_like_a_backend_is_none() {
    for text in [
        "",
        "resource \"terraform_data\" \"a\" {}",
        "# terraform {\n#   backend \"s3\" {}\n# }",
        "/* terraform { backend \"s3\" {} } */ resource \"a\" \"b\" {}",
        "terraform {\n  required_version = \"1\" # backend \"s3\" {\n}",
        "terraform {\n  required_providers {\n    cloud = { source = \"a/cloud\" }\n  }\n}",
        "module \"terraform\" {\n  backend \"s3\" {}\n}",
        "locals {\n  terraform = { backend = { cloud = {} } }\n}",
        "locals {\n  a = \"terraform { backend \\\"s3\\\" {\"\n}",
        "locals {\n  a = <<EOT\nterraform {\n  backend \"s3\" {}\n}\nEOT\n}",
        "terraform {\n  a = \"${ \"x\" == \"{\" ? \"}\" : \"{\" }\"\n}\nresource \"a\" \"b\" {\n  backend \"s3\" {}\n}",
        "terraform {\n  backend = \"s3\"\n}",
        "\"terraform {",
        "<<",
    ] {
        assert!(needs(&terraform(), &[("main.tf", text)]), "{text}");
    }
}

#[test]
fn the_json_form_is_read_too() {
    for (text, names) in [
        (r#"{"terraform": {"backend": {"s3": {}}}}"#, true),
        (r#"{"terraform": [{"required_version": "1"}, {"cloud": {}}]}"#, true),
        (r#"{"terraform": {"required_version": "1"}}"#, false),
        (r#"{"resource": {"terraform": {"backend": 1}}}"#, false),
        ("{", false),
        ("[]", false),
    ] {
        assert_eq!(!needs(&terraform(), &[("main.tf.json", text)]), names, "{text}");
    }
}

#[test]
fn only_files_that_the_vendor_reads_count() {
    let backend = "terraform {\n  backend \"s3\" {}\n}";
    for name in ["backend.tf.bak", ".hidden.tf", "main.tf~", "#main.tf#", "x.tofu", "x.tfvars", "README.md"] {
        assert!(needs(&terraform(), &[("main.tf", ""), (name, backend)]), "{name}");
    }
    assert!(!needs(&terraform(), &[("main.tf", ""), ("x_override.tf", backend)]));
    assert!(!needs(&tofu(), &[("main.tf", ""), ("x.tofu", backend)]));
    assert!(needs(&tofu(), &[("main.tf", backend), ("main.tofu", "")]), "main.tofu stands for main.tf");
    assert!(needs(&terraform(), &[("main.tf", ""), (OVERRIDE_FILE, backend_override())]), "our own does not count");
    assert!(!needs(&Vendor::Custom { init: None, plan: None, apply: None, destroy: None }, &[("main.tf", "")]));
}

#[test]
fn without_a_configuration_nothing_is_managed() {
    assert!(!needs(&terraform(), &[]));
    assert!(!needs(&terraform(), &[("README.md", "")]));
}

#[test]
fn the_cli_configuration_says_where_providers_come_from() {
    let places = Places::inside();
    assert_eq!(cli_config(&places, false, false), None);
    insta::assert_snapshot!(cli_config(&places, true, true).unwrap(), @r#"
    plugin_cache_dir = "/run/airlock-plugins"
    provider_installation {
      filesystem_mirror {
        path = "/run/airlock-mirror"
      }
    }
    "#);
    assert_eq!(quoted("a\"${b}\\"), r#""a\"$${b}\\""#);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_scanner_stumble(text in "[{}\"$%\\\\<\\-#/* \nEOTa]{0,200}") {
        let _ = hcl::names_backend(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_the_scanner_stumble(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = hcl::names_backend(&bytes);
    }
}
