//! Phase `preparing_apply`, and what becomes of the workspace at the end: sealed, or removed.

use crate::{
    crypt::Key,
    domain::Verdict,
    protocol::{Open, SealKeys, WorkspaceLeft, file},
    workspace::{Binding, SealFailed, SealPaths, SealTerms, Sealed, Workspace, erase},
};

use super::{Chain, desk::Desk};
use crate::runner::{dir::ChainDir, fault::Fault, tree::Tree};

impl Chain {
    /// Opens the sealed workspace and holds its plan against the confirmed one.
    pub(super) fn unseal(&mut self, open: &Open, desk: &mut Desk) -> Result<Verdict, Fault> {
        self.remove_workspace()?;
        self.plan_digest.clone_from(&open.plan_digest);
        let keys = self.spec.secrets.open.as_ref().ok_or(Fault::Missing("keys for opening a workspace"))?;
        let path = self.tools.dir.file_path(file::TREE);
        let opened = Workspace::<Sealed>::at(self.terms(keys)?).open(&path, self.jail.user).map_err(Fault::of)?;
        self.use_tree(Tree::of(opened, &self.tools.dir, self.jail.user)?)?;
        self.keep_settings(desk)?;
        self.verify_plan(open.plan_digest.as_ref())?;
        desk.produced.warnings.extend(self.read_carried()?);
        let plan = open.plan_digest.as_ref().map_or_else(String::new, |plan| format!("; its plan is {}", plan.short()));
        desk.log.note(&format!("opened the sealed workspace{plan}"));
        Ok(Verdict::SUCCESS)
    }

    /// Seals the workspace; nothing of it is left in clear. After a fault nothing is sealed, and what
    /// can still be used of the workspace is.
    pub(super) fn seal(&mut self) -> Result<WorkspaceLeft, Fault> {
        let keys = self.spec.secrets.seal.as_ref().ok_or(Fault::Missing("keys for sealing a workspace"))?;
        let terms = self.terms(keys)?;
        self.leave_settings()?;
        // Sealing takes its time: nobody waits that long for what was planned.
        self.tools.journal.commit()?;
        let tree = self.tree.take().ok_or(Fault::Missing("workspace that could be sealed"))?;
        let failed = match tree.into_workspace().seal(terms) {
            Ok((_, report)) => {
                return Ok(WorkspaceLeft::Sealed { tree_bytes: report.tree_bytes, sealed_bytes: report.sealed_bytes });
            }
            Err(failed) => failed,
        };
        let fault = Fault::of(&failed);
        match failed {
            SealFailed::Kept { workspace, .. } => {
                let tree = Tree::of(workspace, &self.tools.dir, self.jail.user)?;
                tree.take_settings()?;
                self.tree = Some(tree);
            }
            SealFailed::Remains { workspace, .. } => erase(workspace.paths()).map_err(Fault::of)?,
        }
        Err(fault)
    }

    /// Removes whatever there is of a workspace in clear.
    pub(super) fn remove_workspace(&mut self) -> Result<WorkspaceLeft, Fault> {
        remove(self.tree.take(), &self.tools.dir)
    }

    fn terms(&self, keys: &SealKeys) -> Result<SealTerms, Fault> {
        let SealKeys { data_key, sealed, erase } = keys;
        Ok(SealTerms {
            paths: SealPaths { sealed: sealed.clone(), erase: erase.clone() },
            record_key: Key::from_slice(data_key.expose()).map_err(Fault::of)?,
            binding: Binding {
                run: self.spec.run.id,
                stack: self.spec.run.stack,
                commit: self.commit.clone(),
                plan: self.plan_digest.clone(),
            },
        })
    }
}

/// Removes the tree, or whatever there is of one.
pub(super) fn remove(tree: Option<Tree>, dir: &ChainDir) -> Result<WorkspaceLeft, Fault> {
    match tree {
        Some(tree) => tree.into_workspace().remove().map_err(Fault::of)?,
        None => Tree::remove_left_over(dir)?,
    }
    Ok(WorkspaceLeft::Removed)
}
