// 3:1: error: the `async` keyword is missing before `fn`
#[netpoll_macros::main]
fn main() {}
