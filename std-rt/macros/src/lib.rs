#![doc = include_str!("../README.md")]
//!
//! The crate has no dependency: it reads the few tokens that it needs and leaves the function as it was written, so that the
//! compiler's own messages point into it.

mod arguments;
mod function;

use arguments::Arguments;
use function::Function;
use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// An attribute of this crate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Main,
    Test,
}

/// A message of the compiler and the token that it points at.
struct Refused {
    at: Span,
    message: String,
}

impl Refused {
    fn new(at: Span, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// Returns `::core::compile_error! { "message" }` at the token.
    fn into_tokens(self) -> TokenStream {
        let mut text = Literal::string(&self.message);
        text.set_span(self.at);
        let mut group = Group::new(Delimiter::Brace, TokenTree::from(text).into());
        group.set_span(self.at);
        let punct = |sign, spacing| {
            let mut punct = Punct::new(sign, spacing);
            punct.set_span(self.at);
            TokenTree::from(punct)
        };
        let word = |text| TokenTree::from(Ident::new(text, self.at));
        let path = |text| [punct(':', Spacing::Joint), punct(':', Spacing::Alone), word(text)];
        let name = path("core").into_iter().chain(path("compile_error"));
        name.chain([punct('!', Spacing::Alone), group.into()]).collect()
    }
}

/// Runs an `async fn main` on a runtime; described in netpoll-rt.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Main, arguments, item)
}

/// Runs an `async fn` as a test, on a runtime of its own; described in netpoll-rt.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Test, arguments, item)
}

fn expand(attribute: Attribute, arguments: TokenStream, item: TokenStream) -> TokenStream {
    // Wrong arguments do not hide the function: the message about them is the only one.
    let (arguments, mut output) = match Arguments::parse(arguments) {
        Ok(arguments) => (arguments, TokenStream::new()),
        Err(refused) => (Arguments::default(), refused.into_tokens()),
    };
    match Function::parse(attribute, item) {
        Ok(function) => output.extend(function.expand(attribute, &arguments)),
        Err((refused, stand_in)) => output.extend([refused.into_tokens(), stand_in]),
    }
    output
}
