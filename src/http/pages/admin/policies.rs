//! `/admin/policies`: the list, new ones, and the workbench.

use axum::extract::{Path, State};

use crate::{
    actions::{NewPolicy, Saving, Tried},
    auth::{Permission, Permit},
    domain::{Label, PolicyKind, PolicyName, Refused, Slug},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Asked, Form, Sent, Wrong},
            show::mark,
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            NewPolicyPage, PoliciesPage, PolicyPage,
            admin::admin_tabs,
            form::Fields as _,
            frame::{Empty, Place},
            policy::{self as view, BodyLine, OfferedRow, OriginRow, PolicyForm, SampleRow},
            status::{Badge, Moment},
            words,
        },
    },
    queries::{self, LIBRARY, PolicyRow},
};

const PATH: &str = "/admin/policies";

// ── The list ────────────────────────────────────────────────────────────────────────────────

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManagePolicies).await?;
    let now = web.queries.now();
    let shown = |row: PolicyRow| view::PolicyRow {
        kind: row.policy.kind.word(),
        about: about(&row.policy.description, row.policy.kind),
        attached: attached(&row),
        updated: Moment::new(row.policy.updated_at, now),
        name: row.policy.name.to_string(),
    };
    let page = PoliciesPage {
        frame: visitor.frame(Place::Admin, "Policies", super::crumbs("Policies"))?,
        tabs: admin_tabs("Policies"),
        policies: web.queries.policies()?.into_iter().map(shown).collect(),
        empty: Empty {
            title: "No policies yet".to_owned(),
            text: "Rules in Rego will appear here: what tasks may do, which plans pass, who has to approve, what \
                   follows a run."
                .to_owned(),
            action: Some(("Make the first policy".to_owned(), format!("{PATH}/new"))),
        },
    };
    visitor.page(&page)
}

/// What a policy does, or when it is asked.
pub fn about(description: &str, kind: PolicyKind) -> String {
    if description.is_empty() { format!("asked {}", kind.when()) } else { description.to_owned() }
}

