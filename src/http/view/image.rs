//! Images on the administration's page.

use askama::Template;

use super::{
    form::{Control, Field, Fields, form},
    frame::{Empty, Frame, Tab},
    status::{Mark, Moment},
};
use crate::domain::{limits, verdict::bytes};

/// An image.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub name: String,
    pub size: String,
    /// `4 211 entries in 3 layers`
    pub holds: String,
    pub digest: (String, String),
    /// Slugs of stacks that name it.
    pub stacks: Vec<String>,
    pub imported: (Moment, Mark),
}

form!(
    /// Posts `do=import` with the file as `image`.
    ImageForm {
        name,
        image,
    }
);

impl ImageForm {
    pub fn new() -> Self {
        let most = format!(
            "What `docker save` writes, an OCI layout as tar, or a root as tar; plain, gzip or zstd; at most {}.",
            bytes(limits::IMAGE_BYTES)
        );
        Self {
            name: Field::code("name", "Name").required().placeholder("tools:1").hint("What stacks and tasks call it."),
            image: Field::new("image", "File", Control::File { accept: ".tar,.tar.gz,.tgz,.tar.zst" })
                .required()
                .hint(&most),
        }
    }
}

impl Default for ImageForm {
    fn default() -> Self {
        Self::new()
    }
}

/// `/admin/images`. Posts `do=import` (multipart) or `do=remove`, `image`.
#[derive(Clone, Debug, Template)]
#[template(path = "images.html")]
pub struct ImagesPage {
    pub frame: Frame,
    pub tabs: Vec<Tab>,
    pub images: Vec<ImageRow>,
    pub form: ImageForm,
    pub problems: Vec<String>,
    pub empty: Option<Empty>,
}
