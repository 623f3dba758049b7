//! The mentions shown with a rise: the weightiest of the last hour.

use paging::Evidence;

/// Pieces of evidence kept per subject.
const EVIDENCE_MAX: usize = 5;
/// Evidence older than this many event seconds is no longer shown with a new rise.
const EVIDENCE_S: i64 = 3_600;

pub(super) fn keep(evidence: &mut Vec<Evidence>, piece: Evidence, now_s: i64) {
    keep_after(evidence, piece, now_s, 0);
}

/// Keeps the weightiest recent pieces behind the first `fixed`, which stay.
pub(super) fn keep_after(evidence: &mut Vec<Evidence>, piece: Evidence, now_s: i64, fixed: usize) {
    if evidence.iter().any(|kept| kept.mention == piece.mention) {
        return;
    }
    let mut rest = evidence.split_off(fixed.min(evidence.len()));
    rest.push(piece);
    rest.retain(|kept| now_s - kept.at.as_seconds() <= EVIDENCE_S);
    let weight = |e: &Evidence| f32::from(e.severity.level()) * e.complaint;
    rest.sort_by(|a, b| {
        weight(b).total_cmp(&weight(a)).then(b.at.cmp(&a.at)).then(a.mention.cmp(&b.mention))
    });
    rest.truncate(EVIDENCE_MAX - fixed);
    evidence.append(&mut rest);
}
