use std::path::Path;

use model::Timestamp;

use crate::{Migration, Store, StoreError, StoreOptions, migrate};

/// Opens the file of a process that has its database for itself (made when missing), with the tables of
/// `service` up to date. Its last commits may be lost when the machine (not the process) dies.
///
/// # Errors
/// When the file cannot be opened or a migration fails.
pub async fn open_local(
    path: &Path,
    service: &str,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<Store, StoreError> {
    let options = StoreOptions { relaxed_sync: true, ..StoreOptions::default() };
    let store = Store::open(&format!("sqlite://{}", path.display()), options).await?;
    migrate(&store, service, migrations, now).await?;
    Ok(store)
}
