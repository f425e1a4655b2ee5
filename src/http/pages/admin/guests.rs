//! `/admin/guests`: what stacks and tasks may name.

use axum::extract::{FromRequest as _, Multipart, Request, State};

use crate::{
    actions::{Incoming, NewGuest, Scratch},
    auth::{Permission, Permit},
    domain::{GuestName, Refused, guest::GuestKind, verdict::bytes},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Form, Sent, Wrong, is_kind},
            show::mark,
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            admin::admin_tabs,
            form::Fields as _,
            frame::{Empty, Place},
            guest::{GuestForm, GuestRow, GuestsPage},
            status::Moment,
        },
    },
    queries::GuestRow as Record,
};

const PATH: &str = "/admin/guests";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageGuests).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<GuestsPage, Problem> {
    let rows = web.queries.guests(&visitor.who)?;
    let none = rows.iter().all(|row| row.imported.is_none());
    Ok(GuestsPage {
        frame: visitor.frame(Place::Admin, "Guests", super::crumbs("Guests"))?,
        tabs: admin_tabs("Guests"),
        guests: rows.into_iter().map(|row| shown(web, row)).collect(),
        form: GuestForm::new(),
        problems: Vec::new(),
        empty: none.then(|| Empty {
            title: "None imported yet".to_owned(),
            text: "Programs of your own, such as an interpreter for scripts, will appear here.".to_owned(),
            action: None,
        }),
    })
}

fn shown(web: &Web, row: Record) -> GuestRow {
    GuestRow {
        name: row.name.to_string(),
        kind: match row.kind {
            GuestKind::Core => "core module",
            GuestKind::Component => "component",
        },
        size: bytes(row.size),
        digest: (row.digest.short(), row.digest.to_string()),
        about: row.bundled,
        interpreter: row.interpreter,
        stacks: row.stacks,
        imported: row.imported.map(|(at, by)| (Moment::new(at, web.queries.now()), mark(&by))),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, request: Request) -> Answer {
    let permit = visitor.may_here(Permission::ManageGuests).await?;
    if is_kind(&request, "multipart/form-data") {
        return import(&web, &visitor, &permit, request).await;
    }
    let Form(sent) = Form::from_request(request, &web).await?;
    match sent.verb() {
        "remove" => {
            let name = GuestName::new(sent.text("guest"));
            let name = name.map_err(|_| Problem::not_found("there is no such guest"))?;
            web.actions.remove_guest(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The guest {name} was removed.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn import(web: &Web, visitor: &Visitor, permit: &Permit, request: Request) -> Answer {
    let (sent, file) = received(web, request, "guest", web.actions.receive_guest(permit, None).await?).await?;
    let wrong: Wrong = match wanted(&sent, file) {
        Err(refused) => refused.into(),
        Ok((new, file)) => match web.actions.import_guest(permit, new, file, None).await {
            Ok(guest) => {
                let text = format!("The guest {} is registered as {}.", guest.name, guest.digest.short());
                return visitor.done(PATH, Carried::good(text));
            }
            Err(error) => Wrong::of(error)?,
        },
    };
    let mut page = page(web, visitor)?;
    page.form.keep(sent.pairs());
    page.problems = wrong.blame(&mut page.form);
    visitor.page_with(wrong.status, &page)
}

/// The form's texts, and its file `named` so, as far as there is one that fits.
pub(super) async fn received(
    web: &Web,
    request: Request,
    named: &'static str,
    incoming: Incoming,
) -> Result<(Sent, Result<Option<Scratch>, Refused>), Problem> {
    let unread = |text: String| Problem::from(Refused::invalid(format!("the form cannot be read: {text}")));
    let mut form = Multipart::from_request(request, web).await.map_err(|error| unread(error.body_text()))?;
    let (mut sent, mut file, mut incoming) = (Sent::default(), Ok(None), Some(incoming));
    while let Some(mut field) = form.next_field().await.map_err(|error| unread(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != named {
            let text = field.text().await.map_err(|error| unread(error.body_text()))?;
            sent.push(name, text.chars().take(200).collect::<String>());
            continue;
        }
        let Some(mut incoming) = incoming.take() else { continue };
        let (mut length, mut refused) = (0, None);
        while let Some(piece) = field.chunk().await.map_err(|error| unread(error.body_text()))? {
            length += piece.len();
            match incoming.write(&piece).await {
                Ok(()) => {}
                Err(crate::actions::Error::Refused(why)) => {
                    refused = Some(why);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        file = match refused {
            Some(why) => return Ok((sent, Err(Refused::field(named, why.detail)))),
            None if length == 0 => Ok(None),
            None => Ok(Some(incoming.finish().await?)),
        };
    }
    Ok((sent, file))
}

fn wanted(sent: &Sent, file: Result<Option<Scratch>, Refused>) -> Result<(NewGuest, Scratch), Refused> {
    let name = GuestName::new(sent.text("name").trim());
    let name = name.map_err(|error| Refused::field("name", error.to_string()))?;
    let file = file?.ok_or_else(|| Refused::field("guest", "choose a file"))?;
    Ok((NewGuest { name, interpreter: sent.is_on("interpreter") }, file))
}
