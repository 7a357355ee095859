// 4:14: error: the function has no generic parameters
fn main() {}
#[netpoll_macros::main]
async fn runs<T>() {}
