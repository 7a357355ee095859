// 3:14: error: the function takes no arguments
#[netpoll_macros::main]
async fn main(name: &str) {}
