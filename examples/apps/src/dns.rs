//! The name server's answer: to each query of type A the address 192.0.2.1.

/// The longest query.
pub const MOST: usize = 512;

/// The name of the queries.
pub const NAME: &str = "www.example.org";

/// The length of a header.
const HEADER: usize = 12;

/// A pointer to the name of the question, type A, class IN, a minute, four bytes: the address.
const RECORD: [u8; 16] = [0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

/// Returns the answer to a query with one question, or `None` to anything else.
pub fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = query.split_at_checked(HEADER)?;
    if header[2] & 0x80 != 0 || header[4..6] != [0, 1] {
        return None;
    }
    let mut length = HEADER;
    while let [label @ 1..=63, ..] = *rest {
        rest = rest.get(1 + usize::from(label)..)?;
        length += 1 + usize::from(label);
    }
    // The end of the name, the type and the class.
    let has_address = rest.get(..5)? == [0, 0, 1, 0, 1];
    let mut answer = query[..length + 5].to_vec();
    // A response, with the caller's bit for recursion; one question, and one answer if there is one.
    answer[2] = 0x84 | header[2] & 1;
    answer[3] = 0;
    answer[6..HEADER].copy_from_slice(&[0, u8::from(has_address), 0, 0, 0, 0]);
    if has_address {
        answer.extend_from_slice(&RECORD);
    }
    Some(answer)
}

/// Returns a query for the address of [`NAME`].
pub fn query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in NAME.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}
