//! `/admin/services`: what declared tasks may be connected to.

use axum::extract::State;

use crate::{
    actions::{NewService, Secret},
    auth::{Permission, Permit},
    domain::{Refused, ServiceName},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Form, Sent, Wrong},
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            ServicesPage,
            admin::admin_tabs,
            declared::{ServiceForm, ServiceRow},
            form::Fields as _,
            frame::{Empty, Place},
            status::Moment,
        },
    },
    queries::Service,
};

const PATH: &str = "/admin/services";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageServices).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<ServicesPage, Problem> {
    let now = web.queries.now();
    let shown = |row: Service| ServiceRow {
        address: format!("{}:{}", row.host, row.port),
        detail: detail(&row),
        name: row.name.to_string(),
        scheme: row.scheme,
        updated: Moment::new(row.updated_at, now),
    };
    Ok(ServicesPage {
        frame: visitor.frame(Place::Admin, "Services", super::crumbs("Services"))?,
        tabs: admin_tabs("Services"),
        services: web.queries.services()?.into_iter().map(shown).collect(),
        form: ServiceForm::new(),
        problems: Vec::new(),
        empty: Empty {
            title: "No services yet".to_owned(),
            text: "Databases and interfaces that declared tasks are related to by name will appear here, without \
                   their passwords."
                .to_owned(),
            action: None,
        },
    })
}

fn detail(row: &Service) -> String {
    match (row.username.as_str(), row.password.is_some()) {
        ("", true) => "with a password".to_owned(),
        ("", false) => String::new(),
        (user, true) => format!("as {user}, with a password"),
        (user, false) => format!("as {user}"),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, Form(sent): Form) -> Answer {
    let permit = visitor.may_here(Permission::ManageServices).await?;
    match sent.verb() {
        "put" => put(&web, &visitor, &permit, &sent).await,
        "delete" => {
            let name = ServiceName::new(sent.text("service"));
            let name = name.map_err(|_| Problem::not_found("there is no such service"))?;
            web.actions.delete_service(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The service {name} was deleted.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn put(web: &Web, visitor: &Visitor, permit: &Permit, sent: &Sent) -> Answer {
    let wrong: Wrong = match new_service(sent) {
        Err(refused) => refused.into(),
        Ok(new) => {
            let name = new.name.clone();
            match web.actions.put_service(permit, new).await {
                Ok(_) => return visitor.done(PATH, Carried::good(format!("The service {name} is registered."))),
                Err(error) => Wrong::of(error)?,
            }
        }
    };
    let mut page = page(web, visitor)?;
    page.form.keep(sent.pairs());
    // A secret goes one way only.
    page.form.password.value.clear();
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

fn new_service(sent: &Sent) -> Result<NewService, Refused> {
    let name = ServiceName::new(sent.text("name").trim()).map_err(|error| Refused::field("name", error.to_string()))?;
    let port = sent.text("port").trim().parse().map_err(|_| Refused::field("port", "must be 1 to 65535"))?;
    let text = |field: &str| sent.text(field).trim().to_owned();
    Ok(NewService {
        name,
        scheme: text("scheme"),
        host: text("host"),
        port,
        path: text("path"),
        username: text("username"),
        password: sent.filled("password").map(|password| Secret::new(password.to_owned())),
    })
}