fn attached(row: &PolicyRow) -> String {
    if row.policy.labels.iter().any(|label| label.as_str() == "autoattach:*") {
        return "attached to every stack".to_owned();
    }
    let mut slugs: Vec<&str> = row.by_hand.iter().chain(&row.by_label).map(Slug::as_str).collect();
    slugs.sort_unstable();
    slugs.dedup();
    match slugs.as_slice() {
        [] => "attached to no stack".to_owned(),
        [one] => format!("attached to {one}"),
        [one, other] => format!("attached to {one} and {other}"),
        more => format!("attached to {}", words::count(more.len() as u64, "stack")),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManagePolicies).await?;
    match sent.verb() {
        "delete" => {
            let name = name_of(sent.text("policy"))?;
            web.actions.delete_policy(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The policy {name} was deleted.")))
        }
        other => Err(unknown_verb(other)),
    }
}

fn name_of(text: &str) -> Result<PolicyName, Problem> {
    PolicyName::new(text).map_err(|_| Problem::not_found("there is no such policy"))
}

// ── A new one ───────────────────────────────────────────────────────────────────────────────

pub async fn get_new(State(web): State<Web>, visitor: Visitor, Asked(asked): Asked) -> Answer {
    visitor.may_here(Permission::ManagePolicies).await?;
    let from = asked.text("from");
    let mut page = new_page(&visitor, from)?;
    if let Some(offered) = LIBRARY.iter().find(|offered| offered.name == from) {
        offered.name.clone_into(&mut page.form.name.value);
        offered.kind.word().clone_into(&mut page.form.kind.value);
        offered.about.clone_into(&mut page.form.description.value);
        offered.body.clone_into(&mut page.form.body.value);
    }
    let _ = web;
    visitor.page(&page)
}

fn new_page(visitor: &Visitor, from: &str) -> Result<NewPolicyPage, Problem> {
    let crumbs = super::crumbs_below("Policies", PATH, "New policy");
    let row = |offered: &queries::Offered| OfferedRow {
        name: offered.name,
        kind: offered.kind.word(),
        about: offered.about,
        here: offered.name == from,
    };
    Ok(NewPolicyPage {
        frame: visitor.frame(Place::Admin, "New policy", crumbs)?,
        tabs: admin_tabs("Policies"),
        library: LIBRARY.iter().map(row).collect(),
        form: PolicyForm::new(),
        problems: Vec::new(),
    })
}

pub async fn post_new(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManagePolicies).await?;
    if sent.verb() != "create" {
        return Err(unknown_verb(sent.verb()));
    }
    let wrong = match new_policy(&sent) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.save_policy(&permit, Saving::New, new, visitor.once(&sent)?).await {
            Ok(policy) => {
                let text = format!("The policy {} is saved. It decides where it is attached.", policy.name);
                return visitor.done(&format!("{PATH}/{}", policy.name), Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = new_page(&visitor, "")?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_policy(sent: &Sent) -> Result<NewPolicy, Refused> {
    let name = PolicyName::new(sent.text("name").trim()).map_err(|error| Refused::field("name", error.to_string()))?;
    let kind = PolicyKind::from_word(sent.text("kind")).ok_or_else(|| Refused::field("kind", "choose one"))?;
    policy_of(name, kind, sent)
}

fn policy_of(name: PolicyName, kind: PolicyKind, sent: &Sent) -> Result<NewPolicy, Refused> {
    let labels = sent.text("labels").split(',').map(str::trim).filter(|label| !label.is_empty());
    let labels = labels.map(Label::new).collect::<Result<_, _>>();
    Ok(NewPolicy {
        name,
        kind,
        body: sent.text("body").to_owned(),
        labels: labels.map_err(|error| Refused::field("labels", error.to_string()))?,
        description: sent.text("description").trim().to_owned(),
    })
}

// ── The workbench ───────────────────────────────────────────────────────────────────────────

pub async fn get_one(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
    Asked(asked): Asked,
) -> Answer {
    visitor.may_here(Permission::ManagePolicies).await?;
    let page = workbench(&web, &visitor, &name_of(&name)?, asked.get("sample"))?;
    visitor.page(&page)
}

/// The page of a policy with a sample: the one that was asked for, else the newest.
fn workbench(web: &Web, visitor: &Visitor, name: &PolicyName, asked: Option<&str>) -> Result<PolicyPage, Problem> {
    let row = web.queries.policy(name)?;
    let samples = web.queries.samples(name)?;
    let now = web.queries.now();
    let chosen = match asked {
        Some(number) => number.parse().ok(),
        None => samples.first().map(|sample| sample.number),
    };
    let mut form = PolicyForm::new();
    form.description.value.clone_from(&row.policy.description);
    form.labels.value = row.policy.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    form.body.value.clone_from(&row.policy.body);
    form.input.value = match chosen {
        Some(number) => pretty(&web.queries.sample_input(name, number)?),
        None => "{}".to_owned(),
    };
    let sample = |sample: queries::SampleRow| SampleRow {
        href: format!("{PATH}/{name}?sample={}", sample.number),
        badge: view::outcome_badge(sample.decision),
        what: match (&sample.run, sample.messages.first()) {
            (_, Some(message)) => format!("{} · {message}", sample.stack),
            (Some(run), None) => format!("{} · {run}", sample.stack),
            (None, None) => sample.stack.to_string(),
        },
        at: Moment::new(sample.at, now),
        here: Some(sample.number) == chosen,
    };
    let crumbs = super::crumbs_below("Policies", PATH, name.as_str());
    Ok(PolicyPage {
        frame: visitor.frame(Place::Admin, format!("policy {name}"), crumbs)?,
        tabs: admin_tabs("Policies"),
        name: name.to_string(),
        kind: row.policy.kind.word(),
        when: row.policy.kind.when(),
        caveat: row.policy.kind.caveat(),
        attached: attached(&row),
        updated: Moment::new(row.policy.updated_at, now),
        by: mark(&row.policy.updated_by),
        form,
        problems: Vec::new(),
        samples: samples.into_iter().map(sample).collect(),
        result: None,
    })
}

/// JSON with a line for each member; as it is where it is large.
fn pretty(json: &str) -> String {
    const MOST: usize = 256 << 10;
    if json.len() > MOST {
        return json.to_owned();
    }
    let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| json.to_owned())
}

pub async fn post_one(State(web): State<Web>, visitor: Visitor, Path(name): Path<String>, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManagePolicies).await?;
    let name = name_of(&name)?;
    match sent.verb() {
        "evaluate" => evaluate(&web, &visitor, &permit, &name, &sent).await,
        "save" => save(&web, &visitor, &permit, &name, &sent).await,
        other => Err(unknown_verb(other)),
    }
}

async fn evaluate(web: &Web, visitor: &Visitor, permit: &Permit, name: &PolicyName, sent: &Sent) -> Answer {
    let (body, input) = (sent.text("body").to_owned(), sent.text("input").to_owned());
    let tried = web.actions.try_policy(permit, name, Some(body.clone()), input).await;
    let mut page = workbench(web, visitor, name, None)?;
    page.form.keep(sent.pairs());
    match tried {
        Ok(tried) => {
            page.result = Some(result(&tried, &body));
            visitor.page(&page)
        }
        Err(error) => {
            let wrong = Wrong::of(error)?;
            page.problems = wrong.blame(&mut page.form);
            visitor.page_with(wrong.status, &page)
        }
    }
}

async fn save(web: &Web, visitor: &Visitor, permit: &Permit, name: &PolicyName, sent: &Sent) -> Answer {
    let kind = web.queries.policy(name)?.policy.kind;
    let wrong = match policy_of(name.clone(), kind, sent) {
        Err(refused) => refused.into(),
        Ok(new) => match web.actions.save_policy(permit, Saving::Change, new, None).await {
            Ok(_) => return visitor.done(&format!("{PATH}/{name}"), Carried::good(format!("{name} is saved."))),
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = workbench(web, visitor, name, None)?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn result(tried: &Tried, body: &str) -> view::Result {
    match &tried.outcome {
        Ok(decision) => {
            let messages = decision.said();
            let gave: Vec<u32> = decision.origins.iter().map(|origin| origin.line).collect();
            let mark = |number: u32| match () {
                () if gave.contains(&number) => "gave",
                () if decision.reached.contains(&number) => "reached",
                () if decision.unreached.contains(&number) => "unreached",
                () => "",
            };
            let origin = |origin: &queries::Origin| OriginRow {
                rule: origin.rule.clone(),
                line: origin.line,
                gave: origin.gave.clone(),
            };
            let rules = serde_json::to_string_pretty(&decision.by_rule(tried.kind));
            view::Result {
                badge: view::outcome_badge(decision.outcome(tried.kind)),
                sentence: match messages.len() {
                    0 => "without a message".to_owned(),
                    n => format!("with {}", words::count(n as u64, "message")),
                },
                messages,
                origins: decision.origins.iter().map(origin).collect(),
                lines: lines(body, mark),
                printed: decision.printed.clone(),
                rules: rules.unwrap_or_default(),
            }
        }
        Err(trouble) => view::Result {
            badge: Badge::new(crate::domain::Look::Failed, "Broken"),
            sentence: "it cannot be evaluated, which counts as a no".to_owned(),
            messages: vec![trouble.to_string()],
            origins: Vec::new(),
            lines: lines(body, |number| if Some(number) == trouble.line { "wrong" } else { "" }),
            printed: Vec::new(),
            rules: String::new(),
        },
    }
}

fn lines(body: &str, mark: impl Fn(u32) -> &'static str) -> Vec<BodyLine> {
    let numbered = (1..).zip(body.lines());
    numbered.map(|(number, text)| BodyLine { number, text: text.to_owned(), mark: mark(number) }).collect()
}
