//! `airlock serve`.

use crate::{
    app::{self, App, AppError},
    config::{Config, Flags},
};

use super::{
    Outcome,
    args::Serve,
    output::{error_line, line, start_logging},
};

pub(super) fn run(args: &Serve) -> Outcome {
    start_logging();
    let config = match Config::load(&flags(args)) {
        Ok(config) => config,
        Err(error) => {
            error_line(&error.to_string());
            return Outcome::Usage;
        }
    };
    match serve(config) {
        Ok(()) => Outcome::Done,
        Err(error) => {
            error_line(&error.to_string());
            Outcome::Failed
        }
    }
}

fn serve(config: Config) -> Result<(), AppError> {
    let app = App::open(config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|source| AppError::Io {
        what: "cannot start the runtime in",
        path: app.data.clone(),
        source,
    })?;
    runtime.block_on(app::serve(app, |url| line(&format!("airlock ready at {url}"))))
}

pub(super) fn flags(args: &Serve) -> Flags {
    Flags {
        config: args.config.clone(),
        data: args.data.clone(),
        listen: args.listen.clone(),
        slots: args.slots,
        admin_password_file: args.admin_password_file.clone(),
        master_key_file: args.master_key_file.clone(),
        tls_cert: args.tls_cert.clone(),
        tls_key: args.tls_key.clone(),
        tls: args.tls.clone(),
    }
}
