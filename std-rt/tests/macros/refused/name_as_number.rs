// 2:31: error: `name` takes a string
#[netpoll_macros::main(name = 4)]
async fn main() {}
