//! The copy through a buffer of this process: for what the kernel does not copy by itself.

use super::endpoints::{CopySink, CopySource};
use super::error::CopyFault;
use super::file::Unsent;
use super::yielding::Coop;

/// Longer for a file, where a piece costs a trip to the pool.
const STREAM_BUFFER: usize = 64 * 1024;
const FILE_BUFFER: usize = 256 * 1024;

/// Copies until the end.
pub(super) async fn copy(from: CopySource<'_>, to: CopySink<'_>, copied: &mut u64) -> Result<(), CopyFault> {
    let mut buffer = buffer_for(from, to);
    let unsent = match from {
        CopySource::File(file) => Some(Unsent::new(file)),
        CopySource::Stream(_) => None,
    };
    let mut coop = Coop::new();
    loop {
        let n;
        (n, buffer) = read(from, unsent.as_ref(), buffer).await?;
        if n == 0 {
            return Ok(());
        }
        let taken = |n| unsent.iter().for_each(|unsent| unsent.mark_sent(n));
        buffer = write(to, buffer, n, copied, taken).await?;
        coop.tick().await;
    }
}

fn buffer_for(from: CopySource<'_>, to: CopySink<'_>) -> Vec<u8> {
    let length = match (from, to) {
        (CopySource::Stream(_), CopySink::Stream(_)) => STREAM_BUFFER,
        _ => FILE_BUFFER,
    };
    vec![0; length]
}

/// Reads one piece; 0 is the end of the source. The buffer goes along to a thread and comes back.
async fn read(
    from: CopySource<'_>,
    unsent: Option<&Unsent<'_>>,
    mut buffer: Vec<u8>,
) -> Result<(usize, Vec<u8>), CopyFault> {
    match (from, unsent) {
        (CopySource::Stream(from), _) => Ok((from.read(&mut buffer).await?, buffer)),
        (CopySource::File(_), Some(unsent)) => unsent.read(buffer).await.map_err(CopyFault::first),
        (CopySource::File(from), None) => from.read_owned(buffer).await.map_err(CopyFault::first),
    }
}

/// Writes the front of a buffer, and gives the buffer back.
async fn write(
    to: CopySink<'_>,
    buffer: Vec<u8>,
    n: usize,
    copied: &mut u64,
    mut taken: impl FnMut(usize),
) -> Result<Vec<u8>, CopyFault> {
    match to {
        CopySink::Stream(to) => {
            let buffered = |n| {
                to.fd.netpoll().pipes().buffered.add(n);
                taken(n);
            };
            to.write_all(&buffer[..n], copied, buffered).await?;
            Ok(buffer)
        }
        CopySink::File(to) => {
            // What a thread has begun to write is written, also if the copy is dropped: not to be read once more.
            taken(n);
            let buffer = to.write_owned(buffer, n).await.map_err(CopyFault::second)?;
            *copied += n as u64;
            Ok(buffer)
        }
    }
}
