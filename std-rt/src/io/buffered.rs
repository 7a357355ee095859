//! The copy through a buffer of this process, where the kernel does not copy by itself.

use super::Coop;
use super::endpoints::{CopyEnd, Stream};
use super::error::CopyFault;
use super::file::Unsent;
use super::options::Copied;

/// The size of the buffer. It is larger for a file, whose pieces each cost a trip to the pool.
const STREAM_BUFFER: usize = 64 * 1024;
const FILE_BUFFER: usize = 256 * 1024;

enum Source<'a> {
    Stream(Stream<'a>),
    File(Unsent<'a>),
}

/// Copies until the end, or the limit.
pub(super) async fn copy(
    from: CopyEnd<'_>,
    to: CopyEnd<'_>,
    copied: &mut Copied<'_>,
) -> Result<(), CopyFault> {
    let mut buffer = match (from, to) {
        (CopyEnd::Stream(_), CopyEnd::Stream(_)) => vec![0; STREAM_BUFFER],
        _ => vec![0; FILE_BUFFER],
    };
    let from = match from {
        CopyEnd::Stream(from) => Source::Stream(from),
        CopyEnd::File(from) => Source::File(Unsent::new(from)),
    };
    let mut coop = Coop::new();
    loop {
        coop.tick().await;
        let most = copied.left(buffer.len());
        if most == 0 {
            return Ok(());
        }
        let n;
        (n, buffer) = read(&from, buffer, most).await?;
        if n == 0 {
            return Ok(());
        }
        buffer = write(to, buffer, n, copied, |n| {
            if let Source::File(unsent) = &from {
                unsent.mark_sent(n);
            }
        })
        .await?;
    }
}

/// Reads one piece of at most `most` bytes; 0 is the end of the source. A thread that reads takes the buffer and returns it.
async fn read(from: &Source<'_>, mut buffer: Vec<u8>, most: usize) -> Result<(usize, Vec<u8>), CopyFault> {
    match from {
        Source::Stream(from) => Ok((from.read(&mut buffer[..most]).await?, buffer)),
        Source::File(unsent) => unsent.read(buffer, most).await.map_err(CopyFault::first),
    }
}

/// Writes the front of a buffer, and returns the buffer.
async fn write(
    to: CopyEnd<'_>,
    buffer: Vec<u8>,
    n: usize,
    copied: &mut Copied<'_>,
    mut taken: impl FnMut(usize),
) -> Result<Vec<u8>, CopyFault> {
    match to {
        CopyEnd::Stream(to) => {
            let buffered = |n| {
                to.fd.netpoll().pipes().buffered.add(n);
                taken(n);
            };
            to.write_all(&buffer[..n], copied, buffered).await?;
            Ok(buffer)
        }
        CopyEnd::File(to) => {
            // A thread that has begun to write ends it, also if the copy is dropped, so the piece is not read
            // again.
            taken(n);
            let buffer = to.write_owned(buffer, n).await.map_err(CopyFault::second)?;
            copied.add(n);
            Ok(buffer)
        }
    }
}
