use model::SourceKind;

use crate::decoded::{DecodeContext, Decoded, Ignored, Location, Refusal, RefusalReason};
use crate::framing::{Framer, Piece};
use crate::kinds::{self, csv::Columns};
use crate::memory::Memory;
use crate::out::Out;

/// Decodes input of any size in constant memory: push the chunks, then finish.
///
/// It remembers of a stream what later records need: a table's header, and the recent local ids by
/// which a deletion names its post.
#[derive(Debug, Clone)]
pub struct StreamDecoder {
    kind: SourceKind,
    framer: Framer,
    memory: Memory,
    columns: Columns,
}

impl StreamDecoder {
    /// A decoder for one input of `kind`.
    pub fn new(kind: SourceKind) -> Self {
        Self { kind, framer: Framer::new(kind), memory: Memory::default(), columns: Columns::Unknown }
    }

    /// A decoder that knows what an earlier one of the same source remembered.
    pub fn remembering(kind: SourceKind, memory: Memory) -> Self {
        Self { memory, ..Self::new(kind) }
    }

    /// What was learned, for the next decoder of the same source.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// Takes the next bytes; gives what every record that is now whole became.
    pub fn push(&mut self, chunk: &[u8], ctx: &DecodeContext<'_>) -> Decoded {
        self.run(ctx, |framer, each| framer.push(chunk, each))
    }

    /// Gives what the rest became. The decoder then starts over with line numbers going on.
    pub fn finish(&mut self, ctx: &DecodeContext<'_>) -> Decoded {
        self.run(ctx, |framer, each| framer.finish(each))
    }

    fn run(
        &mut self,
        ctx: &DecodeContext<'_>,
        feed: impl FnOnce(&mut Framer, &mut dyn FnMut(Piece<'_>)),
    ) -> Decoded {
        let Self { kind, framer, memory, columns } = self;
        let mut decoded = Decoded::default();
        feed(framer, &mut |piece| on_piece(*kind, piece, ctx, memory, columns, &mut decoded));
        decoded
    }
}

fn on_piece(
    kind: SourceKind,
    piece: Piece<'_>,
    ctx: &DecodeContext<'_>,
    memory: &mut Memory,
    columns: &mut Columns,
    decoded: &mut Decoded,
) {
    let (line, offset, reason) = match piece {
        Piece::Record(record) => {
            let bytes = record.offset..record.offset + record.bytes.len() as u64;
            let mut out = Out::new(kind, ctx, memory, decoded, record.line, bytes);
            let before = out.told();
            if kinds::record(record, columns, &mut out) {
                if out.told() == before {
                    // A valid body that holds nothing, for example an empty page.
                    out.ignore("empty");
                }
                decoded.records += 1;
            }
            return;
        }
        Piece::Heartbeat => {
            decoded.ignored.push(Ignored { label: "heartbeat" });
            return;
        }
        Piece::TooLong { line, offset, limit } => (line, offset, RefusalReason::TooLong { limit }),
        Piece::CutOff { line, offset } => (line, offset, RefusalReason::CutOff),
        Piece::NoElement { line, offset } => {
            let problem = "a comma without an element".to_owned();
            (line, offset, RefusalReason::Malformed { format: "JSON", problem })
        }
    };
    decoded.records += 1;
    decoded.refusals.push(Refusal { location: Location::Line(line), reason, bytes: offset..offset });
}
