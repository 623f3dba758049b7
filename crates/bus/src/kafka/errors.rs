//! Kafka's errors in our terms.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::BusError;

/// Whether trying again may help.
pub(crate) fn bus_error(doing: impl Into<String>, error: &KafkaError) -> BusError {
    let (doing, cause) = (doing.into(), error.to_string());
    if is_permanent(error) {
        BusError::Failed { doing, cause }
    } else {
        BusError::Unavailable { doing, cause }
    }
}

pub(crate) fn unavailable(doing: impl Into<String>, cause: impl Into<String>) -> BusError {
    BusError::Unavailable { doing: doing.into(), cause: cause.into() }
}

pub(crate) fn failed(doing: impl Into<String>, cause: impl Into<String>) -> BusError {
    BusError::Failed { doing: doing.into(), cause: cause.into() }
}

fn is_permanent(error: &KafkaError) -> bool {
    if matches!(
        error,
        KafkaError::ClientConfig(..)
            | KafkaError::ClientCreation(_)
            | KafkaError::Nul(_)
            | KafkaError::MessageConsumptionFatal(_)
    ) {
        return true;
    }
    if let KafkaError::Transaction(inner) = error {
        return inner.is_fatal();
    }
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fatal
                | Code::Fenced
                | Code::InvalidArgument
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::Authentication
                | Code::SaslAuthenticationFailed
        )
    )
}

/// The label of a record that the log will never take; `None` when trying again may help.
pub(crate) fn refusal(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code()? {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Some("too_large"),
        Code::UnknownPartition => Some("unknown_partition"),
        Code::UnknownTopic | Code::UnknownTopicOrPartition => Some("unknown_topic"),
        Code::InvalidTimestamp => Some("time_out_of_range"),
        Code::InvalidRecord => Some("invalid_record"),
        _ => None,
    }
}
