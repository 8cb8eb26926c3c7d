//! Nested arrays from names with brackets, by PHP's rules: `a[b][]=1`.
//!
//! PHP's own function is old and has corners. All of them are kept, because applications are
//! tested against it; a test compares both.

use indexmap::IndexMap;

/// PHP's `max_input_nesting_level`: a deeper name is dropped.
const DEEPEST: usize = 64;

/// A PHP array: keys in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array<L> {
    entries: IndexMap<Key, Node<L>>,
    next: Next,
}

/// The key that the next `[]` gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// 0, or one more than a negative key that comes first (since PHP 8.3).
    Fresh,
    Number(i64),
    /// The integers are used up.
    None,
}

/// A key of a PHP array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A number, also when it was written as one.
    Int(i64),
    /// Anything else.
    Text(Vec<u8>),
}

/// A value of a PHP array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<L> {
    /// A value.
    Leaf(L),
    /// An array within.
    Array(Array<L>),
}

impl<L> Default for Array<L> {
    fn default() -> Self {
        Self { entries: IndexMap::new(), next: Next::Fresh }
    }
}

impl<L> Array<L> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Node<L>)> {
        self.entries.iter()
    }

    /// Puts `leaf` where `name` says. A later one replaces an earlier one. Returns how many entries
    /// that made at most.
    pub fn insert(&mut self, name: &[u8], leaf: L) -> usize {
        match Path::parse(name) {
            Path::Nothing => 0,
            Path::TooDeep(top) => {
                // As PHP does: what was there before under that name goes as well.
                self.entries.shift_remove(&Key::from_bytes(&top));
                0
            }
            Path::To(steps) => {
                let entries = steps.len();
                self.put(steps, leaf);
                entries
            }
        }
    }

    fn put(&mut self, steps: Vec<Option<Key>>, leaf: L) {
        let mut array = self;
        let mut steps = steps.into_iter();
        let Some(mut step) = steps.next() else { return };
        for following in steps {
            let Some(inner) = array.descend(step) else { return };
            array = inner;
            step = following;
        }
        if let Some(key) = step.or_else(|| array.next.key()) {
            array.note(&key);
            array.entries.insert(key, Node::Leaf(leaf));
        }
    }

    /// The array at `step`, made where there is none; `None` when no key is left for it.
    fn descend(&mut self, step: Option<Key>) -> Option<&mut Self> {
        let key = step.or_else(|| self.next.key())?;
        self.note(&key);
        let node = self.entries.entry(key).or_insert_with(|| Node::Array(Self::default()));
        if let Node::Leaf(_) = node {
            *node = Node::Array(Self::default());
        }
        match node {
            Node::Array(inner) => Some(inner),
            Node::Leaf(_) => None,
        }
    }

    fn note(&mut self, key: &Key) {
        let Key::Int(number) = *key else { return };
        let highest = match self.next {
            Next::Fresh => true,
            Next::Number(next) => number >= next,
            Next::None => false,
        };
        if highest {
            self.next = number.checked_add(1).map_or(Next::None, Next::Number);
        }
    }
}

impl Next {
    fn key(self) -> Option<Key> {
        match self {
            Self::Fresh => Some(Key::Int(0)),
            Self::Number(number) => Some(Key::Int(number)),
            Self::None => None,
        }
    }
}

impl Key {
    /// A key as PHP takes it: a number where it is written as PHP would write it.
    fn from_bytes(bytes: &[u8]) -> Self {
        Self::number(bytes).map_or_else(|| Self::Text(bytes.to_vec()), Self::Int)
    }

    fn number(bytes: &[u8]) -> Option<i64> {
        let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let canonical = match digits {
            [b'0'] => bytes.len() == 1,
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !canonical {
            return None;
        }
        // The smallest integer stays text in PHP.
        std::str::from_utf8(bytes).ok()?.parse().ok().filter(|&number| number != i64::MIN)
    }
}

/// Where a name leads.
#[derive(Debug, PartialEq, Eq)]
enum Path {
    /// The name is empty.
    Nothing,
    TooDeep(Vec<u8>),
    /// `None` is the next free number.
    To(Vec<Option<Key>>),
}

impl Path {
    fn parse(name: &[u8]) -> Self {
        // PHP takes the name for a C string, and drops spaces before it.
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let start = name.iter().position(|&byte| byte != b' ').unwrap_or(name.len());
        let name = &name[start..];
        let bracket = name.iter().position(|&byte| byte == b'[').unwrap_or(name.len());
        let top = mangled(&name[..bracket]);
        if top.is_empty() {
            return Self::Nothing;
        }
        let mut steps = vec![Some(top.clone())];
        let mut at = bracket;
        while name.get(at) == Some(&b'[') {
            if steps.len() > DEEPEST {
                return Self::TooDeep(top);
            }
            match index(&name[at + 1..]) {
                Some((index, length)) => {
                    steps.push(index.map(<[u8]>::to_vec));
                    at += 1 + length;
                }
                // The bracket is not closed. The first one is then part of the name; later ones
                // end it.
                None if at == bracket => {
                    return Self::To(vec![Some(Key::from_bytes(&mangled(name)))]);
                }
                None => break,
            }
        }
        let keys = steps.into_iter().map(|step| step.map(|bytes| Key::from_bytes(&bytes)));
        Self::To(keys.collect())
    }
}

/// What stands in a bracket, and how many bytes that takes with the closing one; `None` when it is
/// not closed. The index is `None` where the next free number is meant.
fn index(rest: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    let blank = rest.first().is_some_and(|&byte| byte.is_ascii_whitespace() || byte == 0x0b);
    let skipped = usize::from(blank);
    if rest.get(skipped) == Some(&b']') {
        return Some((None, skipped + 1));
    }
    let close = rest[skipped..].iter().position(|&byte| byte == b']')? + skipped;
    Some((Some(&rest[..close]), close + 1))
}

fn mangled(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&byte| if matches!(byte, b' ' | b'.' | b'[') { b'_' } else { byte }).collect()
}

#[cfg(test)]
mod tests;
