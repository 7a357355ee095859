//! The copy through a buffer of this process: for what the kernel does not copy by itself.

use super::ends::{Sink, Source};
use super::error::Fault;
use super::turn::Turn;

/// Longer for a file, where a piece costs a trip to the pool.
const STREAM_BUFFER: usize = 64 * 1024;
const FILE_BUFFER: usize = 256 * 1024;

/// Copies until the end.
pub(super) async fn copy(from: Source<'_>, to: Sink<'_>, copied: &mut u64) -> Result<(), Fault> {
    let mut buffer = buffer_for(from, to);
    let mut turn = Turn::new();
    while step(from, to, &mut buffer, copied).await? {
        turn.piece().await;
    }
    Ok(())
}

fn buffer_for(from: Source<'_>, to: Sink<'_>) -> Vec<u8> {
    let length = match (from, to) {
        (Source::Stream(_), Sink::Stream(_)) => STREAM_BUFFER,
        _ => FILE_BUFFER,
    };
    vec![0; length]
}

/// Copies one piece; false at the end of the source.
async fn step(from: Source<'_>, to: Sink<'_>, buffer: &mut Vec<u8>, copied: &mut u64) -> Result<bool, Fault> {
    let n = match from {
        Source::Stream(from) => from.read(buffer).await?,
        Source::File(from) => {
            // The buffer goes along to the thread and comes back.
            let (n, back) = from.read_owned(std::mem::take(buffer)).await.map_err(Fault::first)?;
            *buffer = back;
            n
        }
    };
    match to {
        Sink::Stream(to) => {
            let before = *copied;
            let written = to.write_all(&buffer[..n], copied).await;
            to.fd.netpoll().pipes().buffered.add((*copied - before) as usize);
            written?;
        }
        Sink::File(to) if n > 0 => {
            *buffer = to.write_owned(std::mem::take(buffer), n).await.map_err(Fault::second)?;
            *copied += n as u64;
        }
        Sink::File(_) => {}
    }
    Ok(n > 0)
}
