//! A server of Redis's protocol with one table in memory: PING, SET, GET, INCR, and an
//! empty answer to the CONFIG with which `redis-benchmark` starts.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::rt::{self, *};

type Table = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// The words of a command.
type Words<'a> = Vec<&'a [u8]>;

/// The bytes of a connection's buffer at first.
const BUFFER: usize = 16 * 1024;

pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let table = Table::default();
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let table = table.clone();
        rt::spawn(async move { answer_all(&mut stream, &table).await });
    }
}

/// Answers all commands that have come by one write.
async fn answer_all(stream: &mut TcpStream, table: &Table) -> io::Result<()> {
    let (mut input, mut output) = (Vec::with_capacity(BUFFER), Vec::with_capacity(BUFFER));
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut taken = 0;
        while let Some((words, length)) = command(&input[taken..])? {
            answer(&words, table, &mut output);
            taken += length;
        }
        input.drain(..taken);
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
    }
}

/// Returns the words of the first command and its length, or `None` if it has not come to its end.
fn command(input: &[u8]) -> io::Result<Option<(Words<'_>, usize)>> {
    let mut at = 0;
    let Some(count) = number(input, b'*', &mut at)? else { return Ok(None) };
    let mut words = Vec::with_capacity(count.min(8));
    for _ in 0..count {
        let Some(length) = number(input, b'$', &mut at)? else { return Ok(None) };
        let Some(word) = input.get(at..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
        words.push(word);
        at += length + 2;
    }
    Ok((at <= input.len()).then_some((words, at)))
}

/// Reads a line of this kind, and moves behind it.
fn number(input: &[u8], kind: u8, at: &mut usize) -> io::Result<Option<usize>> {
    let line = &input[(*at).min(input.len())..];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    let digits = line[..end].strip_prefix(&[kind]).and_then(|line| line.strip_suffix(b"\r"));
    let value = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse::<usize>().ok());
    // The limit of Redis for a word.
    let value = value.filter(|&value| value <= 512 << 20);
    *at += end + 1;
    value.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a command of Redis"))
}

fn answer(words: &[&[u8]], table: &Table, output: &mut Vec<u8>) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match (&name[..], words) {
        (b"PING", _) => output.extend_from_slice(b"+PONG\r\n"),
        (b"SET", [_, key, value, ..]) => {
            table.insert(key.to_vec(), value.to_vec());
            output.extend_from_slice(b"+OK\r\n");
        }
        (b"GET", [_, key]) => match table.get(*key) {
            None => output.extend_from_slice(b"$-1\r\n"),
            Some(value) => {
                output.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                output.extend_from_slice(value);
                output.extend_from_slice(b"\r\n");
            }
        },
        (b"INCR", [_, key]) => {
            let value = table.entry(key.to_vec()).or_insert_with(|| b"0".to_vec());
            let next = str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()?.checked_add(1));
            match next {
                None => output.extend_from_slice(b"-ERR value is not an integer or out of range\r\n"),
                Some(next) => {
                    *value = next.to_string().into_bytes();
                    output.extend_from_slice(format!(":{next}\r\n").as_bytes());
                }
            }
        }
        (b"CONFIG", _) => output.extend_from_slice(b"*0\r\n"),
        _ => output.extend_from_slice(b"-ERR unknown command\r\n"),
    }
}
