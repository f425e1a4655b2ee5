//! What goes out: the public protocol's request, field by field.
//!
//! Compact JSON in raw UTF-8, so that a service that reads it and writes it again before it verifies
//! the signature gets the same bytes.

use serde::Serialize;

use crate::{
    crypt::Secret,
    domain::{
        Enforcement, RunId, Stage,
        run::SourceVersion,
        run_task::{ORGANIZATION, outward, workspace_id},
        stack::Source,
    },
    store::{
        Error, Rows,
        record::{Run, Stack, TaskResult},
        tables as t,
    },
};

/// The version of the request that the public protocol knows.
const VERSION: u8 = 1;

/// Fields in the order in which they go out.
#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "payload_version")]
    version: u8,
    stage: &'a str,
    access_token: &'a str,
    capabilities: Capabilities,
    configuration_version_download_url: Option<String>,
    configuration_version_id: Option<String>,
    is_speculative: bool,
    organization_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_json_api_url: Option<String>,
    run_app_url: String,
    run_created_at: String,
    run_created_by: &'a str,
    run_id: String,
    run_message: &'a str,
    task_result_callback_url: String,
    task_result_enforcement_level: &'a str,
    task_result_id: String,
    vcs_branch: Option<&'a str>,
    vcs_commit_url: Option<String>,
    vcs_pull_request_url: Option<String>,
    vcs_repo_url: Option<String>,
    workspace_app_url: String,
    workspace_id: String,
    workspace_name: &'a str,
    workspace_working_directory: Option<&'a str>,
}

#[derive(Serialize)]
struct Capabilities {
    outcomes: bool,
}

/// The names that parts of a run have outside: `plan-01K…`, `cv-01K…`.
pub(crate) fn named_after(run: RunId, prefix: &str) -> String {
    let id = run.to_string();
    format!("{prefix}-{}", id.rsplit('_').next().unwrap_or_default())
}

/// The request for one call. The same call always gives the same bytes.
pub(super) fn request(
    public_url: &str,
    view: &impl Rows,
    (stack, run): (&Stack, &Run),
    result: &TaskResult,
    token: &Secret<String>,
) -> Result<Secret<Vec<u8>>, Error> {
    let version = has_archive(view, run)?.then(|| named_after(run.id, "cv"));
    let root = stack.settings.source.as_ref().map(|source| source.project_root().as_str());
    let (branch, repository, commit) = vcs(stack, run);
    write(&Payload {
        version: VERSION,
        stage: result.stage.word(),
        access_token: token.expose(),
        capabilities: Capabilities { outcomes: true },
        configuration_version_download_url: version
            .as_ref()
            .map(|id| format!("{public_url}/api/v2/configuration-versions/{id}/download")),
        configuration_version_id: version,
        is_speculative: run.kind.is_speculative(),
        organization_name: ORGANIZATION,
        plan_json_api_url: (result.stage != Stage::PrePlan)
            .then(|| format!("{public_url}/api/v2/plans/{}/json-output", named_after(run.id, "plan"))),
        run_app_url: format!("{public_url}/runs/{}", run.id),
        run_created_at: run.created_at.to_string(),
        run_created_by: &run.triggered_by.name,
        run_id: outward(run.id),
        run_message: run.message.as_ref().map_or("", |message| message.as_str()),
        task_result_callback_url: format!("{public_url}/api/v2/task-results/{}/callback", outward(result.id)),
        task_result_enforcement_level: result.enforcement.word(),
        task_result_id: outward(result.id),
        vcs_branch: branch,
        vcs_commit_url: commit,
        vcs_pull_request_url: None,
        vcs_repo_url: repository,
        workspace_app_url: format!("{public_url}/stacks/{}", stack.slug),
        workspace_id: workspace_id(stack.id),
        workspace_name: stack.settings.name.as_str(),
        workspace_working_directory: root.filter(|root| !root.is_empty()),
    })
}

/// Whether the source can be downloaded: an upload always, a fetched one where it was archived.
fn has_archive(view: &impl Rows, run: &Run) -> Result<bool, Error> {
    match &run.source {
        SourceVersion::Upload { .. } => Ok(true),
        SourceVersion::Git { .. } => {
            Ok(view.get(t::RUN_TO_SECRETS, run.seq)?.is_some_and(|secrets| secrets.source.is_some()))
        }
    }
}

/// Asks whether somebody is there who knows the key. Nothing of this installation is in it.
pub(super) fn verification(public_url: &str) -> Result<Secret<Vec<u8>>, Error> {
    write(&Payload {
        version: VERSION,
        stage: "test",
        access_token: "test-token",
        capabilities: Capabilities { outcomes: true },
        configuration_version_download_url: None,
        configuration_version_id: None,
        is_speculative: false,
        organization_name: "test-org",
        plan_json_api_url: None,
        run_app_url: format!("{public_url}/runs/run-xxxx"),
        run_created_at: "2021-01-01T00:00:00.000Z".to_owned(),
        run_created_by: "test-user",
        run_id: "run-xxxx".to_owned(),
        run_message: "Test run message",
        task_result_callback_url: format!("{public_url}/api/v2/task-results/taskrs-xxxx/callback"),
        task_result_enforcement_level: "test",
        task_result_id: "taskrs-xxxx".to_owned(),
        vcs_branch: None,
        vcs_commit_url: None,
        vcs_pull_request_url: None,
        vcs_repo_url: None,
        workspace_app_url: format!("{public_url}/stacks/test-workspace"),
        workspace_id: "ws-xxxx".to_owned(),
        workspace_name: "test-workspace",
        workspace_working_directory: None,
    })
}

fn write(payload: &Payload<'_>) -> Result<Secret<Vec<u8>>, Error> {
    serde_json::to_vec(payload).map(Secret::new).map_err(super::super::sealed_fault)
}

/// Branch, repository and commit, where the source has them and an address shows them.
fn vcs<'a>(stack: &Stack, run: &'a Run) -> (Option<&'a str>, Option<String>, Option<String>) {
    let SourceVersion::Git { branch, commit } = &run.source else { return (None, None, None) };
    let repository = match &stack.settings.source {
        Some(Source::Git { url, .. }) if url.starts_with("https://") => {
            Some(url.trim_end_matches('/').trim_end_matches(".git").to_owned())
        }
        Some(Source::Git { .. } | Source::Upload { .. }) | None => None,
    };
    let at = commit.as_ref().and_then(|commit| repository.as_ref().map(|url| format!("{url}/commit/{commit}")));
    (Some(branch.as_str()), repository, at)
}

/// How an enforcement is called in messages.
pub(super) const fn adjective(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Advisory => "advisory",
        Enforcement::Mandatory => "mandatory",
    }
}
