//! `/api/v1`: JSON for programs.

use axum::Router;

use super::Web;

/// Every route of the API.
pub fn routes() -> Router<Web> {
    Router::new()
}
