//! `/api/v1`: JSON for programs.

use axum::Router;

use super::Web;

/// Every route of the API.
pub fn routes() -> Router<Web> {
    Router::new()
}

/// The OpenAPI description.
pub fn description() -> serde_json::Value {
    serde_json::Value::Null
}
