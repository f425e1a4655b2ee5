//! Imported images.

use crate::{
    auth::Who,
    store::{Rows, record::Image, tables as t},
};

use super::{Queries, Result, sees};

/// An image, with the stacks that name it.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub image: Image,
    pub stacks: Vec<String>,
}

impl Queries {
    /// Every image by name. `who` sees of the stacks that name one only their own.
    pub fn images(&self, who: &Who) -> Result<Vec<ImageRow>> {
        let view = self.view()?;
        let stacks = view.all(t::STACK_ID_TO_STACK, 0..=u128::MAX)?;
        let row = |image: Image| {
            let names = |name: &str| image.name.as_str() == name;
            let users = stacks.iter().filter(|stack| sees(who, stack.id) && names(&stack.settings.executor.image));
            let stacks = users.map(|stack| stack.slug.to_string()).collect();
            ImageRow { image, stacks }
        };
        Ok(view.all(t::NAME_TO_IMAGE, ""..="\u{10ffff}")?.into_iter().map(row).collect())
    }
}
