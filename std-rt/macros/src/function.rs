//! The function under an attribute.

use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

use crate::arguments::{Arguments, is_punct};
use crate::{Attribute, Refused};

/// The parts of `#[attribute] pub async fn name() -> Value { body }`.
pub struct Function {
    attributes: TokenStream,
    visibility: TokenStream,
    /// `async`, as it was written.
    asyncness: TokenTree,
    /// `fn name() -> Value`.
    signature: TokenStream,
    name: Ident,
    body: TokenTree,
}

impl Function {
    /// Returns the parts, or the reason why there are none and an item that stands in for the function, so that the
    /// compiler does not miss it too.
    pub fn parse(attribute: Attribute, item: TokenStream) -> Result<Self, (Refused, TokenStream)> {
        let mut tokens = Vec::new();
        flatten(item.clone(), &mut tokens);
        let first = tokens.chunks(2).position(|pair| !is_attribute(pair)).map_or(0, |pairs| 2 * pairs);
        let (attributes, rest) = tokens.split_at(first);
        let keyword = rest.iter().position(|token| is_word(token, "fn"));
        let (Some(keyword), Some(TokenTree::Ident(name))) =
            (keyword, keyword.and_then(|keyword| rest.get(keyword + 1)))
        else {
            let at = rest.first().map_or_else(Span::call_site, TokenTree::span);
            return Err((Refused::new(at, "expected an `async fn`"), item));
        };
        let parts = second_test(attribute, attributes).and_then(|()| parts(rest, keyword));
        match parts {
            Ok((visibility, asyncness, signature, body)) => Ok(Self {
                attributes: attributes.iter().cloned().collect(),
                visibility,
                asyncness,
                signature,
                name: name.clone(),
                body,
            }),
            Err(refused) => Err((refused, stand_in(name))),
        }
    }

    /// Returns a function of the same name that runs the one that was written, which is an item within it: so the tokens
    /// of the user stay as they are.
    pub fn expand(self, attribute: Attribute, arguments: &Arguments) -> TokenStream {
        let Self { attributes, visibility, asyncness, signature, name, body } = self;
        let mut output = TokenStream::new();
        if attribute == Attribute::Test {
            output.extend(quote("#[::core::prelude::v1::test]"));
        }
        output.extend([attributes, visibility, signature.clone()]);
        let mut inner = quote("#[allow(clippy::unused_async)]");
        inner.extend([asyncness]);
        inner.extend(signature);
        inner.extend([body]);
        inner.extend(run(attribute, arguments, &name));
        output.extend([TokenTree::from(Group::new(Delimiter::Brace, inner))]);
        output
    }
}

/// Takes apart the groups without a sign that `macro_rules` puts around its fragments.
fn flatten(tokens: TokenStream, into: &mut Vec<TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => flatten(group.stream(), into),
            token => into.push(token),
        }
    }
}

/// Returns the visibility, `async`, the signature and the body.
fn parts(
    tokens: &[TokenTree],
    keyword: usize,
) -> Result<(TokenStream, TokenTree, TokenStream, TokenTree), Refused> {
    let visible = match tokens {
        [public, TokenTree::Group(_), ..] if is_word(public, "pub") => 2,
        [public, ..] if is_word(public, "pub") => 1,
        _ => 0,
    };
    let asyncness = match &tokens[visible..keyword] {
        [asyncness] if is_word(asyncness, "async") => asyncness.clone(),
        [] => return Err(Refused::new(tokens[keyword].span(), "the `async` keyword is missing before `fn`")),
        [first, ..] => {
            let other = tokens[visible..].iter().find(|token| !is_word(token, "async")).unwrap_or(first);
            return Err(Refused::new(other.span(), format!("expected an `async fn` without `{other}`")));
        }
    };
    match tokens.get(keyword + 2) {
        Some(TokenTree::Group(list)) if list.stream().is_empty() => {}
        Some(TokenTree::Group(list)) => {
            return Err(Refused::new(list.span(), "the function takes no arguments"));
        }
        Some(other) => return Err(Refused::new(other.span(), "the function has no generic parameters")),
        None => return Err(Refused::new(tokens[keyword].span(), "the function has no body")),
    }
    match tokens.split_last() {
        Some((body @ TokenTree::Group(group), before)) if group.delimiter() == Delimiter::Brace => {
            let signature = before[keyword..].iter().cloned().collect();
            Ok((tokens[..visible].iter().cloned().collect(), asyncness, signature, body.clone()))
        }
        _ => Err(Refused::new(tokens[keyword + 1].span(), "the function has no body")),
    }
}

/// Refuses a second attribute that makes a test of the function.
fn second_test(attribute: Attribute, attributes: &[TokenTree]) -> Result<(), Refused> {
    for token in attributes.iter().filter(|_| attribute == Attribute::Test) {
        let TokenTree::Group(group) = token else { continue };
        let path = group.stream().into_iter().take_while(is_path);
        if path.last().is_some_and(|last| is_word(&last, "test")) {
            return Err(Refused::new(
                group.span(),
                "the function has a second attribute that makes it a test",
            ));
        }
    }
    Ok(())
}

/// Returns the statements that run the future of the function.
fn run(attribute: Attribute, arguments: &Arguments, name: &Ident) -> TokenStream {
    let mut output = TokenStream::new();
    if attribute == Attribute::Main && !arguments.has_settings() {
        output.extend([arguments.krate(), quote("::block_on")]);
    } else {
        output.extend(quote("#[allow(clippy::expect_used)] let runtime ="));
        output.extend([arguments.krate(), quote("::Runtime::builder()")]);
        let workers = arguments.workers.clone();
        let one = || (attribute == Attribute::Test).then(|| Literal::usize_unsuffixed(1));
        output.extend(workers.or_else(one).map(|workers| call("workers", TokenTree::from(workers))));
        output.extend(arguments.name.clone().map(|name| call("thread_name", TokenTree::from(name))));
        if arguments.paused {
            let mut paused = arguments.krate();
            paused.extend(quote("::time::Clock::paused()"));
            output.extend(call("clock", paused));
        }
        output.extend(quote(".build().expect(\"the runtime of this function cannot be started\");"));
        output.extend(quote("runtime.block_on"));
    }
    let call = [TokenTree::from(name.clone()), Group::new(Delimiter::Parenthesis, TokenStream::new()).into()];
    output.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, call.into_iter().collect()))]);
    output
}

/// Returns `.method(value)`.
fn call(method: &str, value: impl Into<TokenStream>) -> TokenStream {
    let mut output = quote(&format!(".{method}"));
    output.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, value.into()))]);
    output
}

fn stand_in(name: &Ident) -> TokenStream {
    let mut output = quote("#[allow(dead_code)] fn");
    output.extend([TokenTree::from(name.clone())]);
    output.extend(quote("() {}"));
    output
}

/// Returns the tokens of a text of this file.
fn quote(text: &str) -> TokenStream {
    text.parse().expect("the texts of this file consist of tokens")
}

fn is_attribute(pair: &[TokenTree]) -> bool {
    matches!(pair, [sign, TokenTree::Group(_)] if is_punct(sign, '#'))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

fn is_path(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(_)) || is_punct(token, ':')
}
