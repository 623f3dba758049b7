//! A story as parcels: one by one when told at its own pace, several to a request at full speed.

use tokio::sync::mpsc;

use super::super::feed::Parcel;
use crate::scenario::Scenario;

/// The story's bodies, in order.
pub(super) fn parcels(story: Scenario, at_full_speed: bool) -> mpsc::Receiver<anyhow::Result<Parcel>> {
    let (out, parcels) = mpsc::channel(if at_full_speed { 256 } else { 16 });
    tokio::spawn(async move {
        for arrival in story.into_arrivals() {
            if out.send(Ok(Parcel::of_arrival(arrival))).await.is_err() {
                return;
            }
        }
    });
    parcels
}
