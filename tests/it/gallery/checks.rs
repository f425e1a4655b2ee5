//! What must be true of every page.

use std::collections::BTreeSet;

use airlock::http::assets;
use scraper::{ElementRef, Html, Selector};

fn select(selector: &str) -> Selector {
    Selector::parse(selector).unwrap()
}

fn attributes<'a>(document: &'a Html, selector: &str, name: &str) -> Vec<&'a str> {
    document.select(&select(selector)).filter_map(|element| element.value().attr(name)).collect()
}

/// Everything that is wrong with a page.
pub fn problems(html: &str) -> Vec<String> {
    let document = Html::parse_document(html);
    let mut wrong = Vec::new();
    wrong.extend(outline(&document));
    wrong.extend(policy(&document));
    wrong.extend(references(&document));
    wrong.extend(labels(&document));
    wrong.extend(forms(&document));
    wrong.extend(told_apart(&document));
    wrong.extend(words(&document));
    wrong
}

fn outline(document: &Html) -> Vec<String> {
    let count = |selector: &str| document.select(&select(selector)).count();
    let mut wrong = Vec::new();
    for (selector, wanted) in [("h1", 1), ("main", 1), ("html[lang]", 1), ("a.skip[href='#main']", 1), ("title", 1)] {
        if count(selector) != wanted {
            wrong.push(format!("{} of `{selector}`, not {wanted}", count(selector)));
        }
    }
    wrong
}

/// The content security policy allows nothing inline and nothing from elsewhere.
fn policy(document: &Html) -> Vec<String> {
    let mut wrong = Vec::new();
    for element in document.select(&select("*")) {
        for (name, value) in element.value().attrs() {
            if name == "style" || name.starts_with("on") || name.starts_with("hx-on") {
                wrong.push(format!("inline `{name}={value}`"));
            }
            let loads = matches!(name, "src" | "action") || (name == "href" && element.value().name() == "link");
            if loads && !value.starts_with('/') {
                wrong.push(format!("`{value}` is not ours"));
            }
        }
    }
    for script in document.select(&select("script, style")) {
        if script.value().attr("src").is_none() || !script.inner_html().is_empty() {
            wrong.push(format!("inline {}", script.html()));
        }
    }
    wrong
}

fn references(document: &Html) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut ids = BTreeSet::new();
    for id in attributes(document, "[id]", "id") {
        if !ids.insert(id) {
            wrong.push(format!("id `{id}` twice"));
        }
    }
    for name in ["aria-describedby", "aria-labelledby", "for"] {
        for value in attributes(document, &format!("[{name}]"), name) {
            let missing = value.split(' ').filter(|id| !ids.contains(id));
            wrong.extend(missing.map(|id| format!("{name} leads to `{id}`, which is not there")));
        }
    }
    for href in attributes(document, "use, a", "href") {
        if let Some(id) = href.strip_prefix('#').filter(|id| !ids.contains(id)) {
            wrong.push(format!("#{id} is not there"));
        }
    }
    for element in document.select(&select("*")) {
        for (_, value) in element.value().attrs().filter(|(_, value)| value.starts_with("/static/")) {
            if assets::find(value.trim_start_matches("/static/")).is_none() {
                wrong.push(format!("{value} is not an asset"));
            }
        }
    }
    wrong
}

fn labels(document: &Html) -> Vec<String> {
    let fors: BTreeSet<_> = attributes(document, "label[for]", "for").into_iter().collect();
    let controls = select("input:not([type=hidden], [aria-hidden]), select, textarea");
    let tied = |element: &ElementRef<'_>| {
        element.value().attr("id").is_some_and(|id| fors.contains(id))
            || element.value().attr("aria-label").is_some()
            || element.ancestors().filter_map(ElementRef::wrap).any(|above| above.value().name() == "label")
    };
    let mut wrong: Vec<_> = document
        .select(&controls)
        .filter(|element| !tied(element))
        .map(|element| format!("no label: {}", element.html()))
        .collect();
    for element in document.select(&select("button, a, summary")) {
        let named = element.value().attr("aria-label").is_some()
            || element.value().attr("aria-hidden").is_some()
            || element.value().attr("hidden").is_some()
            || !element.text().collect::<String>().trim().is_empty();
        if !named {
            wrong.push(format!("no name: {}", element.html()));
        }
    }
    wrong
}

/// Every form works by itself: it has an address, and a button that says what it does.
fn forms(document: &Html) -> Vec<String> {
    let mut wrong = Vec::new();
    for form in document.select(&select("form:not([method=dialog])")) {
        let attr = |name: &str| form.value().attr(name);
        if attr("action").is_none() || attr("method").is_none() {
            wrong.push(format!("a form without method or address: {:?} {:?}", attr("method"), attr("action")));
        }
        let search = attr("role") == Some("search");
        if !search && form.select(&select("button:not([hidden])")).count() == 0 {
            wrong.push(format!("a form without a button: {:?}", attr("action")));
        }
        if form.ancestors().filter_map(ElementRef::wrap).any(|above| above.value().name() == "form") {
            wrong.push("a form in a form".to_owned());
        }
    }
    for button in
        document.select(&select("button[value=delete], button[value=remove], button[value=revoke][data-weight=danger]"))
    {
        let mut above = button.ancestors().filter_map(ElementRef::wrap);
        if !above.any(|it| it.value().name() == "details" || it.value().classes().any(|name| name == "delete-form")) {
            wrong.push(format!("deletes without asking: {}", button.html()));
        }
    }
    wrong
}

/// Landmarks and what unfolds have names of their own: a list of them can be read.
fn told_apart(document: &Html) -> Vec<String> {
    let mut wrong = Vec::new();
    for kind in ["section[aria-labelledby], section[aria-label], [role=region]", "nav", "details.sure > summary"] {
        let mut names = BTreeSet::new();
        for element in document.select(&select(kind)) {
            let name = name(document, element);
            if !names.insert(name.clone()) {
                wrong.push(format!("`{name}` is the name of two: {kind}"));
            }
        }
    }
    wrong
}

/// What a reader of screens calls an element.
fn name(document: &Html, element: ElementRef<'_>) -> String {
    if let Some(label) = element.value().attr("aria-label") {
        return label.to_owned();
    }
    let by = element.value().attr("aria-labelledby").map(|id| select(&format!("[id='{id}']")));
    let named = by.and_then(|by| document.select(&by).next().map(text));
    named.unwrap_or_else(|| text(element))
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().trim().to_owned()
}

/// Tables can be read on a phone, and code in our sentences is shown as code.
fn words(document: &Html) -> Vec<String> {
    let mut wrong = Vec::new();
    for _ in document.select(&select(".scroll > table:not(.stacked)")) {
        wrong.push("a table that a phone cannot show".to_owned());
    }
    for element in document.select(&select("main p, main li, main dd, main td, main span")) {
        for text in element.children().filter_map(|child| child.value().as_text()) {
            if text.matches('`').count() > 1 {
                wrong.push(format!("backticks: {}", text.trim()));
            }
        }
    }
    wrong
}
