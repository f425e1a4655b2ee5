//! Every page in several states, out of sample data: written to `target/gallery/` for the eye, and
//! held against what must be true of each page.

pub mod checks;
mod pages_admin;
mod pages_run;
mod pages_run_tasks;
mod pages_stack;
mod pages_webhooks;
mod sample;
mod sample_log;

use std::{fs, io::Write, path::Path};

use airlock::http::{assets, view::frame::Theme};
use askama::Template;
use flate2::{Compression, write::GzEncoder};

/// A page by the name of its file.
struct Page {
    name: String,
    html: String,
}

fn page(name: &str, template: &impl Template) -> Page {
    Page { name: name.to_owned(), html: template.render().unwrap() }
}

fn all_pages(theme: Theme) -> Vec<Page> {
    let mut pages = pages_stack::all(theme);
    pages.extend(pages_run::all(theme));
    pages.extend(pages_run_tasks::all(theme));
    pages.extend(pages_webhooks::all(theme));
    pages.extend(pages_admin::all(theme));
    pages
}

fn gzipped(bytes: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().len()
}

#[test]
fn every_page_keeps_the_rules_of_all_pages() {
    let mut wrong = Vec::new();
    for page in all_pages(Theme::System) {
        wrong.extend(checks::problems(&page.html).into_iter().map(|problem| format!("{}: {problem}", page.name)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pages_and_their_files_stay_small() {
    for page in all_pages(Theme::System) {
        let size = gzipped(page.html.as_bytes());
        assert!(size <= 30 << 10, "{} has {size} bytes gzipped", page.name);
    }
    let size = |name: &str| gzipped(assets::find(assets::url(name).trim_start_matches("/static/")).unwrap().bytes);
    assert!(size("app.css") <= 12 << 10, "app.css has {} bytes gzipped", size("app.css"));
    let scripts = size("htmx.js") + size("app.js") + size("log.js");
    assert!(scripts <= 25 << 10, "the scripts have {scripts} bytes gzipped");
}

#[test]
fn a_block_is_the_same_text_as_in_its_page() {
    let run = pages_run::waiting(Theme::System);
    let html = run.render().unwrap();
    for block in [run.as_head().render(), run.as_aside().render(), run.as_tabs().render(), run.as_panel().render()] {
        let block = block.unwrap();
        assert!(block.contains("data-block="), "{block}");
        assert!(html.contains(block.trim()), "{block}");
    }
}

#[test]
fn what_people_and_programs_wrote_is_never_markup() {
    let html = pages_run::hostile(Theme::System).render().unwrap();
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(html.contains("&#60;script&#62;alert"), "{html}");
    assert_eq!(checks::problems(&html), Vec::<String>::new());
}

#[test]
fn no_template_switches_escaping_off() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
        for word in ["|safe", "|escape", "|e(", "{%raw"] {
            assert!(!text.contains(word), "{} holds {word}", path.display());
        }
    }
}

/// For people: `target/gallery/<theme>/<page>.html`, assets beside in `/static`.
#[test]
fn the_gallery_is_written() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("gallery");
    for theme in [Theme::Light, Theme::Dark] {
        let dir = root.join(theme.word());
        fs::create_dir_all(&dir).unwrap();
        for page in all_pages(theme) {
            fs::write(dir.join(page.name).with_extension("html"), page.html).unwrap();
        }
    }
    let dir = root.join("static");
    fs::create_dir_all(&dir).unwrap();
    for name in ["app.css", "app.js", "log.js", "htmx.js", "favicon.svg"] {
        let hashed = assets::url(name).trim_start_matches("/static/");
        fs::write(dir.join(hashed), assets::find(hashed).unwrap().bytes).unwrap();
    }
}
