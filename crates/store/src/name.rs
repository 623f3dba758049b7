use sqlx::AssertSqlSafe;

use crate::StoreError;

/// The longest service name, in bytes.
const SERVICE_BYTES_MAX: usize = 32;

/// Refuses what is no plain word, so that it may stand in SQL text.
pub(crate) fn check(service: &str) -> Result<(), StoreError> {
    let fine = |b: u8| b.is_ascii_lowercase() || b == b'_';
    if service.is_empty() || service.len() > SERVICE_BYTES_MAX || !service.bytes().all(fine) {
        return Err(StoreError::Name(service.to_owned()));
    }
    Ok(())
}

/// `template` with `{service}` filled in.
pub(crate) fn sql(service: &str, template: &str) -> Result<AssertSqlSafe<String>, StoreError> {
    check(service)?;
    // Safe: the template is a literal of this crate and the name was just checked.
    Ok(AssertSqlSafe(template.replace("{service}", service)))
}
