//! `/admin/images`: roots that jails can have beside the host's.

use axum::extract::{FromRequest as _, Request, State};

use super::guests::received;
use crate::{
    auth::{Permission, Permit},
    domain::{ImageName, Refused, verdict::bytes},
    http::{
        Problem, Web,
        pages::{
            cookies::Carried,
            sent::{Form, Wrong, is_kind},
            show::mark,
            visitor::{Answer, Visitor, unknown_verb},
        },
        view::{
            admin::admin_tabs,
            form::Fields as _,
            frame::{Empty, Place},
            image::{ImageForm, ImageRow, ImagesPage},
            status::Moment,
            words,
        },
    },
    queries::ImageRow as Record,
};

const PATH: &str = "/admin/images";

pub async fn get(State(web): State<Web>, visitor: Visitor) -> Answer {
    visitor.may_here(Permission::ManageImages).await?;
    visitor.page(&page(&web, &visitor)?)
}

fn page(web: &Web, visitor: &Visitor) -> Result<ImagesPage, Problem> {
    let rows = web.queries.images(&visitor.who)?;
    let none = rows.is_empty();
    Ok(ImagesPage {
        frame: visitor.frame(Place::Admin, "Images", super::crumbs("Images"))?,
        tabs: admin_tabs("Images"),
        images: rows.into_iter().map(|row| shown(web, row)).collect(),
        form: ImageForm::new(),
        problems: Vec::new(),
        empty: none.then(|| Empty {
            title: "No images yet".to_owned(),
            text: "Jails have the host's own programs. Roots with other programs, such as what docker save \
                   writes, will appear here."
                .to_owned(),
            action: None,
        }),
    })
}

fn shown(web: &Web, Record { image, stacks }: Record) -> ImageRow {
    ImageRow {
        name: image.name.to_string(),
        size: bytes(image.bytes),
        holds: format!(
            "{} entries in {}",
            words::number(image.entries),
            words::count(u64::from(image.layers), "layer")
        ),
        digest: (image.digest.short(), image.digest.to_string()),
        stacks,
        imported: (Moment::new(image.imported_at, web.queries.now()), mark(&image.imported_by)),
    }
}

pub async fn post(State(web): State<Web>, visitor: Visitor, request: Request) -> Answer {
    let permit = visitor.may_here(Permission::ManageImages).await?;
    if is_kind(&request, "multipart/form-data") {
        return import(&web, &visitor, &permit, request).await;
    }
    let Form(sent) = Form::from_request(request, &web).await?;
    match sent.verb() {
        "remove" => {
            let name = ImageName::new(sent.text("image"));
            let name = name.map_err(|_| Problem::not_found("there is no such image"))?;
            web.actions.remove_image(&permit, name.clone()).await?;
            visitor.done(PATH, Carried::good(format!("The image {name} was removed.")))
        }
        other => Err(unknown_verb(other)),
    }
}

async fn import(web: &Web, visitor: &Visitor, permit: &Permit, request: Request) -> Answer {
    let (sent, file) = received(web, request, "image", web.actions.receive_image(permit, None).await?).await?;
    let name = ImageName::new(sent.text("name").trim()).map_err(|error| Refused::field("name", error.to_string()));
    let file = file.and_then(|file| file.ok_or_else(|| Refused::field("image", "choose a file")));
    let wrong: Wrong = match name.and_then(|name| Ok((name, file?))) {
        Err(refused) => refused.into(),
        Ok((name, file)) => match web.actions.import_image(permit, name, file, None).await {
            Ok(image) => {
                let text = format!("The image {} is unpacked: {}.", image.name, bytes(image.bytes));
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
