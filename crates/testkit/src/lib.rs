//! What tests share: real servers, started when they are there. For development only; decides nothing.

pub mod clock;
pub mod kafka;
pub mod log;
pub mod postgres;

/// Lists the servers whose tests must not be skipped, separated by commas: `kafka`, `postgres`.
pub const REQUIRE_VARIABLE: &str = "REDRESS_TEST_REQUIRE";

/// Whether tests that need the server fail where it is missing, instead of being skipped.
pub fn is_required(server: &str) -> bool {
    std::env::var(REQUIRE_VARIABLE).is_ok_and(|list| list.split(',').any(|name| name.trim() == server))
}
