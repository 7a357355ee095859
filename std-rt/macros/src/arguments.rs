//! The arguments of an attribute: `workers = 4, name = "web", crate = "path", paused`.

use proc_macro::{Literal, Span, TokenStream, TokenTree};

use crate::Refused;

/// The values as tokens, ready to be put into an expression.
#[derive(Default)]
pub struct Arguments {
    pub workers: Option<Literal>,
    pub name: Option<Literal>,
    pub paused: bool,
    krate: Option<TokenStream>,
}

/// The arguments, for the messages.
const KNOWN: &str = "`workers`, `name`, `paused` and `crate`";

/// The most workers that a runtime may have; `Builder::workers` of netpoll-rt has the same bound.
const MAX_WORKERS: usize = 256;

impl Arguments {
    pub fn parse(tokens: TokenStream) -> Result<Self, Refused> {
        let mut arguments = Self::default();
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for argument in tokens.split(|token| is_punct(token, ',')).filter(|tokens| !tokens.is_empty()) {
            arguments.take(argument)?;
        }
        Ok(arguments)
    }

    /// Returns the path of netpoll-rt.
    pub fn krate(&self) -> TokenStream {
        let own = || "::netpoll_rt".parse().expect("a path consists of tokens");
        self.krate.clone().unwrap_or_else(own)
    }

    /// Returns whether the attribute asks for a runtime with settings of its own.
    pub fn has_settings(&self) -> bool {
        self.workers.is_some() || self.name.is_some() || self.paused
    }

    fn take(&mut self, argument: &[TokenTree]) -> Result<(), Refused> {
        let key = argument[0].to_string();
        let at = argument[0].span();
        if !["workers", "name", "paused", "crate"].contains(&&*key) {
            return Err(Refused::new(at, format!("unknown argument `{key}`; the arguments are {KNOWN}")));
        }
        let twice = || Refused::new(at, format!("`{key}` is given twice"));
        if key == "paused" {
            let taken = std::mem::replace(&mut self.paused, true);
            return match argument.get(1) {
                Some(more) => Err(Refused::new(more.span(), "`paused` takes no value")),
                None if taken => Err(twice()),
                None => Ok(()),
            };
        }
        let value = match argument.get(1) {
            Some(sign) if is_punct(sign, '=') => &argument[2..],
            _ => &[],
        };
        let Some(first) = value.first() else {
            return Err(Refused::new(at, format!("`{key}` needs a value: `{key} = {}`", example(&key))));
        };
        let taken = match &*key {
            "workers" => self.workers.replace(workers(value)?).is_some(),
            "name" => self.name.replace(name(value)?).is_some(),
            _ => self.krate.replace(krate(value, first.span())?).is_some(),
        };
        if taken { Err(twice()) } else { Ok(()) }
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "workers" => "4",
        "name" => "\"web\"",
        _ => "\"my_crate::netpoll_rt\"",
    }
}

fn workers(value: &[TokenTree]) -> Result<Literal, Refused> {
    let refused = |at| Refused::new(at, format!("`workers` takes a number from 1 to {MAX_WORKERS}"));
    let [TokenTree::Literal(literal)] = value else { return Err(refused(value[0].span())) };
    let digits = literal.to_string().replace('_', "");
    match digits.strip_suffix("usize").unwrap_or(&digits).parse::<usize>() {
        Ok(1..=MAX_WORKERS) => Ok(literal.clone()),
        _ => Err(refused(literal.span())),
    }
}

fn name(value: &[TokenTree]) -> Result<Literal, Refused> {
    match value {
        [TokenTree::Literal(literal)] if literal.to_string().starts_with(['"', 'r']) => Ok(literal.clone()),
        [first, ..] => Err(Refused::new(first.span(), "`name` takes a string")),
        [] => Err(Refused::new(Span::call_site(), "`name` takes a string")),
    }
}

/// Reads a path, or a string with a path in it.
fn krate(value: &[TokenTree], at: Span) -> Result<TokenStream, Refused> {
    let refused = || Refused::new(at, "`crate` takes the path of netpoll-rt, as a string");
    let path: TokenStream = match value {
        [TokenTree::Literal(literal)] => {
            let text = literal.to_string();
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(refused)?;
            text.parse().map_err(|_| refused())?
        }
        _ => value.iter().cloned().collect(),
    };
    let path: Vec<TokenTree> = path.into_iter().collect();
    let is_path = |token: &TokenTree| matches!(token, TokenTree::Ident(_)) || is_punct(token, ':');
    if !path.iter().all(is_path) || !matches!(path.last(), Some(TokenTree::Ident(_))) {
        return Err(refused());
    }
    let located = |mut token: TokenTree| {
        token.set_span(at);
        token
    };
    Ok(path.into_iter().map(located).collect())
}

pub fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}
