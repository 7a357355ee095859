// 3:2: error: the function has a second attribute that makes it a test
#[netpoll_macros::test]
#[test]
async fn main() {}
