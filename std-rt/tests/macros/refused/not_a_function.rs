// 3:1: error: expected an `async fn`
#[netpoll_macros::test]
struct Test;

fn main() {}
